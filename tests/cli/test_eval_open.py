"""``rxt eval open``: the tables, the transcript, the JSON, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rxt.cli.main import main
from rxt.cli.suites.open_talk import transcript
from rxt.evaluation.open_answers import HeldTalk
from rxt.evaluation.open_talks import read_talks
from rxt.evaluation.report.results import read_open
from rxt.evaluation.retention import NOTHING, Plan, Retention, Score
from rxt.tasks.registry import task

TALKS = """== dog
= Rex
- my dog is rex
? told 1 | his name? | rex | Rex.
? never_told | and my cat? | I don't know.
"""


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    path = tmp_path / "talks.txt"
    path.write_text(TALKS)
    return path


@pytest.fixture(autouse=True)
def _short_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model cannot read a fact typed in every way."""
    monkeypatch.setattr("rxt.evaluation.open_answers.type_facts", lambda *_: {"as written": Score(1, 4)})


RECALL = Retention(
    by_distance={1: Score(3, 4), 8: Score(1, 4)},
    reset={1: Score(1, 4), 8: NOTHING},
    shuffled={1: Score(0, 4), 8: NOTHING},
    chance=0.0,
    distracted=NOTHING,
    special={"changed": Score(1, 2)},
    capacity={},
)


def test_own_talks_are_told_and_written(
    folder: Path, talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measure(*arguments: object) -> Retention:
        asked.append(arguments[1:4])
        return RECALL

    monkeypatch.setattr("rxt.evaluation.retention.measure_retention", measure)
    out = tmp_path / "numbers.json"
    few = ["--distances", "1,8", "--questions", "4"]
    assert (
        main(["eval", "open", str(folder), "--talks", str(talks), "--show", "--json", str(out), "--seed", "3", *few])
        == 0
    )
    assert asked == [("test", Plan((1, 8), 4, task=task("open")), 3)]
    told, errors = capsys.readouterr()
    assert errors == "", "no progress bar where there is no terminal"
    for words in ("1 talks", "> my dog is rex", "✗ <", "never told: it says so", "as written", "0.250"):
        assert words in told
    numbers = json.loads(out.read_text())
    assert (numbers["model"], numbers["seed"], numbers["talks"], numbers["held"]) == (str(folder), 3, str(talks), 1)
    for name in ("right", "never_told", "invented"):
        assert numbers[name] == numbers["shares"][name]["value"]
    assert numbers["shares"]["right"]["of"] == numbers["shares"]["never_told"]["of"] == 1
    assert numbers["shares"]["changed"] is None, "nothing changed"
    assert numbers["right_by_distance"].keys() == {"1"}
    assert numbers["ways_of_typing"]["as written"]["value"] == 0.25
    assert numbers["recall_by_distance"] == {"1": 0.75, "8": 0.25}
    assert numbers["controls"] == {"reset": 0.25, "shuffled": 0.0, "chance": 0.0}
    assert numbers["harder"] == {"distracted": None, "changed": 0.5}
    shown = read_open(out)
    assert (shown.right, shown.never_told, shown.invented) == tuple(
        map(numbers.get, ("right", "never_told", "invented"))
    )
    assert shown.recall is not None
    assert shown.recall.curve == {1: 0.75, 8: 0.25}
    assert shown.shares["changed"] is None
    assert shown.ways_of_typing["as written"].of == 4


def test_the_distances_may_be_left_out(folder: Path, talks: Path, tmp_path: Path) -> None:
    out = tmp_path / "numbers.json"
    assert main(["eval", "open", str(folder), "--talks", str(talks), "--distances", "none", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["recall_by_distance"] == {}
    assert read_open(out).recall is None


def test_a_transcript_marks_what_is_wrong_and_what_nobody_said() -> None:
    (talk,) = read_talks(TALKS)
    assert transcript(HeldTalk(talk, ("Nice [dog]!", "Rex.", "Felix."))) == (
        "[bold]dog[/bold]\n"
        "  > my dog is rex\n"
        "  < Nice \\[dog]!\n"
        "  > his name?\n"
        "[green]✓[/green] < Rex.\n"
        "  > and my cat?\n"
        "[red]✗ < Felix.[/red]  [yellow]nobody said: felix[/yellow]\n"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "TALKS: cannot be read (No such file or directory)"),
        (b"", "TALKS: there is no question in it"),
        (b"== a\n- hello\n", "TALKS: there is no question in it"),
        (b"hello\n", "TALKS:1: a line begins with"),
        (b"== a\n- one\n? told 2 | q | m | a\n", "TALKS:3: message 2 is none that tells something before it"),
        (b"== a\n- one\n? told 0 | q | m | a\n", "TALKS:3: message 0 is none that tells something before it"),
        (b"== a\n? never_told | q | a\n? told 1 | q | m | a\n", "TALKS:3: message 1 is none"),
        (b"== a\n- \n? never_told | q | a\n", "TALKS:2: nothing follows '-'"),
        (b"\xff\xfe", "TALKS: is not UTF-8 text"),
    ],
)
def test_a_mistake_is_one_line(
    content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.txt"
    if content is not None:
        path.write_bytes(content)
    assert main(["eval", "open", "--talks", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"rxt: {message.replace('TALKS', str(path))}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--distances", "0"], "--distances 0: write ranges as in 1-16"),
        (["--distances", "1", "--questions", "1"], "--questions 1: ask at least two"),
        (["--json", "."], ".: this is a folder"),
    ],
)
def test_a_mistaken_option_is_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "open", *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"rxt: {message}")


def test_a_model_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "open", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("rxt: nowhere: no such folder")
