"""``rxt train babi`` and ``rxt eval babi``: from a folder of tasks to a table, and one line for every mistake."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rxt.cli.main import main

TINY = {
    "model.decoder.layers": 1,
    "model.encoder.layers": 1,
    "model.memory_attention.layers": 1,
    "tokenizer.vocab_size": 400,
    "joint.steps": 2,
    "interaction.steps": 2,
    "memory_pretrain.steps": 2,
    "memory_aware.phases": (
        '[{"steps": 1, "turns": 2, "batch_size": 2, "echo": true}, {"steps": 3, "turns": 4, "batch_size": 3}]'
    ),
    "validate_every": 2,
    "validation_batches": 1,
    "checkpoint_every": 1,
    "log_every": 1,
}


def train(data: Path, out: Path, *options: str) -> int:
    settings = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
    return main(["train", "babi", "--data", str(data), "--out", str(out), *settings, *options])


def test_a_model_is_trained_and_measured(babi: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(babi, tmp_path / "run") == 0
    model, numbers = tmp_path / "run" / "model", tmp_path / "numbers.json"
    assert "the bAbI question-answering tasks in babi" in (model / "README.md").read_text()
    capsys.readouterr()

    assert main(["eval", "babi", "--data", str(babi), str(model), "--json", str(numbers)]) == 0
    found = json.loads(numbers.read_text())
    assert (found["split"], found["stories"], found["questions"]) == ("test", {"1": 2}, {"1": 2})
    assert found["accuracy"].keys() == found["controls"]["reset"].keys() == {"1"}
    assert 0 <= found["accuracy"]["1"] <= 1
    told = capsys.readouterr().out
    assert "the test files: 2 stories" in told
    assert "stories of up to 4 lines; the longest here has 3" in told

    assert main(["eval", "babi", "--data", str(babi), str(model), "--split", "validation", "--json", str(numbers)]) == 0
    found = json.loads(numbers.read_text())
    assert (found["split"], found["stories"], found["questions"]) == ("validation", {"1": 3, "8": 2}, {"1": 6, "8": 2})
    assert "has no test files" not in capsys.readouterr().out


def test_without_test_files_the_validation_part_is_measured_and_said_to_be(
    babi: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (babi / "qa1_where_test.txt").unlink()
    assert main(["eval", "babi", "--data", str(babi), str(folder)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "has no test files: what is measured is the validation part of the training files" in told


def test_mistakes_are_one_line(babi: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*argv: str) -> str:
        assert main(list(argv)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no such folder" in refused("eval", "babi", "--data", str(tmp_path / "none"), str(folder))
    assert "holds no bAbI files" in refused("eval", "babi", "--data", str(empty), str(folder))
    assert "holds no bAbI files" in refused("train", "babi", "--data", str(empty), "--out", str(tmp_path / "run"))
    assert "--data DIR" in refused("train", "babi", "--out", str(tmp_path / "run"))
    twice = ["--data", str(babi), "--data", str(empty)]
    assert "must be the one folder of the bAbI tasks" in refused(
        "train", "babi", *twice, "--out", str(tmp_path / "run")
    )
    assert "--everyday-share 0.5: the task babi is trained on alone" in refused(
        "train", "babi", "--data", str(babi), "--everyday-share", "0.5"
    )
    assert not (tmp_path / "run" / "run.json").exists()

    for path in babi.glob("*_train*"):
        path.unlink()
    assert "holds no bAbI training files" in refused(
        "train", "babi", "--data", str(babi), "--out", str(tmp_path / "run")
    )
    assert "holds no stories for validation" in refused(
        "eval", "babi", "--data", str(babi), str(folder), "--split", "validation"
    )
    (babi / "qa1_where_test.txt").unlink()
    (babi / "qa1_where_train.txt").write_text("1 Anna sat.\n")
    assert "task 1 has one story" in refused("train", "babi", "--data", str(babi), "--out", str(tmp_path / "run"))
    assert "holds no test files" in refused("eval", "babi", "--data", str(babi), str(folder), "--split", "test")
    shutil.rmtree(empty)
