"""A task of one's own: one file and one line of the registry, and it is trained with, evaluated and validated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from echo_task import Echo

from rxt.cli.main import main
from rxt.errors import UserError
from rxt.evaluation.groups import measure_groups
from rxt.evaluation.pooled import load_subject
from rxt.evaluation.retention import Plan, Score, measure_recall, measure_retention
from rxt.tasks.registry import TASKS, task

TINY = {
    "model.decoder.max_length": 48,
    "model.encoder.max_length": 48,
    "tokenizer.vocab_size": 300,
    "tokenizer.conversations": 20,
    "validate_every": 2,
    "validation_batches": 1,
}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "echo", Echo)


def test_it_is_trained_with_and_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = {"kind": "task", "name": "echo", "settings": {"words": ["red", "blue"]}}
    shown = json_of(capsys, "train", "smoke", "--show-json")
    options = {**TINY, "data.conversations": json.dumps([source]), **two_steps(shown)}
    settings = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    out = tmp_path / "run"
    assert main(["train", "smoke", "--out", str(out), *settings]) == 0, capsys.readouterr().err
    assert "echo (100% of every batch)" in (out / "model" / "README.md").read_text()

    subject, echo = load_subject(out / "model"), task("echo", {"words": ["red", "blue"]})
    found = measure_retention(subject, "test", Plan((1, 2), 4, task=echo), 0)
    assert {distance: score.asked for distance, score in found.by_distance.items()} == {1: 4, 2: 4}
    assert found.chance == 0.5
    assert found.special == {}
    recall = measure_recall(subject, "validation", (1, 3), 2, 5, 0, echo)
    assert recall.all.asked == 4
    whole = measure_groups(subject, {"echo": [echo.probe("test", 2, 0, index) for index in range(3)]}, 0, 8)
    assert whole["echo"].score.asked == whole["echo"].reset.asked == 3


def test_its_settings_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="echo: words must name one at least"):
        task("echo", {"words": []})
    with pytest.raises(UserError, match="choose one of everyday, open, hybrid, deeds, scenes, babi, echo"):
        task("ecko")
    assert Score(1, 2).share == 0.5


def json_of(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, object]:
    assert main(list(argv)) == 0
    return json.loads(capsys.readouterr().out)


def two_steps(shown: dict[str, object]) -> dict[str, object]:
    """Settings by which every stage of a recipe has two steps."""
    few: dict[str, object] = {f"{name}.steps": 2 for name in ("joint", "interaction", "memory_pretrain")}
    return {**few, "memory_aware.phases": '[{"steps": 2, "turns": 2, "batch_size": 2}]'}
