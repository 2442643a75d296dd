"""A model as a folder: what is saved is what is loaded, and every damage is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_reactive import REACTIVE, make, tokens
from torch import Tensor

from rxt.config import RxTConfig
from rxt.errors import UserError
from rxt.pretrained import ReactiveTransformer

WEIGHTS, CONFIG = "model.safetensors", "config.json"
every_model = pytest.mark.parametrize("name", REACTIVE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make(REACTIVE["beta-like"], double=False).save_pretrained(tmp_path)
    return tmp_path


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def change_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((folder / CONFIG).read_text())
    change(values)
    (folder / CONFIG).write_text(json.dumps(values))


def assert_refused(folder: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        ReactiveTransformer.from_pretrained(folder)
    assert "\n" not in str(caught.value)


@every_model
@torch.no_grad()
def test_saved_and_loaded_bit_for_bit(tmp_path: Path, name: str) -> None:
    model = make(REACTIVE[name], double=False)
    model.save_pretrained(tmp_path / "a" / "model")
    loaded = ReactiveTransformer.from_pretrained(tmp_path / "a" / "model")
    assert loaded.config == model.config
    assert not loaded.training
    assert list(loaded.state_dict()) == list(model.state_dict())
    for key, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor), key
    ids, memory = tokens(2, 5), model.init_memory(2, seed=3)
    assert torch.equal(loaded.decode(ids, memory), model.decode(ids, memory))
    assert torch.equal(loaded.memorize(memory, ids).slots, model.memorize(memory, ids).slots)
    assert sorted(path.name for path in (tmp_path / "a" / "model").iterdir()) == [CONFIG, WEIGHTS]


def test_the_shared_embedding_is_stored_once_and_shared_again(folder: Path) -> None:
    assert [key for key in load_file(folder / WEIGHTS) if "embedding" in key] == ["decoder.embedding.weight"]
    loaded = ReactiveTransformer.from_pretrained(folder)
    assert loaded.decoder.embedding is loaded.encoder.embedding


def test_saving_over_a_model_replaces_it(folder: Path) -> None:
    other = make(REACTIVE["moe"], double=False)
    other.save_pretrained(str(folder))
    assert ReactiveTransformer.from_pretrained(str(folder)).fingerprint() == other.fingerprint()


def test_weights_of_half_precision_are_loaded_as_float32(tmp_path: Path) -> None:
    model = make(double=False).bfloat16()
    model.save_pretrained(tmp_path)
    loaded = ReactiveTransformer.from_pretrained(tmp_path)
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())
    assert loaded.bfloat16().fingerprint() == model.fingerprint()


TENSORS = [
    "decoder.embedding.weight",
    "decoder.layers.1.feed_forward.w1",
    "memory_attention.mean_norm.weight",
    "encoder.layers.0.norm1.weight",
]


@pytest.mark.parametrize("tensor", TENSORS)
def test_a_missing_tensor_is_named(folder: Path, tensor: str) -> None:
    change_weights(folder, lambda tensors: tensors.pop(tensor))
    assert_refused(folder, f"model.safetensors: tensor {tensor} is missing")


def test_an_unexpected_tensor_is_named(folder: Path) -> None:
    change_weights(folder, lambda tensors: tensors.update({"decoder.layers.9.norm1.weight": torch.zeros(8)}))
    assert_refused(folder, r"model.safetensors: unexpected tensor decoder.layers.9.norm1.weight of shape \(8,\)")


def test_a_second_embedding_is_not_thrown_away_in_silence(folder: Path) -> None:
    change_weights(
        folder, lambda tensors: tensors.update({"encoder.embedding.weight": tensors["decoder.embedding.weight"] + 1})
    )
    assert_refused(
        folder,
        r"unexpected tensor encoder.embedding.weight; the shared table is stored once, as decoder.embedding.weight",
    )


@pytest.mark.parametrize("tensor", TENSORS)
def test_a_misshapen_tensor_is_named(folder: Path, tensor: str) -> None:
    change_weights(folder, lambda tensors: tensors.update({tensor: torch.zeros(7, 1)}))
    assert_refused(folder, rf"model.safetensors: tensor {tensor} has shape \(7, 1\), expected \(")


def test_a_tensor_of_integers_is_named(folder: Path) -> None:
    change_weights(folder, lambda tensors: tensors.update({"decoder.head.bias": torch.zeros(13, dtype=torch.int32)}))
    assert_refused(folder, "model.safetensors: tensor decoder.head.bias has type torch.int32, expected floating point")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(folder: Path, share: float) -> None:
    os.truncate(folder / WEIGHTS, int(share * (folder / WEIGHTS).stat().st_size))
    assert_refused(folder, "model.safetensors: not a whole safetensors file")


def test_a_pickle_is_not_opened(folder: Path) -> None:
    torch.save({"decoder.head.bias": torch.zeros(13)}, folder / WEIGHTS)
    assert_refused(folder, "model.safetensors: not a whole safetensors file")


def test_missing_files_are_named(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    assert_refused(folder, "model.safetensors: no such file")
    (folder / CONFIG).unlink()
    assert_refused(folder, "config.json: no such file")
    assert_refused(folder / "nowhere", "nowhere: no such folder")


def test_a_broken_configuration_file_is_named(folder: Path) -> None:
    (folder / CONFIG).write_text('{"decoder": ')
    assert_refused(folder, r"config.json: not JSON")
    (folder / CONFIG).write_bytes(b"\xff\xfe\x00")
    assert_refused(folder, r"config.json: not JSON")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(bogus=1), "config.json: bogus: unexpected keyword argument"),
        (
            lambda c: c["decoder"]["self_attention"].update(bogus=1),
            "config.json: decoder.self_attention.bogus: unexpected keyword argument",
        ),
        (lambda c: c.pop("encoder"), "config.json: encoder: field required"),
        (lambda c: c["encoder"].pop("width"), "config.json: encoder.width: field required"),
        (lambda c: c["encoder"].update(width="wide"), "config.json: encoder.width: .*valid integer.*'wide'"),
        (lambda c: c["encoder"].update(width=None), "config.json: encoder.width: .*valid integer.*None"),
        (
            lambda c: c["memory_attention"].update(variant="other"),
            "config.json: memory_attention.variant: .*'self-interlayer'.*'other'",
        ),
        (
            lambda c: c["memory_attention"]["gate"].update(kind="open"),
            "config.json: memory_attention.gate.kind: .*'elementwise'.*'open'",
        ),
        (lambda c: c["decoder"].update(width=10), "decoder.self_attention.heads 4 must divide width 10"),
        (lambda c: c["encoder"].update(vocab_size=5), "vocab_size must agree: decoder 13, encoder 5"),
    ],
)
def test_a_wrong_configuration_names_the_key(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    change_config(folder, change)
    assert_refused(folder, message)


def test_a_configuration_of_another_size_does_not_fit_the_weights(folder: Path) -> None:
    change_config(folder, lambda c: c["decoder"]["feed_forward"].update(experts=6))
    assert_refused(folder, r"tensor decoder\..*feed_forward.* has shape \(5, .*\), expected \(6, ")


def in_every_part(**values: int) -> Callable[[dict[str, Any]], object]:
    return lambda c: [c[part].update(values) for part in ("decoder", "encoder", "memory_attention")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_every_part(layers=4), r"model.safetensors: tensor decoder\.layers\.2\.\S+ is missing \(expected shape"),
        (in_every_part(width=2**24), r"model.safetensors: tensor \S+ has shape \(\d.*\), expected \(\d"),
        (in_every_part(width=32), r"model.safetensors: tensor \S+ has shape \(\d.*\), expected \(\d"),
        (
            lambda c: c["memory_attention"].update(slots=4),
            r"model.safetensors: tensor \S+gate\S* has shape \(3, 1\), expected \(4, 1\)",
        ),
        (
            lambda c: c["decoder"]["self_attention"].update(query_heads=2),
            r"tensor \S+_proj.weight has shape \(16, 16\), expected \((8, 16|16, 8)\)",
        ),
        (
            lambda c: c["decoder"].update(layers=4),
            "config.json: layers must agree: decoder 4, encoder 2, memory_attention 2",
        ),
        (
            lambda c: c["decoder"]["feed_forward"].update(activation="mystery"),
            "config.json: decoder.feed_forward.activation: .*'mystery'",
        ),
        (lambda c: c["decoder"].update(head_norm=None), r"unexpected tensor decoder.head_norm.weight of shape \(16,\)"),
        (lambda c: c["tokens"].update(eos=13), "config.json: tokens.eos 13 is outside the vocabulary of 13"),
    ],
)
def test_a_configuration_that_contradicts_the_tensors(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    change_config(folder, change)
    assert_refused(folder, message)


@pytest.mark.parametrize("failing", ["os.replace", "os.fsync"])
def test_a_failed_save_leaves_the_old_model_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(failing, full)
        with pytest.raises(UserError, match=r"model.safetensors: cannot be written \(No space left on device"):
            make(REACTIVE["plain"], double=False).save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file.*cannot be made"):
        make(double=False).save_pretrained(tmp_path / "file" / "model")


def test_the_saved_configuration_is_readable_json(folder: Path) -> None:
    values = json.loads((folder / CONFIG).read_text())
    assert values["memory_attention"]["variant"] == "grouped-self-interlayer"
    assert RxTConfig.from_file(folder / CONFIG) == REACTIVE["beta-like"]
