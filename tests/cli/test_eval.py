"""``rxt eval``: the tables, the JSON, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rxt.cli.eval import SUITES
from rxt.cli.main import main
from rxt.cli.suites.retention import parse_numbers
from rxt.errors import UserError
from rxt.evaluation.bootstrap import Estimate
from rxt.evaluation.perplexity import AnswerScore, Perplexity, TurnScore
from rxt.evaluation.retention import NOTHING, Plan, Retention, Score

RETENTION = Retention(
    by_distance={1: Score(3, 4), 2: Score(1, 4), 9: Score(0, 4)},
    reset={1: Score(1, 4), 2: NOTHING, 9: Score(0, 4)},
    shuffled={1: Score(1, 4), 2: Score(1, 4), 9: Score(0, 4)},
    chance=0.05,
    distracted=Score(1, 2),
    special={"changed": Score(1, 1), "never_told": NOTHING},
    capacity={(1, 1): Score(4, 4), (1, 4): Score(2, 4), (1, 16): Score(1, 4), (1, 64): Score(0, 4)},
)
PERPLEXITY = Perplexity(
    kept=AnswerScore(7, 1.0, 0.5, 2.0),
    reset=AnswerScore(7, 2.0, 0.25, 3.0),
    shuffled=AnswerScore(7, 2.5, 0.125, 3.5),
    by_turn={turn: TurnScore(7, 1.0, 2.0, 3.0) for turn in range(1, 19)},
    worth=Estimate(1.0, 0.5, 1.5),
    later_worth=Estimate(float("nan"), float("nan"), float("nan")),
)
GOOD = {
    "interactions": [
        {"query": "my name is Ann", "answer": "hello Ann"},
        {"query": "who am I?", "answer": "you are Ann"},
    ]
}


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    path = tmp_path / "chats.jsonl"
    path.write_text((json.dumps(GOOD) + "\n") * 2)
    return path


def test_retention_is_told_and_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measure(*arguments: object) -> Retention:
        asked.append(arguments[1:4])
        return RETENTION

    monkeypatch.setattr("rxt.evaluation.retention.measure_retention", measure)
    out = tmp_path / "numbers.json"
    options = [
        "--split",
        "validation",
        "--distances",
        "1,2,9",
        "--questions",
        "4",
        "--facts",
        "1",
        "--seed",
        "3",
        "--json",
        str(out),
    ]
    assert main(["eval", "retention", str(folder), *options]) == 0
    assert asked == [("validation", Plan((1, 2, 9), 4, (1,)), 3)]
    numbers = json.loads(out.read_text())
    assert numbers.pop("intervals_by_distance").keys() == {"1", "2", "9"}
    assert numbers == {
        "model": str(folder),
        "task": "everyday",
        "split": "validation",
        "seed": 3,
        "updates": "float32",
        "trained_turns": None,
        "tested_turns": 9,
        "recall_by_distance": {"1": 0.75, "2": 0.25, "9": 0.0},
        "questions_by_distance": {"1": 4, "2": 4, "9": 4},
        "recall_by_group": {"1-4": 0.5, "5-16": 0.0},
        "distracted": 0.5,
        "changed": 1.0,
        "never_told": None,
        "capacity": {"1": {"1": 1.0, "4": 0.5, "16": 0.25, "64": 0.0}},
        "controls": {"reset": 1 / 8, "shuffled": 2 / 12, "chance": 0.05},
        "controls_by_distance": {
            "reset": {"1": 0.25, "2": None, "9": 0.0},
            "shuffled": {"1": 0.25, "2": 0.25, "9": 0.0},
        },
    }
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.json"]
    table = capsys.readouterr().out
    for name in (
        "1-4",
        "5-16",
        "distracted",
        "changed",
        "memory reset",
        "another's",
        "chance",
        "16 turns ago",
        "in training not known",
    ):
        assert name in table
    assert "0.750" in table
    assert "│ never told" not in table.replace("  ", ""), "nothing was asked"


def test_perplexity_is_told_and_written(
    folder: Path, chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "numbers.json"
    assert main(["eval", "perplexity", str(chats), str(folder)]) == 0, "a real model, without a file"
    out_text, err_text = capsys.readouterr()
    assert all(name in out_text for name in ("kept", "reset every turn", "another's"))
    assert err_text == "", "no progress bar where there is no terminal"
    monkeypatch.setattr("rxt.evaluation.perplexity.measure_perplexity", lambda *_: PERPLEXITY)
    assert main(["eval", "perplexity", str(chats), str(folder), "--json", str(out)]) == 0
    written = json.loads(out.read_text())
    assert written["tokens"] == 7
    assert written["data"] == str(chats)
    assert written["kept"] == {
        "nats": 1.0,
        "perplexity": pytest.approx(2.71828),
        "accuracy": 0.5,
        "later_perplexity": pytest.approx(7.38906),
    }
    assert (written["model"], written["seed"], written["conversations"]) == (str(folder), 1, 2)
    assert written["by_turn"]["18"] == {"tokens": 7, "kept": 1.0, "reset": 2.0, "shuffled": 3.0}
    assert written["worth"] == {"all": {"value": 1.0, "low": 0.5, "high": 1.5}, "later": None}
    told = capsys.readouterr().out
    assert "in all: 1.0000 nats a token (95 % interval 0.5000 to" in told
    assert "2 more turns stand in the JSON" in told
    assert "nan" not in told, "there was no later turn"


def test_memory_updates_are_rounded_where_that_is_asked_for(folder: Path, chats: Path, tmp_path: Path) -> None:
    def nats(*options: str) -> tuple[str, dict[str, float]]:
        out = tmp_path / "numbers.json"
        assert main(["eval", "perplexity", str(chats), str(folder), "--json", str(out), *options]) == 0
        numbers = json.loads(out.read_text())
        return numbers["updates"], {kind: numbers[kind]["nats"] for kind in ("kept", "reset")}

    (exact_type, exact), (rounded_type, rounded) = nats(), nats("--updates", "bfloat16")
    assert (exact_type, rounded_type) == ("float32", "bfloat16")
    assert rounded["kept"] == pytest.approx(exact["kept"], rel=1e-3)
    assert rounded["kept"] != exact["kept"]
    assert rounded["reset"] == exact["reset"], "nothing is read that was written"


def test_an_unfinished_file_leaves_the_old_one(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "numbers.json"
    out.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rxt.evaluation.retention.measure_retention", lambda *_: RETENTION)
    monkeypatch.setattr("os.replace", full)
    assert main(["eval", "retention", str(folder), "--json", str(out)]) == 2
    assert capsys.readouterr().err == f"rxt: {out}: cannot be written (No space left on device)\n"
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.json"]
    assert out.read_text() == "old"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["speed"], "there is no suite 'speed'"),
        (["retention", "--splitt", "test"], "unrecognized options: --splitt"),
        (["retention", "--split", "tests"], ""),
        (["retention", "--distances", "0-3"], "--distances 0-3: write ranges as in 1-16"),
        (["retention", "--distances", "5-2"], "--distances 5-2: write ranges"),
        (["retention", "--distances", "1,x"], "--distances 1,x: write ranges"),
        (["retention", "--distances", ""], "--distances : write ranges"),
        (["retention", "--questions", "1"], "--questions 1: ask at least two"),
        (["retention", "nowhere"], "nowhere: no such folder"),
        (["retention", "--task", "chess"], "recipe: there is no task 'chess'; choose one of "),
        (
            ["retention", "nowhere", "--json", "no/such/folder/x.json"],
            "no/such/folder/x.json: there is no folder no/such/folder",
        ),
        (["perplexity"], ""),
        (["perplexity", "none.jsonl"], "none.jsonl: no such file"),
        (["perplexity", "DATA", "nowhere"], "nowhere: no such folder"),
        (["perplexity", "DATA", "--json", "."], ".: this is a folder; name a file"),
    ],
)
def test_a_mistake_is_one_line(argv: list[str], message: str, chats: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", *(str(chats) if word == "DATA" else word for word in argv)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"rxt: {message}")


def test_one_conversation_is_one_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(GOOD) + "\n")
    assert main(["eval", "perplexity", str(path), str(folder)]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("rxt: perplexity needs at least two conversations")


def test_distances_are_ranges_and_lists() -> None:
    assert parse_numbers("--distances", "1-4") == [1, 2, 3, 4]
    assert parse_numbers("--distances", "8,1,2,2") == [1, 2, 8]
    assert parse_numbers("--distances", "1-3,16") == [1, 2, 3, 16]
    with pytest.raises(UserError, match="--distances -1"):
        parse_numbers("--distances", "-1")


def test_the_help_names_the_suites(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["--help"]):
        assert main(["eval", *argv]) == 0
        told = capsys.readouterr().out
        assert all(f"  {name} " in told for name in SUITES)
