"""``rxt eval report``: what is measured, what is copied, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rxt.cli.main import main
from rxt.evaluation.report import results

RETENTION = {
    "model": "tiny",
    "recall_by_distance": {"1": 1.0, "4": 0.5},
    "controls": {"reset": 0.0, "shuffled": 0.1, "chance": 0.05},
}
OPEN = {"model": "tiny", "right": 0.5, "never_told": 1.0, "invented": 0.25}
CHAT = {
    "interactions": [
        {"query": "my name is Ann", "answer": "hello Ann"},
        {"query": "who am I?", "answer": "you are Ann"},
    ]
}


@pytest.fixture(autouse=True)
def _no_shipped_baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "BASELINES", tmp_path / "baselines")


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    path = tmp_path / "measured"
    path.mkdir()
    (path / "retention.json").write_text(json.dumps(RETENTION))
    return path


def test_everything_is_measured(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def retention(argv: list[str]) -> int:
        asked.append(argv)
        Path(argv[-1]).write_text(json.dumps(RETENTION))
        return 0

    def open_talk(argv: list[str]) -> int:
        asked.append(argv)
        Path(argv[-1]).write_text(json.dumps(OPEN))
        return 0

    monkeypatch.setattr("rxt.cli.suites.retention.run", retention)  # the model cannot read a generated query
    monkeypatch.setattr("rxt.cli.suites.open_talk.run", open_talk)
    chats, out = tmp_path / "chats.jsonl", tmp_path / "new" / "page"
    chats.write_text((json.dumps(CHAT) + "\n") * 2)
    few = ["--turns", "1,2", "--repeats", "1", "--threads", "1", "--query-tokens", "4", "--answer-tokens", "3"]
    asking = ["--questions", "2", "--distances", "1,4", "--seed", "7"]
    assert main(["eval", "report", str(folder), "--out", str(out), "--data", str(chats), *few, *asking]) == 0
    options = ["--distances", "1,4", "--questions", "2"]
    assert asked == [
        [str(folder), *options, "--seed", "7", "--json", str(out / "open.json")],
        [str(folder), *options, "--facts", "none", "--seed", "7", "--json", str(out / "retention.json")],
    ]
    assert sorted(path.name for path in out.iterdir()) == [
        "index.html",
        "latency.json",
        "open.json",
        "perplexity.json",
        "retention.json",
    ]
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "index.html")
    page = (out / "index.html").read_text(encoding="utf-8")
    assert all(
        words in page
        for words in (
            "Is it remembered as people say it?",
            "How often is a fact recalled?",
            "What does a turn cost?",
            "What is memory worth",
        )
    )
    assert json.loads((out / "perplexity.json").read_text())["seed"] == 7


def test_the_retention_suite_knows_the_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another mistake is told after the options have been read."""
    from rxt.cli.suites import retention
    from rxt.errors import UserError

    options = [
        "--distances",
        "1,4",
        "--questions",
        "2",
        "--facts",
        "none",
        "--seed",
        "7",
        "--json",
        str(tmp_path / "x.json"),
    ]
    with pytest.raises(UserError, match="nowhere: no such folder"):
        retention.run(["nowhere", *options])


def test_earlier_files_are_shown_and_copied(measured: Path, tmp_path: Path) -> None:
    other, out = tmp_path / "other.json", tmp_path / "out"
    other.write_text(json.dumps({**RETENTION, "recall_by_distance": {"1": 0.9, "4": 0.4}}))
    assert (
        main(["eval", "report", "--from", str(measured), "--out", str(out), "--compare", f"re-reads 4 turns={other}"])
        == 0
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "compare-re-reads-4-turns.json",
        "index.html",
        "retention.json",
    ]
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "re-reads 4 turns" in page
    assert "What does a turn cost?" not in page, "it was not measured"
    assert main(["eval", "report", "--from", str(out), "--out", str(out)]) == 0, "the same folder"


def test_baselines_that_come_with_the_package_are_the_default(measured: Path, tmp_path: Path) -> None:
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "no_memory.json").write_text(json.dumps(RETENTION))
    assert main(["eval", "report", "--from", str(measured), "--out", str(tmp_path / "out")]) == 0
    assert "no memory" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_a_file_of_an_earlier_page_is_not_taken_for_this_model(measured: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "perplexity.json").write_text("not even JSON")
    assert main(["eval", "report", "--from", str(measured), "--out", str(out)]) == 0
    assert "What is memory worth" not in (out / "index.html").read_text(encoding="utf-8")


def test_without_matplotlib_there_are_tables(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rxt.evaluation.report.plots.find_spec", lambda name: None)
    assert main(["eval", "report", "--from", str(measured), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<svg" not in page
    assert "50\u00a0%" in page
    assert "reactive-transformers[plot]" in page
    assert "reactive-transformers[plot]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], ""),
        (["--out", "OUT", "--from", "nowhere"], "nowhere: no such folder"),
        (
            ["--out", "OUT", "--from", "EMPTY"],
            "EMPTY: none of open.json, retention.json, latency.json, capacity.json and perplexity.json is there",
        ),
        (["--out", "OUT", "--from", "BAD"], "BAD/retention.json: recall_by_distance: field required"),
        (
            ["--out", "OUT", "--from", "MEASURED", "--data", "x"],
            "--from shows what was measured before: leave out the model and --data",
        ),
        (["--out", "OUT", "--compare", "name"], "--compare name: write NAME=FILE.json"),
        (["--out", "OUT", "--compare", "a=x", "--compare", "a=y"], "--compare a=y: there are two files of the name a"),
        (["--out", "OUT", "--compare", "a=none.json"], "none.json: no such file"),
        (["nowhere", "--out", "OUT"], "nowhere: no such folder"),
        (
            ["--out", "MEASURED/retention.json", "--from", "MEASURED"],
            "MEASURED/retention.json: the folder cannot be made",
        ),
    ],
)
def test_a_mistake_is_one_line(
    argv: list[str], message: str, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (("empty", None), ("bad", "{}")):
        (tmp_path / name).mkdir()
        if content:
            (tmp_path / name / "retention.json").write_text(content)
    places = {"OUT": "out", "EMPTY": "empty", "BAD": "bad", "MEASURED": "measured"}

    def filled(text: str) -> str:
        for word, place in places.items():
            text = text.replace(word, str(tmp_path / place))
        return text

    assert main(["eval", "report", *map(filled, argv)]) == 2
    told, errors = capsys.readouterr()
    assert told == ""
    assert errors.count("\n") == 1
    assert errors.startswith(f"rxt: {filled(message)}")
