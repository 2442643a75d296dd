"""``rxt eval latency``: the tables, the JSON, the picture, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from rxt.cli.main import main

SMALL = ["--query-tokens", "6", "--answer-tokens", "4", "--repeats", "2", "--warm-up", "0"]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_costs_are_told_written_and_drawn(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    out, picture = tmp_path / "numbers.json", tmp_path / "cost.svg"
    options = ["--turns", "4,1", "--threads", "1", "--json", str(out), "--plot", str(picture)]
    assert main(["eval", "latency", str(folder), *SMALL, *options]) == 0
    told, errors = capsys.readouterr()
    assert errors == "", "no progress bar where there is no terminal"
    for words in (
        "Reactive Transformer",
        "decoder-only, reads all again",
        "decoder-only, keeps a cache",
        "first token",
        "update",
    ):
        assert words in told
    written = json.loads(out.read_text())
    assert {key: written[key] for key in ("model", "threads", "query_tokens", "answer_tokens", "repeats")} == {
        "model": str(folder),
        "threads": 1,
        "query_tokens": 6,
        "answer_tokens": 4,
        "repeats": 2,
    }
    reactive, again, kept = written["subjects"]
    assert [list(curve["turns"]) for curve in written["subjects"]] == [["1", "4"]] * 3
    assert again["parameters"] == kept["parameters"]
    assert abs(again["parameters"] - reactive["parameters"]) < 0.2 * reactive["parameters"]
    assert [turn["tokens"] for turn in reactive["turns"].values()] == [19, 19]
    assert [turn["tokens"] for turn in again["turns"].values()] == [9, 39]
    assert [turn["tokens"] for turn in kept["turns"].values()] == [9, 10]
    assert len({turn["state_bytes"] for turn in reactive["turns"].values()}) == 1
    assert kept["turns"]["4"]["state_bytes"] > 3 * kept["turns"]["1"]["state_bytes"]
    times = reactive["turns"]["4"]["first_token"]
    assert 0 < times["fastest"] <= times["median"] <= times["slowest"]
    assert ElementTree.fromstring(picture.read_text()).tag.endswith("svg")
    assert "var(" not in picture.read_text(), "a file of its own has colours of its own"


def test_a_preset_is_timed_with_random_weights(tmp_path: Path) -> None:
    out = tmp_path / "numbers.json"
    assert (
        main(["eval", "latency", "--preset", "pocket", "--turns", "1", *SMALL, "--repeats", "1", "--json", str(out)])
        == 0
    )
    assert json.loads(out.read_text())["model"] == "pocket"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--turns", "0,1"], "--turns 0,1: write a list as in 1,2,4,8"),
        (["--turns", "1-4"], "--turns 1-4: write a list"),
        (["--repeats", "0"], "--repeats 0: must be at least 1"),
        (["--warm-up", "-1"], "--warm-up -1: must be at least 0"),
        (["--threads", "-1"], "--threads -1: must be at least 0"),
        (["nowhere"], "nowhere: no such folder"),
        (["nowhere", "--preset", "pocket"], "a model (nowhere) or a preset (pocket), not both"),
        (["--preset", "pockett"], "there is no preset 'pockett'"),
        (["--json", "no/such/x.json"], "no/such/x.json: there is no folder no/such"),
        (["--plot", "."], ".: this is a folder; name a file"),
        (["--query-tokens", "100", "--answer-tokens", "100"], "100 tokens of query and 100 of answer do not fit"),
        (["--query-tokens", "0"], "a turn has at least one token of query"),
    ],
)
def test_a_mistake_is_one_line(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "latency", *argv]) == 2
    told, errors = capsys.readouterr()
    assert told == ""
    assert errors.count("\n") == 1
    assert errors.startswith(f"rxt: {message}")


def test_a_plot_without_matplotlib_is_refused_before_timing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rxt.evaluation.report.plots.have_plots", lambda: False)
    assert main(["eval", "latency", "--plot", str(tmp_path / "x.svg")]) == 2
    assert capsys.readouterr().err == "rxt: a plot needs matplotlib: pip install 'reactive-transformers[plot]'\n"
