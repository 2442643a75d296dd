"""Weights in several files behind an index: read as if they were one; every disagreement is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_reactive import REACTIVE, make
from torch import nn

from rxt.errors import UserError
from rxt.interop.published import load_published_component
from rxt.model import weights
from rxt.pretrained import ReactiveTransformer

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARDS = ["model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"]


def split(folder: Path) -> None:
    """Deal the tensors out to three files; the metadata, with its second names of tensors, stays with the first."""
    tensors = load_file(folder / WEIGHTS)
    with safe_open(str(folder / WEIGHTS), framework="pt") as file:
        metadata = file.metadata()
    (folder / WEIGHTS).unlink()
    places = {name: SHARDS[index % 3] for index, name in enumerate(sorted(tensors))}
    for shard in SHARDS:
        own = {name: tensor for name, tensor in tensors.items() if places[name] == shard}
        save_file(own, folder / shard, metadata if shard == SHARDS[0] else None)
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))


def same_weights(found: nn.Module, expected: nn.Module) -> bool:
    ours, theirs = found.state_dict(), expected.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of our own layout in three files."""
    make(REACTIVE["plain"], double=False).save_pretrained(tmp_path / "model")
    split(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("layout", ["rxt", "published"])
def test_several_files_are_the_same_model(tmp_path: Path, layout: Any) -> None:
    model = make(REACTIVE["plain"], double=False)
    model.save_pretrained(tmp_path, layout)
    split(tmp_path)
    assert same_weights(ReactiveTransformer.from_pretrained(tmp_path), model)


@pytest.mark.parametrize("layout", ["rxt", "published"])
def test_large_weights_are_written_in_several_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Any
) -> None:
    """And one file, several, fewer again over each other leave nothing of the ones before."""
    for number, file_bytes in enumerate((2**30, 4_096, 8_192, 4_096, 2**30)):
        monkeypatch.setattr(weights.write_weights, "__defaults__", (file_bytes,))
        torch.manual_seed(number)
        model = make(REACTIVE["plain"], double=False)
        model.save_pretrained(tmp_path, layout)
        files = {path.name for path in tmp_path.glob("*.safetensors*")}
        if file_bytes == 2**30:
            assert files == {WEIGHTS}
        else:
            places = json.loads((tmp_path / INDEX).read_text())["weight_map"]
            assert files == {*places.values(), INDEX}
            assert len(files) > 2
            sizes = [sum(tensor.nbytes for tensor in load_file(tmp_path / file).values()) for file in files - {INDEX}]
            assert max(sizes) <= file_bytes
        assert same_weights(ReactiveTransformer.from_pretrained(tmp_path), model)


@pytest.mark.parametrize("name", ["alpha_legacy_moe", "beta"])
def test_a_whole_reference_in_several_files(tmp_path: Path, reference: Path, name: str) -> None:
    shutil.copytree(reference / name, tmp_path / name)
    split(tmp_path / name)
    assert same_weights(
        ReactiveTransformer.from_pretrained(tmp_path / name), ReactiveTransformer.from_pretrained(reference / name)
    )


@pytest.mark.parametrize("name", ["encoder", "memory_self", "mlm_head"])
def test_a_part_in_several_files(tmp_path: Path, reference: Path, name: str) -> None:
    shutil.copytree(reference / name, tmp_path / name)
    split(tmp_path / name)
    assert same_weights(load_published_component(tmp_path / name), load_published_component(reference / name))


def test_one_file_goes_before_an_index(folder: Path) -> None:
    """So a model that is saved over one in several files is the one that is loaded."""
    other = make(REACTIVE["plain"], double=False)
    other.save_pretrained(folder)
    assert same_weights(ReactiveTransformer.from_pretrained(folder), other)


def change_map(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((folder / INDEX).read_text())
    change(values["weight_map"])
    (folder / INDEX).write_text(json.dumps(values))


def assert_refused(folder: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        ReactiveTransformer.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / SHARDS[1]).unlink()
    assert_refused(folder, f"{SHARDS[1]}: no such file, but {INDEX} names it")


def test_a_truncated_file_is_named(folder: Path) -> None:
    (folder / SHARDS[2]).write_bytes((folder / SHARDS[2]).read_bytes()[:-1])
    assert_refused(folder, f"{SHARDS[2]}: not a whole safetensors file")


def test_a_tensor_that_its_file_does_not_hold_is_named(folder: Path) -> None:
    tensors = load_file(folder / SHARDS[0])
    name = sorted(tensors)[0]
    del tensors[name]
    save_file(tensors, folder / SHARDS[0])
    assert_refused(folder, f"{SHARDS[0]}: tensor {name} is missing, but {INDEX} has it there")


def test_a_tensor_that_the_index_does_not_name_is_refused(folder: Path) -> None:
    name = next(iter(load_file(folder / SHARDS[0])))
    change_map(folder, lambda places: places.pop(name))
    assert_refused(folder, f"{SHARDS[0]}: unexpected tensor {name}; {INDEX} does not name it")


def test_a_tensor_in_another_file_than_the_index_says_is_refused(folder: Path) -> None:
    name = next(iter(load_file(folder / SHARDS[0])))
    change_map(folder, lambda places: places.update({name: SHARDS[1]}))
    assert_refused(folder, f"{SHARDS[0]}: unexpected tensor {name}; {INDEX} has it in {SHARDS[1]}")


def test_a_misshapen_tensor_is_named_with_its_file(folder: Path) -> None:
    tensors = load_file(folder / SHARDS[0])
    name = next(iter(tensors))
    save_file({**tensors, name: torch.zeros(7, 1)}, folder / SHARDS[0])
    assert_refused(folder, rf"{SHARDS[0]}: tensor {name} has shape \(7, 1\), expected \(")


@pytest.mark.parametrize(
    "place",
    [
        "../outside.safetensors",
        "/outside.safetensors",
        "sub/x.safetensors",
        "..",
        "a\\b.safetensors",
        "c:x.safetensors",
        "",
        "x.bin",
    ],
)
def test_a_file_outside_the_folder_is_refused(folder: Path, place: str) -> None:
    save_file({"x": torch.zeros(1)}, folder.parent / "outside.safetensors")
    change_map(folder, lambda places: places.update({"x": place}))
    assert_refused(folder, rf"{INDEX}: weight_map.x must be the name of a .safetensors file in this folder, found")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"weight_map": ', "not JSON"),
        ("[]", "expected a JSON object, found list"),
        ("{}", "weight_map must be an object that names every tensor's file, found None"),
        ('{"weight_map": []}', r"weight_map must be an object .*found \[\]"),
        ('{"weight_map": {"x": 3}}', "weight_map.x must be a file name, found 3"),
    ],
)
def test_a_broken_index_is_named(folder: Path, content: str, message: str) -> None:
    (folder / INDEX).write_text(content)
    assert_refused(folder, f"{INDEX}: {message}")
