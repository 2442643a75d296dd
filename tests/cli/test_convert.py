"""``rxt convert``: either layout from the other, or a model from its parts; OUT is written whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rxt.cli.main import main
from rxt.pretrained import ReactiveTransformer, load_chat

EMBEDDING = "model.embedding.weight"


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The one line that a mistake ends with."""
    assert main(["convert", *map(str, argv)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def same_model(found: Path, expected: Path) -> bool:
    ours, theirs = ReactiveTransformer.from_pretrained(found), ReactiveTransformer.from_pretrained(expected)
    return ours.fingerprint() == theirs.fingerprint() and ours.config == theirs.config


def layout_of(folder: Path) -> str:
    return "published" if "decoder_config" in json.loads((folder / "config.json").read_text()) else "rxt"


def test_there_and_back(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "new" / "published", tmp_path / "again"
    assert main(["convert", str(folder), str(first)]) == 0
    assert capsys.readouterr().out == f"{first}: written in the published layout\n"
    assert main(["convert", str(first), str(second)]) == 0
    assert (layout_of(first), layout_of(second)) == ("published", "rxt")
    assert same_model(first, folder)
    assert same_model(second, folder)
    assert {path.name: path.read_bytes() for path in second.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
    assert load_chat(first, max_new_tokens=4).ask("hello") == load_chat(folder, max_new_tokens=4).ask("hello")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "new"]


def test_a_layout_can_be_named(folder: Path, tmp_path: Path, reference: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["convert", str(folder), str(tmp_path / "empty"), "--layout", "rxt"]) == 0
    assert layout_of(tmp_path / "empty") == "rxt"
    assert main(["convert", str(reference / "beta"), str(tmp_path / "beta"), "--layout", "published"]) == 0
    assert same_model(tmp_path / "beta", reference / "beta")
    assert "tokenizer.json" not in {path.name for path in (tmp_path / "beta").iterdir()}


def test_another_tokenizer_goes_along(folder: Path, tmp_path: Path, reference: Path) -> None:
    assert main(["convert", str(reference / "beta"), str(tmp_path / "out"), "--tokenizer", str(folder)]) == 0
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


def test_what_is_there_is_not_touched(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        assert "is there already and not an empty folder; name a new one" in refused(capsys, folder, tmp_path / name)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["note"]
    assert (tmp_path / "file").read_text() == "mine"


def test_nothing_is_half_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        assert "No space left on device" in refused(capsys, folder, tmp_path / "out")
    assert not list(tmp_path.iterdir())
    assert "tokenizer.json: cannot be read" in refused(
        capsys, folder, tmp_path / "out", "--tokenizer", tmp_path / "tokenizer.json"
    )
    assert not list(tmp_path.iterdir())


def test_a_model_that_the_published_layout_cannot_hold(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    shutil.copytree(folder, source)
    values = json.loads((source / "config.json").read_text())
    values["decoder"]["cross_attention"]["rope_base"] = 99.0
    (source / "config.json").write_text(json.dumps(values))
    assert "the published layout cannot say: decoder self- and cross-attention" in refused(
        capsys, source, tmp_path / "out"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["one"], "write rxt convert SOURCE OUT, found 1 of these two"),
        (["one", "two", "three"], "write rxt convert SOURCE OUT, found 3 of these two"),
        (["one", "out", "--embedding", "decoder"], "--embedding is for --decoder and --encoder"),
        (
            ["out", "--decoder", "d"],
            "a whole model needs --decoder, --encoder, --memory-attention; found only --decoder",
        ),
        (
            ["a", "b", "--decoder", "d", "--encoder", "e", "--memory-attention", "m"],
            "with parts write only OUT, found 2 folders",
        ),
        (
            ["o", "--decoder", "d", "--encoder", "e", "--memory-attention", "m", "--revision", "r"],
            "--revision is for SOURCE",
        ),
        (["nowhere", "out"], "nowhere: no such folder"),
        (["nowhere", "out", "--layout", "other"], "--layout"),
    ],
)
def test_mistakes(
    argv: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, *argv)


@pytest.fixture
def parts(folder: Path, tmp_path: Path) -> list[str]:
    """The options that name the published parts of the model in ``folder``; the decoder has the tokenizer."""
    whole = tmp_path / "whole"
    ReactiveTransformer.from_pretrained(folder).save_pretrained(whole, "published")
    values, stored = json.loads((whole / "config.json").read_text()), load_file(whole / "model.safetensors")
    stored[f"encoder.{EMBEDDING}"] = stored[f"decoder.{EMBEDDING}"].clone()
    options: list[str] = []
    for name in ("decoder", "encoder", "memory_attention"):
        path = tmp_path / name
        path.mkdir()
        (path / "config.json").write_text(json.dumps(values[f"{name}_config"]))
        save_file(
            {key.removeprefix(f"{name}."): each for key, each in stored.items() if key.startswith(name)},
            path / "model.safetensors",
        )
        options += [f"--{name.replace('_', '-')}", str(path)]
    shutil.copy(folder / "tokenizer.json", tmp_path / "decoder")
    return options


@pytest.mark.parametrize("layout", ["rxt", "published"])
def test_a_model_from_its_parts(folder: Path, tmp_path: Path, parts: list[str], layout: str) -> None:
    assert main(["convert", str(tmp_path / "out"), *parts, "--layout", layout]) == 0
    assert layout_of(tmp_path / "out") == layout
    assert (
        ReactiveTransformer.from_pretrained(tmp_path / "out").fingerprint()
        == ReactiveTransformer.from_pretrained(folder).fingerprint()
    )
    assert load_chat(tmp_path / "out", max_new_tokens=4).ask("hello") == load_chat(folder, max_new_tokens=4).ask(
        "hello"
    )


def test_different_embeddings_need_a_choice(
    tmp_path: Path, parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "encoder" / "model.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, EMBEDDING: tensors[EMBEDDING] + 1}, weights)
    assert "the decoder's and the encoder's differ" in refused(capsys, tmp_path / "out", *parts)
    assert main(["convert", str(tmp_path / "out"), *parts, "--embedding", "encoder"]) == 0
    model = ReactiveTransformer.from_pretrained(tmp_path / "out")
    assert torch.equal(model.decoder.embedding.weight, tensors[EMBEDDING] + 1)
