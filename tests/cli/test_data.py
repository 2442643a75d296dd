"""``rxt data``: what is printed, and what is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rxt.cli.main import main
from rxt.data.prepared.folder import PreparedFolder


@pytest.fixture
def talks(tmp_path: Path) -> str:
    """Sixty conversations of two turns."""
    path = tmp_path / "talks.jsonl"
    turns = [{"query": "hello there", "answer": "hi, how are you"}, {"query": "fine", "answer": "good " * 20}]
    path.write_text((json.dumps({"interactions": turns}) + "\n") * 60)
    return str(path)


def test_prepare_and_inspect(talks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    prepare = ["data", "prepare", talks, "--vocab-size", "300", "--out", str(out), "--workers", "1"]
    assert main(prepare) == 0
    assert f"{out}: 60 conversations, " in capsys.readouterr().out
    assert main(prepare) == 0, "it is there already"
    tokens = PreparedFolder.open(out).index.tokens
    again = tmp_path / "again"
    assert main(["data", "prepare", talks, "--tokenizer", str(out), "--out", str(again), "--as", "text"]) == 0
    capsys.readouterr()
    assert main(["data", "inspect", str(out), "--length", "24", "--samples", "1", "--verify"]) == 0
    shown = capsys.readouterr().out
    assert f"{out}: 60 conversations of 120 sequences, {tokens:,} tokens" in shown
    assert "turns of a conversation: 2 to 2" in shown
    assert "longer than 24 tokens: 60 of 120" in shown
    assert "[BOS][QUERY]hello there[ANSWER]«hi, how are you[EOS]»" in shown
    assert shown.endswith("every file is as it was written\n")
    assert main(["data", "inspect", str(again), "--length", "24"]) == 0
    assert "nothing is cut" in capsys.readouterr().out
    damaged = out / "00000-loss.npy"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    assert main(["data", "inspect", str(out), "--verify"]) == 1
    assert f"{damaged}: is not as it was written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["prepare", "{talks}", "--out", "{out}"], "name the tokenizer of the model to be trained"),
        (["prepare", "{talks}", "--out", "{out}", "--vocab-size", "9"], "vocab_size must be at least"),
        (["prepare", "--out", "{out}", "--vocab-size", "300"], "name what is to be prepared"),
        (["prepare", "{talks}", "--out", "{out}", "--vocab-size", "300", "--workers", "0"], "must be at least 1"),
        (["inspect", "{out}"], "out: is not prepared to its end"),
        (["convert", "{talks}", "--out", "{out}", "--query", "a"], "--query and --answer: name both columns"),
        (["guess"], "guess: no such action; there are prepare, convert, inspect"),
    ],
)
def test_a_mistake_is_one_line(
    talks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], problem: str
) -> None:
    filled = [each.format(talks=talks, out=tmp_path / "out") for each in argv]
    assert main(["data", *filled]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert problem in line
