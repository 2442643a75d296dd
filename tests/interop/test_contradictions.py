"""Checkpoints in the published layout whose configuration and tensors contradict each other: every one is named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rxt.errors import UserError
from rxt.interop.published import load_published, load_published_component

PARTS = ("decoder_config", "encoder_config", "memory_attention_config")


@pytest.fixture
def folder(tmp_path: Path, reference: Path) -> Path:
    """A whole model: 4 layers, width 32, 4 heads of which 2 are used, 12 slots, linear gates."""
    return shutil.copytree(reference / "beta", tmp_path / "beta")


def set_values(folder: Path, values: dict[str, Any], *parts: str) -> None:
    found = json.loads((folder / "config.json").read_text())
    for part in parts:
        found[part] |= values
    (folder / "config.json").write_text(json.dumps(found))


def set_tensors(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def assert_refused(folder: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_published(folder)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(folder))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_layers": 3}, r"config\.json: layers must agree: decoder 3, encoder 4, memory_attention 4"),
        ({"embed_dim": 64}, r"config\.json: width must agree: decoder 64, encoder 32, memory_attention 32"),
        ({"vocab_size": 50}, r"config\.json: vocab_size must agree: decoder 50, encoder 48"),
        ({"stm_size": 13}, r"config\.json: decoder_config: stm_size is 13, but 12 in memory_attention_config"),
        ({"att_heads": 8}, r"tensor decoder\.model\.\S+_proj\.weight has shape \(16, 32\), expected \(8, 32\)"),
        ({"att_heads": 5}, r"config\.json: decoder\.self_attention\.heads 5 must divide width 32"),
        ({"att_heads": 0}, r"config\.json: attention\.heads must be at least 1, found 0"),
        ({"att_groups": 3}, r"config\.json: attention\.kv_heads 3 and query_heads 2 must divide"),
        ({"num_layers": 4.0}, r"config\.json: decoder_config: num_layers must be of type int, found 4\.0"),
        ({"num_experts": 7}, r"tensor decoder\.model\.\S+ has shape \(6, \S+.*\), expected \(7, "),
        ({"moe_top_k": 7}, r"config\.json: feed_forward\.top_k must be at most experts=6, found 7"),
        ({"ff_dim": 17}, r"tensor decoder\.model\.\S+ has shape \(\d.*\), expected \(\d"),
        ({"use_gated": False}, r"tensor decoder\.\S+fc1\.weight is missing \(expected shape \(48, 32\)\)"),
        ({"use_gated_attention": False}, r"unexpected tensor decoder\.\S+gate_proj\.weight of shape \(16, 32\)"),
        (
            {"use_attention_output_bias": True},
            r"tensor decoder\.\S+out_proj\.bias is missing \(expected shape \(32,\)\)",
        ),
        ({"use_rms_norm": False}, r"tensor decoder\.\S+norm\S*\.bias is missing \(expected shape \(32,\)\)"),
        ({"use_head_norm": False}, r"unexpected tensor decoder\.model\.head_norm\.weight of shape \(32,\)"),
        (
            {"head_norm_type": "layer_norm"},
            r"tensor decoder\.model\.head_norm\.bias is missing \(expected shape \(32,\)\)",
        ),
        (
            {"stateless_layers_config": ["dense"]},
            r"unexpected tensor decoder\.model\.stateless_layers\.1\.\S+ of shape",
        ),
        (
            {"final_stateless_layers_config": ["dense"]},
            r"tensor decoder\.model\.final_stateless_layers\.0\.\S+ is missing",
        ),
        (
            {"ff_activation": "mystery"},
            r"config\.json: decoder_config: ff_activation is 'mystery', which is not known; expected one of silu",
        ),
    ],
)
def test_the_decoders_configuration(folder: Path, values: dict[str, Any], message: str) -> None:
    set_values(folder, values, "decoder_config")
    assert_refused(folder, message)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_layers": 3}, r"config\.json: memory_attention\.groups 2 must divide layers 3"),
        ({"num_layers": 2}, r"unexpected tensor \S+layers\.\d\.\S+ of shape"),
        ({"num_layers": 6}, r"tensor decoder\.model\.layers\.4\.\S+ is missing \(expected shape"),
        ({"embed_dim": 64}, r"has shape \(48, 32\), expected \(48, 64\)"),
        ({"stm_size": 13}, r"tensor memory_attention\.\S+gate\S* has shape \(12,.*\), expected \(13,"),
        ({"att_heads": 8}, r"_proj\.weight has shape \(16, 32\), expected \(8, 32\)"),
    ],
)
def test_all_parts_configurations(folder: Path, values: dict[str, Any], message: str) -> None:
    set_values(folder, values, *PARTS)
    assert_refused(folder, message)


def test_nothing_is_allocated_before_all_shapes_fit(folder: Path) -> None:
    set_values(folder, {"vocab_size": 10**12}, "decoder_config", "encoder_config")
    assert_refused(folder, r"has shape \(48(, 32)?,?\), expected \(1000000000000")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"residual_gate_type": "static"}, r"residual_gate_layers\.0\.gate is missing \(expected shape \(12, 1\)\)"),
        (
            {"residual_per_slot_gate": False},
            r"gate\.weight has shape \(12, 12\), expected \(1, 12\)|gate\.bias has shape \(12,\), expected",
        ),
        ({"residual_gate_slot_status_type": "linear"}, r"slot_status\S+ is missing \(expected shape"),
        ({"use_gated_residual": False}, r"unexpected tensor memory_attention\.\S+gate\S* of shape"),
        ({"num_groups": 3}, r"config\.json: memory_attention\.groups 3 must divide layers 4"),
        (
            {"num_groups": None},
            r"config\.json: memory_attention\.groups is needed by the variant grouped-self-interlayer",
        ),
        (
            {"norm_type": "mystery"},
            r"config\.json: memory_attention_config: norm_type is 'mystery'.* expected one of classic-rms",
        ),
    ],
)
def test_the_memory_attentions_configuration(folder: Path, values: dict[str, Any], message: str) -> None:
    set_values(folder, values, "memory_attention_config")
    assert_refused(folder, message)


@pytest.mark.parametrize(
    ("variant", "problem"),
    [
        ("self", "self_attention_layers are missing"),
        ("simple", "mean_attention_layers are there"),
        ("mystery", "which is not known; expected one of simple, self, interlayer"),
    ],
)
def test_a_variant_that_the_tensors_are_not(folder: Path, variant: str, problem: str) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"memory_attention_variant": variant}))
    assert_refused(folder, rf"config\.json: .*memory_attention_variant is '{variant}', .*{problem}")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_no_object(folder: Path, part: str) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {part: 3}))
    assert_refused(folder, rf"config\.json: {part} must be of type dict, found 3")


NORM = "encoder.model.layers.1.norm1.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop(NORM), rf"tensor {NORM} is missing \(expected shape \(32,\)\)"),
        (lambda tensors: tensors.update({NORM: torch.ones(31)}), rf"tensor {NORM} has shape \(31,\), expected \(32,\)"),
        (
            lambda tensors: tensors.update({NORM: torch.ones(32).int()}),
            rf"tensor {NORM} has type torch.int32, expected floating point",
        ),
        (
            lambda tensors: tensors.update({NORM: torch.ones(32).bool()}),
            rf"tensor {NORM} has type torch.bool, expected floating point",
        ),
        (lambda tensors: tensors.update({f"{NORM}s": torch.ones(32)}), rf"unexpected tensor {NORM}s of shape \(32,\)"),
    ],
)
def test_a_damaged_tensor(folder: Path, change: Callable[[dict[str, Tensor]], object], message: str) -> None:
    set_tensors(folder, change)
    assert_refused(folder, rf"model\.safetensors: {message}")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file(folder: Path, share: float) -> None:
    path = folder / "model.safetensors"
    os.truncate(path, int(share * path.stat().st_size))
    assert_refused(folder, r"model\.safetensors: not a whole safetensors file")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("encoder", {"att_heads": 3}, r"config\.json: encoder\.self_attention\.heads 3 must divide width 32"),
        (
            "encoder",
            {"skip_memory_cross_attention": False},
            r"tensor model\.layers\.0\.(memory_cross_attention|norm2|stm_norm)\.\S+ is missing",
        ),
        ("decoder_dense_gqa", {"num_layers": 1}, r"unexpected tensor model\.layers\.1\.\S+ of shape"),
        ("memory_self", {"stm_size": 13}, r"has shape \(12,.*\), expected \(13,"),
        ("mlm_head", {"vocab_size": 49}, r"tensor decoder\.\S+ has shape \(48.*\), expected \(49"),
    ],
)
def test_components(tmp_path: Path, reference: Path, name: str, values: dict[str, Any], message: str) -> None:
    folder = shutil.copytree(reference / name, tmp_path / name)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(UserError, match=message) as caught:
        load_published_component(folder)
    assert str(caught.value).startswith(str(folder))
