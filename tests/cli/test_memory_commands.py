"""``rxt memory build``, and chats that begin with what it has read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rxt.cli.main import main
from rxt.config import PoolConfig
from rxt.model.pool import Pool
from rxt.pretrained import ReactiveTransformer, load_chat

TEXT = "Graz lies on the Mur.\n\nAnn lives in Graz. There are hills.\n"


@pytest.fixture
def pooled(folder: Path, tmp_path: Path) -> Path:
    """The folder of a model with a pool."""
    model = ReactiveTransformer.from_pretrained(folder).with_pool(PoolConfig(2, new_below=-1, most_writes=1))
    model.save_pretrained(tmp_path / "model")
    load_chat(folder).tokenizer.save(tmp_path / "model")
    return tmp_path / "model"


def test_texts_and_conversations_become_knowledge(
    pooled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, talks, out = tmp_path / "text.txt", tmp_path / "talks.jsonl", tmp_path / "knowledge.mem"
    text.write_text(TEXT)
    talk = {"interactions": [{"query": "hello", "answer": "hi"}, {"query": "who is Ann", "answer": "she is Ann"}]}
    talks.write_text(json.dumps(talk) + "\n")
    assert main(["memory", "build", str(text), str(talks), "--out", str(out), "--model", str(pooled)]) == 0
    knowledge = Pool.load(out)
    assert knowledge.sealed == len(knowledge.fragments) == 4
    said = capsys.readouterr().out
    assert said == f"{out}: 4 fragments of 4 interactions, {knowledge.nbytes:,} bytes\n"
    plain, knowing = (load_chat(pooled, max_new_tokens=6, knowledge=known) for known in (None, knowledge))
    knowing.ask("who is Ann")
    assert knowing.pool is not None
    assert knowing.pool.sealed == 4
    plain.ask("who is Ann")
    assert plain.pool is not None
    assert plain.pool.sealed == 0
    knowing.save(tmp_path / "chat")
    assert Pool.load(tmp_path / "chat").sealed == 4


def test_mistakes_are_one_line(folder: Path, pooled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, empty, out = tmp_path / "text.txt", tmp_path / "empty.txt", tmp_path / "out"
    text.write_text(TEXT)
    empty.write_text("")
    for argv, message in (
        (["build", str(text), "--out", str(out), "--model", str(folder)], "keeps no fragments"),
        (["build", str(empty), "--out", str(out), "--model", str(pooled)], "holds no record"),
        (["build", str(tmp_path / "none"), "--out", str(out), "--model", str(pooled)], "none"),
        (["build", "--out", str(out), "--model", str(pooled)], "FILE"),
        (["biuld"], "no such command"),
    ):
        assert main(["memory", *argv]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not out.exists()
    assert main(["memory", "--help"]) == 0
    assert "rxt memory build FILE" in capsys.readouterr().out
