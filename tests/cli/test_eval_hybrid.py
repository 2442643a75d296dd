"""``rxt eval hybrid``: tables, JSON and plot; one line for what cannot be measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from factories import tiny_config, tiny_model
from rxt.cli.main import main
from rxt.data.tokenizer import ChatTokenizer
from rxt.tasks.hybrid.talks import generate
from rxt.tasks.registry import task
from rxt.training.corpus import texts_of


@pytest.fixture(scope="module")
def beta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved random model with the Beta template and a tokenizer that knows what tools look like."""
    settings = task("hybrid").settings
    texts = [text for index in range(20) for text in texts_of(generate("train", 12, 0, index, settings).conversation)]
    tokenizer = ChatTokenizer.train(texts, 600, "beta")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "beta"
    config = tiny_config(max_length=700, layers=1, tokens=tokenizer.tokens)
    tiny_model(config.with_vocabulary(tokenizer.vocab_size, tokenizer.tokens)).save_pretrained(path)
    tokenizer.save(path)
    return path


def test_a_model_is_measured_and_its_numbers_are_written(
    beta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    out, plot = tmp_path / "numbers.json", tmp_path / "plot.svg"
    few = ["--distances", "1,2", "--questions", "2", "--budget", "5", "--kinds", "steps,call"]
    assert main(["eval", "hybrid", str(beta), *few, "--json", str(out), "--plot", str(plot)]) == 0
    told, errors = capsys.readouterr()
    assert errors == ""
    for words in ("right answers, split test, seed 1, free calls", "calls, split test", "reset", "thinking gain"):
        assert words in told
    numbers = json.loads(out.read_text())
    assert numbers["calls"] == "free"
    assert (numbers["split"], numbers["seed"], numbers["budget"], numbers["model"]) == ("test", 1, 5, str(beta))
    assert numbers["modes"].keys() == {"fast", "thinking", "auto"}
    steps = numbers["modes"]["thinking"]["steps"]
    assert (steps["questions"], steps["thought"], steps["by_distance"].keys()) == (4, 1.0, {"1", "2"})
    assert numbers["modes"]["fast"]["call"].keys() >= {"valid_calls", "right_arguments", "right"}
    assert numbers["controls"]["reset"].keys() == numbers["controls"]["chance"].keys() == {"steps", "call"}
    assert 0 <= numbers["controls"]["chance"]["steps"] < 1
    assert plot.read_text().startswith("<svg")
    assert "memory erased" in plot.read_text()


def test_calls_may_be_held_to_their_schema(beta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("llguidance")
    out = tmp_path / "numbers.json"
    few = ["--distances", "1", "--questions", "2", "--budget", "5", "--kinds", "call", "--calls", "strict"]
    assert main(["eval", "hybrid", str(beta), *few, "--json", str(out)]) == 0
    assert "strict calls" in capsys.readouterr().out
    numbers = json.loads(out.read_text())
    assert numbers["calls"] == "strict"
    assert numbers["modes"]["fast"]["call"]["questions"] == 2


def test_strict_calls_need_the_library(
    beta: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rxt.generation.reply_constraint.can_be_json", lambda: False)
    assert main(["eval", "hybrid", str(beta), "--calls", "strict"]) == 2
    errors = capsys.readouterr().err
    assert errors == (
        "rxt: calls that are held to their schema need llguidance: pip install 'reactive-transformers[json]'\n"
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--kinds", "sums"], "no questions of the kind 'sums'"),
        (["--distances", "0"], "--distances 0"),
        (["--questions", "0"], "--questions 0: must be at least 1"),
        (["--budget", "-1"], "--budget -1: must be at least 0"),
    ],
)
def test_what_cannot_be_asked_is_said(
    beta: Path, options: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "hybrid", str(beta), *options]) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "options", "stage"),
    [
        (
            "mrl",
            ["reinforcement.mode=auto", "reinforcement.longest_answer=160", "reinforcement.thinking_price=0.01"],
            {"mode": "auto", "longest_answer": 160, "thinking_price": 0.01},
        ),
        ("dmpo", ["preference.own_longest=160"], {"own_longest": 160}),
    ],
)
def test_rewards_and_preferences_go_on_from_it_as_documented(
    beta: Path,
    folder: Path,
    recipe: str,
    options: list[str],
    stage: dict[str, object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = 'data.conversations=[{"kind": "task", "name": "hybrid"}]'
    settings = [word for option in (data, *options) for word in ("--set", option)]
    assert main(["train", recipe, "--from", str(beta), *settings, "--show-json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["stages"][0].items() >= stage.items()
    assert found["data"]["conversations"][0]["name"] == "hybrid"
    if recipe == "mrl":
        assert main(["train", recipe, "--from", str(folder), *settings, "--show-json"]) == 2
        assert "mode must be fast with the alpha template" in capsys.readouterr().err


def test_a_model_without_these_parts_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "hybrid", str(folder)]) == 2
    assert "the alpha template has no thinking part" in capsys.readouterr().err
