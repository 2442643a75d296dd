"""The curriculum of the published models' cards: each stage with data of its own, from files and prepared."""

from __future__ import annotations

import json
import multiprocessing
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from micro import RUN, quiet, tokenizer

from rxt.data.prepared.prepare import prepare
from rxt.errors import UserError
from rxt.model.checkpoint import load_model
from rxt.model.reactive import ReactiveTransformer
from rxt.training.data_config import DataConfig, of_files
from rxt.training.loop import update
from rxt.training.pipeline import train
from rxt.training.prefetch import batches_ahead


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def turn(name: int, number: int) -> dict[str, str]:
    return {"query": f"{name} asks {number}", "answer": f"{number} says {name}"}


@pytest.fixture
def samples(tmp_path: Path) -> tuple[str, str, str]:
    """A sample of each kind: stories, single interactions, and conversations whose first turn stands apart."""
    stories = [{"text": f"Once upon a time there was a cat called {name}. " * (1 + name % 4)} for name in range(60)]
    talks = [{**turn(name, 0), "interactions": [turn(name, 1), turn(name, 2), turn(name, 3)]} for name in range(60)]
    return (
        write(tmp_path / "stories.jsonl", stories),
        write(tmp_path / "interactions.jsonl", [turn(name, 9) for name in range(60)]),
        write(tmp_path / "steps-4.jsonl", talks),
    )


def data(text: str, interactions: str, conversations: str) -> DataConfig:
    return DataConfig(of_files((conversations,)), of_files((interactions,)), of_files((text,)))


def in_folders(samples: tuple[str, str, str], out: Path) -> tuple[str, str, str]:
    for source in samples:
        prepare([source], tokenizer(), out / Path(source).stem, shard_characters=600)
    text, interactions, conversations = (str(out / Path(source).stem) for source in samples)
    return text, interactions, conversations


def test_all_stages_run_from_files(samples: tuple[str, str, str], tmp_path: Path) -> None:
    model = train(replace(RUN, data=data(*samples)), tmp_path / "run", quiet())
    assert load_model(model, ReactiveTransformer).config.max_length == RUN.model.max_length


def test_batches_made_ahead_are_the_same(samples: tuple[str, str, str], tmp_path: Path) -> None:
    found: list[bytes] = []
    for processes in (0, 2):
        run = replace(RUN, data=data(*in_folders(samples, tmp_path / str(processes))), loader_processes=processes)
        found.append((train(run, tmp_path / f"run-{processes}", quiet()) / "model.safetensors").read_bytes())
    assert found[0] == found[1]


def test_what_is_wrong_with_batches_made_ahead_is_one_line() -> None:
    class Refusing:
        made_ahead, steps = True, 3

        def batches(self, split: str, step: int) -> list[Any]:
            if step == 2:
                raise UserError("no such batch")
            return [step]

    with batches_ahead(cast(Any, Refusing()), 1, 1) as drawn:
        assert drawn(1) == [1]
        with pytest.raises(UserError, match=r"^no such batch$"):
            drawn(2)


@pytest.mark.parametrize("stuck", [False, True], ids=["waits", "is stuck"])
def test_no_process_outlives_training_that_fails(stuck: bool) -> None:
    """Though the error, and with it all that took part, is still held."""

    class Endless:
        made_ahead, steps = True, 10

        def batches(self, split: str, step: int) -> list[Any]:
            if stuck and step > 1:
                time.sleep(3600)
            return [step]

    def fail() -> None:
        with batches_ahead(cast(Any, Endless()), 1, 1) as drawn:
            assert drawn(1) == [1]
            raise RuntimeError("failed")

    with pytest.raises(RuntimeError, match="failed") as held:
        fail()
    assert held.value.__traceback__ is not None
    for process in multiprocessing.active_children():
        process.join(30)
    assert multiprocessing.active_children() == []


def test_a_run_from_folders_goes_on_as_if_it_had_not_stopped(
    samples: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(RUN, data=data(*in_folders(samples, tmp_path)))
    whole = train(run, tmp_path / "whole", quiet())
    updates = 0

    def stopping(*args: Any) -> Any:
        nonlocal updates
        updates += 1
        if updates in (3, 9, 16, 23):  # within each stage
            raise KeyboardInterrupt
        return update(*args)

    monkeypatch.setattr("rxt.training.loop.update", stopping)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            train(run, tmp_path / "stopped", quiet())
    again = train(run, tmp_path / "stopped", quiet())
    assert updates > 23
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
