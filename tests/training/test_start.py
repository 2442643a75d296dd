"""``rxt train --from MODEL``: a run that goes on with a model's weights, tokenizer and configuration."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from micro import AWARE, RUN, quiet
from safetensors.torch import load_file

import rxt
from rxt.cli.main import main
from rxt.config import RxTConfig
from rxt.errors import UserError
from rxt.folders import BUNDLED, model_folder
from rxt.training.config import RunConfig
from rxt.training.pipeline import train
from rxt.training.stages.memory_aware import Phase


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model's folder."""
    return train(RUN, tmp_path_factory.mktemp("first") / "run", quiet())


def going_on(model: Path, steps: int) -> RunConfig:
    config = RxTConfig.from_dict(json.loads((model / "config.json").read_text()), "test")
    phases = (Phase(steps=steps, turns=5, batch_size=2),)
    return replace(RUN, start=str(model), model=config, stages=(replace(AWARE, phases=phases),))


def test_without_updates_it_is_the_model_that_it_started_with(model: Path, tmp_path: Path) -> None:
    out = train(going_on(model, steps=0), tmp_path / "run", quiet())
    found, expected = load_file(out / "model.safetensors"), load_file(model / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(found[name].equal(expected[name]) for name in expected)
    assert (out / "tokenizer.json").read_text() == (model / "tokenizer.json").read_text()
    configs = [json.loads((folder / "config.json").read_text()) for folder in (out, model)]
    assert [config.pop("trained_turns") for config in configs] == [5, 4], "the longer of both trainings"
    assert configs[0] == configs[1]


def test_it_learns_from_there(model: Path, tmp_path: Path) -> None:
    out = train(going_on(model, steps=4), tmp_path / "run", quiet())
    found, expected = load_file(out / "model.safetensors"), load_file(model / "model.safetensors")
    moved = {name: float((found[name] - expected[name]).abs().max()) for name in expected}
    assert any(moved.values())
    assert max(moved.values()) < 0.1, "near to where it started, not drawn anew"
    card, start = (out / "README.md").read_text(), rxt.ReactiveTransformer.from_pretrained(model)
    assert f"went on from: the weights of fingerprint {start.fingerprint()}" in card
    assert "| 4-memory-aware | 4 |" in card
    assert "1-joint" not in card, "the run left it out"


def test_another_model_than_the_run_describes_is_refused(model: Path, tmp_path: Path) -> None:
    run = going_on(model, steps=1)
    other = replace(run, model=replace(run.model, memory_attention=replace(run.model.memory_attention, slots=7)))
    with pytest.raises(UserError, match=r"model\.memory_attention\.slots was 4, now 7"):
        train(other, tmp_path / "run", quiet())


def test_the_command_keeps_the_last_phase_alone(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "smoke", "--from", str(model), "--show-json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["start"] == str(model)
    (stage,) = shown["stages"]
    assert stage["kind"] == "memory_aware"
    assert [phase["turns"] for phase in stage["phases"]] == [4]
    assert shown["model"]["memory_attention"]["slots"] == RUN.model.memory_attention.slots


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", "nowhere"], "nowhere: no such folder"),
        (["--from", "MODEL", "--baseline", "history"], "no start for a baseline"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], message: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["train", "smoke", *(str(model) if option == "MODEL" else option for option in options)]
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_recipe_meant_for_trained_models_keeps_its_whole_curriculum(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "phrasings"]) == 2
    assert "--from MODEL" in capsys.readouterr().err
    assert main(["train", "phrasings", "--from", str(model), "--show-json"]) == 0
    phases = json.loads(capsys.readouterr().out)["stages"][0]["phases"]
    assert [phase["turns"] for phase in phases] == [16, 24]
    assert all(phase["trains"] == ["decoder", "encoder"] for phase in phases), "the memory attention stays as it is"


def test_a_recipe_meant_for_trained_models_does_nothing_without_one(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^the recipe micro goes on from a trained model; name it: start, or --from MODEL$"
    ):
        train(replace(RUN, stages=(AWARE,)), tmp_path / "run", quiet())
    assert not (tmp_path / "run").exists()


def test_preferences_alone_on_a_model(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "dmpo"]) == 2
    assert (
        capsys.readouterr().err
        == "rxt: rxt train dmpo: goes on from a trained model; name its folder with --from MODEL\n"
    )
    pairs = str(tmp_path / "pairs.jsonl")
    assert (
        main(["train", "dmpo", "--from", str(model), "--data", pairs, "--set", "preference.beta=0.5", "--show-json"])
        == 0
    )
    shown = json.loads(capsys.readouterr().out)
    (stage,) = shown["stages"]
    assert (stage["kind"], stage["beta"]) == ("preference", 0.5)
    assert stage["recall"]["keep"] == "best"
    generated, files = shown["data"]["conversations"]
    assert (files["files"], generated["weight"]) == ([pairs], 0.5)
    chats = tmp_path / "chats.jsonl"
    chats.write_text('{"interactions": [{"query": "a", "answer": "b"}]}\n' * 2)
    assert main(["train", "dmpo", "--from", str(model), "--data", str(chats), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"rxt: {chats}: holds conversations without rejected answers")
    assert error.count("\n") == 1


def test_the_bundled_model_has_a_name_that_a_folder_of_that_name_takes(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_folder("bundled") == model_folder(None) == BUNDLED
    assert main(["train", "mrl", "--from", "bundled", "--show-json"]) == 0
    bundled = json.loads((BUNDLED / "config.json").read_text())
    assert json.loads(capsys.readouterr().out)["model"]["decoder"]["width"] == bundled["decoder"]["width"]
    (tmp_path / "bundled").symlink_to(model)
    assert model_folder("bundled").samefile(model)


def test_a_runs_folder_points_to_its_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = model.parent
    message = f"rxt: {run}: a run's folder, not a model's; did you mean {model}?\n"
    for argv in (["info", str(run)], ["train", "smoke", "--from", str(run), "--show-json"]):
        assert main(argv) == 2
        assert capsys.readouterr().err == message
    with pytest.raises(UserError, match="did you mean"):
        rxt.load_chat(run)
