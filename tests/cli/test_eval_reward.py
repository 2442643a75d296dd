"""``rxt eval reward``: the tables, the JSON, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rxt.cli.main import main
from rxt.evaluation.ranking import SHIPPED


def test_rankings_are_told_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "numbers.json"
    assert main(["eval", "reward", "--everyday", "3", "--seed", "2", "--json", str(out)]) == 0
    told = capsys.readouterr().out
    for words in ("held out", "everyday conversations", "mean of paraphrase", "copy > unrelated", "strict", "BLEU"):
        assert words in told
    written = json.loads(out.read_text())
    assert (written["data"], written["seed"]) == ("bundled", 2)
    assert written["weights"]["copy"] > 0
    assert [group["reward"]["quadruples"] for group in written["groups"].values()] == [27, 27, 3]
    for group in written["groups"].values():
        for found in group.values():
            assert set(found) == {"quadruples", "strict", "pairwise", "pairs", "paraphrase > wrong value", "means"}
            assert found["pairs"]["exact > copy"] == 1
            assert found["means"]["exact"] == {"value": 10, "low": 10, "high": 10}


def test_own_quadruples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "own.jsonl", tmp_path / "numbers.json"
    path.write_text("\n".join(SHIPPED.read_text(encoding="utf-8").splitlines()[:4]))
    assert main(["eval", "reward", str(path), "--json", str(out)]) == 0
    assert "4 quadruples" in " ".join(capsys.readouterr().out.split())
    assert list(json.loads(out.read_text())["groups"]) == [str(path)]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["none.jsonl"], "none.jsonl: cannot be read (No such file or directory)"),
        (["--everyday", "0"], "--everyday 0: take at least one"),
        (["--json", "no/such/x.json"], "no/such/x.json: there is no folder no/such"),
        (["--weights", "1"], "unrecognized options: --weights"),
    ],
)
def test_a_mistake_is_one_line(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "reward", *argv]) == 2
    told, errors = capsys.readouterr()
    assert told == ""
    assert errors.count("\n") == 1
    assert errors.startswith(f"rxt: {message}")
