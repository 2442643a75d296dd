"""``rxt average``: the mean of weights, of models that go together and of no others."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rxt.cli.main import main
from rxt.pretrained import ReactiveTransformer, load_chat


@pytest.fixture
def other(folder: Path, tmp_path: Path) -> Path:
    """The same model trained on, as it were."""
    copy = tmp_path / "other"
    shutil.copytree(folder, copy)
    model = ReactiveTransformer.from_pretrained(copy)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.config = replace(model.config, trained_turns=77)
    model.save_pretrained(copy)
    return copy


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return ReactiveTransformer.from_pretrained(folder).state_dict()


@pytest.mark.parametrize(("given", "first"), [((), 0.5), (("--weights", "3", "1"), 0.75)])
def test_the_mean_is_the_mean(given: tuple[str, ...], first: float, folder: Path, other: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "mean"
    assert main(["average", str(out), str(folder), str(other), *given]) == 0
    one, two = weights(folder), weights(other)
    for name, found in weights(out).items():
        torch.testing.assert_close(found, first * one[name] + (1 - first) * two[name])
    assert ReactiveTransformer.from_pretrained(out).config.trained_turns == 77
    assert load_chat(out, max_new_tokens=2).ask("hello") is not None


def test_a_model_with_itself_is_itself(folder: Path, tmp_path: Path) -> None:
    assert main(["average", str(tmp_path / "same"), str(folder), str(folder), str(folder)]) == 0
    fingerprints = {ReactiveTransformer.from_pretrained(path).fingerprint() for path in (folder, tmp_path / "same")}
    assert len(fingerprints) == 1


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main(["average", *map(str, argv)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_mistakes(folder: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert "write rxt average OUT MODEL MODEL" in refused(capsys, out, folder)
    assert "2 models need as many, found 1" in refused(capsys, out, folder, other, "--weights", 1)
    assert "must be positive, found -1" in refused(capsys, out, folder, other, "--weights", 1, -1)
    assert "not an empty folder" in refused(capsys, other, folder, folder)
    (other / "tokenizer.json").unlink()
    assert "another tokenizer" in refused(capsys, out, folder, other)
    titled = ReactiveTransformer.from_pretrained(folder)
    titled.config = replace(titled.config, system_prompt_title="RULES")
    titled.save_pretrained(tmp_path / "titled")
    shutil.copy(folder / "tokenizer.json", tmp_path / "titled")
    assert "another configuration" in refused(capsys, out, folder, tmp_path / "titled")
    assert not out.exists()
