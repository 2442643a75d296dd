"""``rxt eval``: the tables, the JSON, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rxt.cli.eval import SUITES
from rxt.cli.main import main
from rxt.cli.suites.retention import parse_distances
from rxt.errors import UserError
from rxt.evaluation.perplexity import AnswerScore, Perplexity
from rxt.evaluation.retention import Retention, Score

RETENTION = Retention({1: Score(3, 4), 2: Score(1, 4), 9: Score(0, 4)}, Score(1, 12), Score(2, 12), 0.05, Score(1, 1), Score(0, 0))
PERPLEXITY = Perplexity(AnswerScore(7, 1.0, 0.5, 2.0), AnswerScore(7, 2.0, 0.25, 3.0), AnswerScore(7, 2.5, 0.125, 3.5))
GOOD = {"interactions": [{"query": "my name is Ann", "answer": "hello Ann"}, {"query": "who am I?", "answer": "you are Ann"}]}


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
        asked.append(arguments[1:5])
        return RETENTION

    monkeypatch.setattr("rxt.evaluation.retention.measure_retention", measure)
    out = tmp_path / "numbers.json"
    options = ["--split", "validation", "--distances", "1,2,9", "--questions", "4", "--seed", "3", "--json", str(out)]
    assert main(["eval", "retention", str(folder), *options]) == 0
    assert asked == [("validation", [1, 2, 9], 4, 3)]
    assert json.loads(out.read_text()) == {
        "model": str(folder),
        "split": "validation",
        "seed": 3,
        "recall_by_distance": {"1": 0.75, "2": 0.25, "9": 0.0},
        "questions_by_distance": {"1": 4, "2": 4, "9": 4},
        "recall_by_group": {"1-8": 0.5, "9-16": 0.0},
        "changed": 1.0,
        "never_told": None,
        "controls": {"reset": 1 / 12, "shuffled": 2 / 12, "chance": 0.05},
    }
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.json"]
    table = capsys.readouterr().out
    for name in ("1-8", "9-16", "changed facts", "memory reset", "other memory", "chance"):
        assert name in table
    assert "0.750" in table
    assert "never told" not in table, "nothing was asked"


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
    assert set(written) == {"data", "tokens", "kept", "reset", "shuffled"}


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
        (["retention", "--distances", "0-3"], "--distances 0-3: write a range as in 1-16"),
        (["retention", "--distances", "5-2"], "--distances 5-2: write a range"),
        (["retention", "--distances", "1,x"], "--distances 1,x: write a range"),
        (["retention", "--distances", ""], "--distances : write a range"),
        (["retention", "--questions", "1"], "--questions 1: ask at least two"),
        (["retention", "nowhere"], "nowhere: no such folder"),
        (["retention", "nowhere", "--json", "no/such/folder/x.json"], "no/such/folder/x.json: there is no folder no/such/folder"),
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
    assert parse_distances("1-4") == [1, 2, 3, 4]
    assert parse_distances("8,1,2,2") == [1, 2, 8]
    assert parse_distances("1-3,16") == [1, 2, 3, 16]
    with pytest.raises(UserError, match="--distances -1"):
        parse_distances("-1")


def test_the_help_names_the_suites(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["--help"]):
        assert main(["eval", *argv]) == 0
        told = capsys.readouterr().out
        assert all(f"  {name} " in told for name in SUITES)
