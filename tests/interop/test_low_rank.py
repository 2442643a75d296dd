"""Low-rank adapters beside a base: they start silent, are saved with the memory, and merge exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_bases import store_base
from torch import Tensor

import rxt
from rxt.generation.inference_copy import inference_decoder
from rxt.interop.backbone import Backbone
from rxt.model.decoder import DecoderLayer
from rxt.model.grow import silenced
from rxt.model.low_rank import LowRankLinear
from rxt.pretrained import ReactiveTransformer

RANK = 3


def some_ids(rows: int = 2, length: int = 11) -> Tensor:
    return torch.randint(3, 97, (rows, length), generator=torch.Generator().manual_seed(1))


def grown(folder: Path, rank: int = RANK, drawn: bool = True) -> ReactiveTransformer:
    """A model whose adapters, where they are ``drawn``, do something."""
    store_base(folder, "llama-biases")
    torch.manual_seed(3)
    model = ReactiveTransformer.on_base(Backbone.from_pretrained(folder), (1, 3), 5, adapter_rank=rank)
    torch.manual_seed(4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if drawn and name.endswith("lora_up"):
                parameter.normal_(std=0.1)
    return model


@torch.no_grad()
def test_adapters_start_by_adding_nothing_and_stand_in_the_upper_layers_alone(tmp_path: Path) -> None:
    model, ids = grown(tmp_path, drawn=False), some_ids()
    names = {name for name, module in model.named_modules() if isinstance(module, LowRankLinear)}
    matrices = ("attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.out_proj")
    every = {f"decoder.layers.{index}.{name}" for index in (1, 2, 3) for name in (*matrices, "feed_forward.fc1")}
    assert names == every | {f"decoder.layers.{index}.feed_forward.fc2" for index in (1, 2, 3)}
    backbone = Backbone.from_pretrained(tmp_path)
    with silenced(model):
        torch.testing.assert_close(model.decode(ids, model.init_memory(2)), backbone(ids))
    changed = grown(tmp_path)
    assert (changed.encode(ids) - model.encode(ids)).abs().max() > 0.01
    assert torch.equal(changed.encode(ids)[0], model.encode(ids)[0])  # nothing below the first read is adapted
    with silenced(changed):
        torch.testing.assert_close(changed.decode(ids, changed.init_memory(2)), backbone(ids))


@torch.no_grad()
def test_a_silenced_model_is_its_base_for_inference_too(tmp_path: Path) -> None:
    """The copy for inference has adapters added to its matrices, so it is another one while they are silent."""
    model, states = grown(tmp_path), torch.randn(2, 3, 32)

    def queries() -> torch.Tensor:
        layer = inference_decoder(model).layers[2]
        assert isinstance(layer, DecoderLayer)
        return layer.attention.q_proj(states)

    original = model.decoder.layers[2].get_submodule("attention.q_proj")
    assert isinstance(original, LowRankLinear)
    adapted, alone = original(states), torch.nn.functional.linear(states, original.weight, original.bias)
    assert (adapted - alone).abs().max() > 0.01
    torch.testing.assert_close(queries(), adapted)
    with silenced(model):
        torch.testing.assert_close(queries(), alone)
    torch.testing.assert_close(queries(), adapted)


@torch.no_grad()
def test_merged_is_unmerged(tmp_path: Path) -> None:
    model, ids = grown(tmp_path / "base"), some_ids()
    memory = model.memorize(model.init_memory(2), ids)
    model.save_pretrained(tmp_path / "memory")
    model.save_pretrained(tmp_path / "merged", merged=True)
    stored, merged = (load_file(tmp_path / name / "model.safetensors") for name in ("memory", "merged"))
    assert sum("lora_" in name for name in stored) == 2 * 3 * 6
    assert not any("lora_" in name for name in merged)
    for name in ("memory", "merged"):
        loaded = ReactiveTransformer.from_pretrained(tmp_path / name)
        again = rxt.Memory(memory.slots)
        torch.testing.assert_close(loaded.decode(ids, again), model.decode(ids, again), atol=1e-4, rtol=0)
        torch.testing.assert_close(loaded.encode(ids), model.encode(ids), atol=1e-4, rtol=0)
    assert loaded.config.base is not None
    assert (loaded.config.base.included, loaded.config.base.adapter_rank) == (True, 0)
    assert any(isinstance(module, LowRankLinear) for module in model.modules())  # it stays as it is


@pytest.mark.parametrize("compiled", [False, True])
@torch.no_grad()
def test_inference_adds_the_adapters_to_the_matrices(tmp_path: Path, compiled: bool) -> None:
    model, ids = grown(tmp_path), some_ids()
    memory = model.memorize(model.init_memory(2), ids)
    decoder = inference_decoder(model, compiled)
    assert not any(isinstance(module, LowRankLinear) for module in decoder.modules())
    torch.testing.assert_close(decoder(ids, memory.slots), model.decode(ids, memory), atol=1e-4, rtol=0)


@torch.no_grad()
def test_int8_weights_hold_the_adapters(tmp_path: Path) -> None:
    model, ids = grown(tmp_path), some_ids()
    memory = rxt.Memory(model.init_memory(2).slots)
    small = rxt.quantize(model)
    torch.testing.assert_close(small.decode(ids, memory), model.decode(ids, memory), atol=0.3, rtol=0.1)
    assert not any(isinstance(module, LowRankLinear) for module in small.decoder.modules())


def test_they_learn_and_the_matrices_do_not_have_to(tmp_path: Path) -> None:
    model = grown(tmp_path).train()
    model.decode(some_ids(), model.init_memory(2)).square().mean().backward()
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name


def test_a_rank_below_0(tmp_path: Path) -> None:
    with pytest.raises(rxt.UserError, match=r"base\.adapter_rank cannot be negative, found -1"):
        grown(tmp_path, rank=-1)
