"""A prepared folder in place of a file: the same records to train on and to validate with, step by step."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from micro import AWARE, INTERACTION, JOINT, RUN, quiet, template, tokenizer
from test_corpus import write

from rxt.data.fitting import Long
from rxt.data.prepared.prepare import prepare
from rxt.data.template import Encoded
from rxt.errors import UserError
from rxt.training.config_base import OptimConfig
from rxt.training.corpus import Corpus, Split
from rxt.training.data_config import DataConfig, FileSource, PreparedSource, of_files
from rxt.training.pipeline import train
from rxt.training.process_group import ProcessGroup
from rxt.training.stages.interaction import InteractionStage
from rxt.training.stages.joint import JointStage
from rxt.training.stages.memory_aware import MemoryAwareStage


def prepared(source: str, out: Path, **options: Any) -> str:
    prepare([source], tokenizer(), out, shard_characters=500, **options)
    return str(out)


def config(*names: str, validation: tuple[str, ...] = (), text: tuple[str, ...] = ()) -> DataConfig:
    return DataConfig(of_files(names, validation), text=of_files(text))


def load(*names: str, validation: tuple[str, ...] = (), text: tuple[str, ...] = ()) -> Corpus:
    return Corpus.load(config(*names, validation=validation, text=text), seed=0)


def tokens(sequences: list[list[Encoded]]) -> set[tuple[tuple[int, ...], ...]]:
    return {tuple(tuple(each.ids) for each in sequence) for sequence in sequences}


def test_a_folder_trains_and_validates_on_the_records_of_its_file(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", 120, turns=5)
    from_file, from_folder = load(file), load(prepared(file, tmp_path / "out"))
    splits: tuple[tuple[Split, int], ...] = (("train", 117 * 3), ("validation", 9))
    for split, pieces in splits:
        epochs = [corpus.encoded(template(), split, 0, pieces, 2) for corpus in (from_file, from_folder)]
        assert tokens(epochs[0]) == tokens(epochs[1])
        assert len(tokens(epochs[1])) == pieces, "each piece once an epoch"
        texts = [set(corpus.conversations(split, 0, pieces, 2)) for corpus in (from_file, from_folder)]
        assert texts[0] == texts[1]
        single = from_folder.encoded_interactions(template(), split, 0, pieces)
        said = [template().interaction(turn) for each in texts[0] for turn in each.interactions]
        assert tokens([[each] for each in single]) <= tokens([[each] for each in said])
    assert set(from_folder.all_text(0)) == set(from_file.all_text(0))


@pytest.mark.parametrize("long", ["split", "cut", "drop"])
def test_long_interactions_fare_alike_in_files_and_folders(tmp_path: Path, long: Long) -> None:
    def said(name: int, turn: int) -> dict[str, str]:
        return {"query": f"{name} asks {turn} " * (1 + 9 * (name % 5 == 0)), "answer": "so " * (1 + 30 * (turn == 1))}

    rows = [{"interactions": [said(name, turn) for turn in range(3)]} for name in range(120)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = str(tmp_path / "a.jsonl"), prepared(str(tmp_path / "a.jsonl"), tmp_path / "out")
    corpora = [Corpus.load(replace(config(name), long=long), seed=0) for name in names]
    of_file, of_folder = (tokens(corpus.encoded(template(), "train", 0, 117, 3)) for corpus in corpora)
    assert of_file == of_folder
    assert max(map(len, of_folder)) <= 3
    assert max(len(ids) for turns in of_folder for ids in turns) <= template().max_length
    assert corpora[0].lengths(template()) == corpora[1].lengths(template())
    assert {"split": len(of_folder) > 117, "cut": len(of_folder) == 117, "drop": len(of_folder) <= 117}[long]


def test_a_batch_follows_from_the_step_alone(tmp_path: Path) -> None:
    talks = prepared(write(tmp_path / "a.jsonl", 60, turns=5), tmp_path / "talks")
    lines = "".join(json.dumps({"text": f"Some text {number}. " * (number % 9)}) + "\n" for number in range(1, 90))
    (tmp_path / "t.jsonl").write_text(lines.replace('{"text": ""}\n', ""))
    texts = prepared(str(tmp_path / "t.jsonl"), tmp_path / "texts", kind="text")
    accumulated = OptimConfig(accumulate=2)

    def batches(step: int) -> list[list[int]]:
        corpus = load(talks, text=(texts,))
        stages = JointStage(corpus, template(), JOINT), InteractionStage(corpus, template(), INTERACTION)
        aware = MemoryAwareStage(corpus, template(), AWARE)
        rows = [batch for stage in stages for batch in stage.batches("train", step)]
        rows += [batch.rows for batch in aware.batches("train", step)]
        return [batch.ids[batch.mask].tolist() for batch in rows]

    steps = [batches(step) for step in range(4)]
    assert steps == [batches(step) for step in range(4)], "as after a resume"
    assert len({str(each) for each in steps}) == 4
    stage = InteractionStage(load(talks), template(), replace(INTERACTION, optim=accumulated))
    for world_size in (1, 2):
        whole = stage.batches("train", 3)
        dealt = [ProcessGroup(rank, world_size).shard(whole) for rank in range(world_size)]
        assert sorted(index for part in dealt for index, _ in part) == list(range(len(whole)))


def test_folders_and_files_share_what_is_not_generated(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", 60)
    other = prepared(write(tmp_path / "b.jsonl", 60, first=100), tmp_path / "out")
    assert of_files((file, other), weight=0.5) == (
        PreparedSource((other,), weight=0.25),
        FileSource((file,), weight=0.25),
    )
    found = load(file, other).conversations("train", 0, 8, 2)
    assert sum(int(each.interactions[0].query.split()[0]) >= 100 for each in found) == 4


def test_several_folders_count_by_their_records(tmp_path: Path) -> None:
    names = [prepared(write(tmp_path / f"{at}.jsonl", 30, first=at), tmp_path / f"{at}") for at in (0, 100)]
    held = prepared(write(tmp_path / "held.jsonl", 3, first=500), tmp_path / "held")
    corpus = load(*names, validation=(held,))
    queries = {each.interactions[0].query for each in corpus.conversations("train", 0, 60, 2)}
    assert queries == {f"{at + number} q0" for at in (0, 100) for number in range(30)}, "none of them is held out"
    assert {each.interactions[0].query for each in corpus.conversations("validation", 0, 3, 2)} == {
        "500 q0",
        "501 q0",
        "502 q0",
    }


def test_of_one_long_text_the_end_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(" ".join(f"word{number}" for number in range(900)))
    corpus = load(write(tmp_path / "a.jsonl", 60), text=(prepared(str(tmp_path / "book.txt"), tmp_path / "out"),))
    train_rows = tokens([[row] for row in corpus.text(template(), "train", 0, 400)])
    held = tokens([[row] for row in corpus.text(template(), "validation", 0, 9)])
    assert held
    assert train_rows
    assert not held & train_rows


def test_what_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    talks = prepared(write(tmp_path / "a.jsonl", 60), tmp_path / "talks")
    with pytest.raises(UserError, match="holds conversations, text are needed here: rxt train takes it with --data"):
        load(talks, text=(talks,))
    single = prepared(write(tmp_path / "single.jsonl", 60, turns=1), tmp_path / "single")
    with pytest.raises(UserError, match=r"no train conversation of .* has 2 turns or more"):
        load(single).questioned("train", 0, 4, 2, long_range=False)
    alone = prepared(write(tmp_path / "one.jsonl", 1), tmp_path / "one")
    with pytest.raises(UserError, match="too little for train"):
        load(alone).conversations("train", 0, 4, 2)
    other = tmp_path / "other"
    prepare([str(tmp_path / "a.jsonl")], tokenizer().train(["abc abc"] * 9, 270), other)
    with pytest.raises(UserError, match="was prepared with another tokenizer than"):
        train(replace(RUN, data=config(talks, str(other))), tmp_path / "run", quiet())


def test_a_run_takes_the_tokenizer_of_its_folder(tmp_path: Path) -> None:
    talks = prepared(write(tmp_path / "a.jsonl", 60, turns=3), tmp_path / "talks")
    run = replace(RUN, data=config(talks), stages=(JOINT, INTERACTION, AWARE))
    console = quiet()
    model = train(run, tmp_path / "run", console, torch.device("cpu"))
    assert isinstance(console.file, io.StringIO)
    assert "talks: 60 conversations" in " ".join(console.file.getvalue().split())
    assert (model / "tokenizer.json").read_text() == (tmp_path / "talks" / "tokenizer.json").read_text()
