"""A memory on a pre-trained model: silent, it changes nothing; it reads as self-attention reads; it is saved alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_bases import BASES, store_base
from torch import Tensor

import rxt
from rxt.config import PoolConfig
from rxt.errors import UserError
from rxt.interop.backbone import Backbone
from rxt.model.mixture_of_memory import init_pool, memorize, route
from rxt.pretrained import ReactiveTransformer

LAYERS = (1, 3)
NEAR = 1e-4


def some_ids(rows: int = 2, length: int = 11) -> Tensor:
    return torch.randint(3, 97, (rows, length), generator=torch.Generator().manual_seed(1))


def grown(folder: Path, name: str = "llama-tied", slots: int = 5) -> ReactiveTransformer:
    store_base(folder, name)
    torch.manual_seed(3)
    return ReactiveTransformer.on_base(Backbone.from_pretrained(folder), LAYERS, slots)


def silence(model: ReactiveTransformer) -> None:
    for index in LAYERS:
        scale = model.decoder.layers[index].get_parameter("read_scale")
        assert torch.equal(scale, torch.ones(32))
        scale.data.zero_()


@pytest.mark.parametrize("name", BASES)
@torch.no_grad()
def test_with_reads_at_0_the_logits_are_the_bases_whatever_the_memory_holds(tmp_path: Path, name: str) -> None:
    model, ids = grown(tmp_path, name), some_ids()
    expected = store_base(tmp_path, name)(ids).logits
    memory = rxt.Memory(torch.randn(2, 2, 5, 32) * 9)
    assert (model.decode(ids, memory) - expected).abs().max() > 0.01
    silence(model)
    torch.testing.assert_close(model.decode(ids, memory), expected, atol=NEAR, rtol=0)


@pytest.mark.parametrize("name", BASES)
@torch.no_grad()
def test_the_encoder_is_the_bases_own_hidden_states(tmp_path: Path, name: str) -> None:
    model, ids = grown(tmp_path, name), some_ids()
    theirs = store_base(tmp_path, name)
    states = theirs(ids, output_hidden_states=True).hidden_states
    expected = [theirs.model.layers[index].input_layernorm(states[index]) for index in LAYERS]
    torch.testing.assert_close(model.encode(ids), torch.stack(expected), atol=NEAR, rtol=0)
    mask = torch.arange(11) < torch.tensor([[11], [6]])
    assert not model.encode(ids, mask)[:, 1, 6:].any()


@pytest.mark.parametrize("name", BASES)
@torch.no_grad()
def test_rounded_updates_are_near_and_leave_the_decoder_as_it_is(tmp_path: Path, name: str) -> None:
    model, ids = grown(tmp_path, name), some_ids()
    small, mask, memory = rxt.round_updates(model), torch.arange(11) < torch.tensor([[11], [6]]), model.init_memory(2)
    exact, found = (each.memorize(memory, ids, mask).slots for each in (model, small))
    assert 0 < (found - exact).square().mean() < 0.04**2 * (exact - memory.slots).square().mean()
    assert torch.equal(small.decode(ids, memory), model.decode(ids, memory))


@torch.no_grad()
def test_a_slot_that_holds_an_encoded_token_is_read_as_self_attention_reads_it(tmp_path: Path) -> None:
    model, ids = grown(tmp_path, "qwen2"), some_ids()
    encoded = model.encode(ids)
    for index, source in zip(LAYERS, encoded, strict=True):
        layer = model.decoder.layers[index]
        own, read = layer.get_submodule("attention"), layer.get_submodule("cross_attention")
        expected = own(source, own.keys_values(source))  # type: ignore[operator]
        torch.testing.assert_close(read(source, layer.project_memory(source)), expected)  # type: ignore[operator]


@torch.no_grad()
def test_cached_is_uncached(tmp_path: Path) -> None:
    model, ids = grown(tmp_path, "qwen3"), some_ids()
    memory = model.memorize(model.init_memory(2), some_ids(2, 7))
    whole = model.decode(ids, memory)
    looked_up, cache = model.decoder.project_memory(memory.slots), model.decoder.new_cache(2, 11)
    steps = [model.decoder.begin(ids[:, :6], torch.tensor([5, 5]), looked_up, cache)[:, None]]
    for position in range(6, 11):
        at = torch.full((2, 1), position)
        steps.append(model.decoder.step(ids[:, position : position + 1], at, looked_up, cache))
    torch.testing.assert_close(torch.cat(steps, dim=1), whole[:, 5:], atol=NEAR, rtol=0)


@torch.no_grad()
def test_generation_and_int8_weights(tmp_path: Path) -> None:
    model, ids = grown(tmp_path), some_ids(1, 4)
    memory = model.memorize(model.init_memory(), some_ids(1, 7))
    said = model.generate(ids, memory, max_new_tokens=6, stop_at_eos=False)
    best = model.decode(said[:, :-1], memory).argmax(-1)
    assert torch.equal(best[:, 3:], said[:, 4:])
    small = rxt.quantize(model)
    assert torch.equal(small.memorize(memory, ids).slots, model.memorize(memory, ids).slots)
    assert not torch.equal(small.decode(ids, memory), model.decode(ids, memory))
    torch.testing.assert_close(small.decode(ids, memory), model.decode(ids, memory), atol=0.2, rtol=0.1)


def test_gradients_reach_reads_and_writes(tmp_path: Path) -> None:
    model = grown(tmp_path).train()
    memory = model.memorize(model.init_memory(2), some_ids(2, 7))
    model.decode(some_ids(), memory).square().mean().backward()
    own = {name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    for name in ("decoder.layers.1.read_scale", "decoder.layers.3.cross_attention.q_proj.weight"):
        assert name in own
    assert "memory_attention.layers.1.attention.v_proj.weight" in own


@torch.no_grad()
def test_saved_is_the_memory_alone_and_comes_back_on_its_base(tmp_path: Path) -> None:
    model, ids = grown(tmp_path / "base"), some_ids()
    model.save_pretrained(tmp_path / "memory")
    stored = load_file(tmp_path / "memory" / "model.safetensors")
    assert not any("embedding" in name or ".feed_forward." in name or ".layers.0.norm1" in name for name in stored)
    assert sum(tensor.numel() for tensor in stored.values()) < sum(weight.numel() for weight in model.parameters())
    loaded = ReactiveTransformer.from_pretrained(tmp_path / "memory")
    assert loaded.config == model.config
    assert loaded.fingerprint() == model.fingerprint()
    memory = model.memorize(model.init_memory(2), ids)
    assert torch.equal(loaded.decode(ids, memory), model.decode(ids, memory))


@torch.no_grad()
def test_a_pool_on_a_base_is_saved_with_its_router_and_finds_what_was_written(tmp_path: Path) -> None:
    model = grown(tmp_path / "base").with_pool(PoolConfig(fragment_slots=2, new_below=-1, most_writes=1))
    model.save_pretrained(tmp_path / "memory")
    loaded = ReactiveTransformer.from_pretrained(tmp_path / "memory")
    assert loaded.config == model.config
    assert loaded.fingerprint() == model.fingerprint()
    pool, texts = init_pool(model), [some_ids(1, length) for length in (4, 7, 9)]
    for ids in texts:
        pool = memorize(loaded, route(loaded, [pool], ids), ids)[0].pool
    assert [route(loaded, [pool], ids)[0].chosen for ids in texts] == [(0,), (1,), (2,)]


@torch.no_grad()
def test_saved_in_half_precision_it_takes_half_the_room(tmp_path: Path) -> None:
    model, ids = grown(tmp_path / "base"), some_ids()
    sizes = list[int]()
    for half in (False, True):
        model.save_pretrained(tmp_path / f"{half}", half=half)
        stored = load_file(tmp_path / f"{half}" / "model.safetensors")
        sizes.append(sum(tensor.nbytes for tensor in stored.values()))
    assert sizes[0] == 2 * sizes[1]
    loaded = ReactiveTransformer.from_pretrained(tmp_path / "True")
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    memory = rxt.Memory(model.memorize(model.init_memory(2), ids).slots)
    torch.testing.assert_close(loaded.decode(ids, memory), model.decode(ids, memory), atol=0.05, rtol=0.01)
    with pytest.raises(UserError, match="half is for the rxt layout"):
        model.save_pretrained(tmp_path / "published", layout="published", half=True)


@torch.no_grad()
def test_merged_needs_no_base(tmp_path: Path) -> None:
    model, ids = grown(tmp_path / "base"), some_ids()
    model.save_pretrained(tmp_path / "merged", merged=True)
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    loaded = ReactiveTransformer.from_pretrained(tmp_path / "merged")
    assert loaded.fingerprint() == model.fingerprint()
    assert torch.equal(loaded.encode(ids), model.encode(ids))


def test_a_base_that_is_elsewhere_or_another_one(tmp_path: Path) -> None:
    model = grown(tmp_path / "base")
    model.save_pretrained(tmp_path / "memory")
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"needs its base, .*base \(fingerprint [0-9a-f]{16}\); looked for as .*base: "):
        ReactiveTransformer.from_pretrained(tmp_path / "memory")
    moved = ReactiveTransformer.from_pretrained(tmp_path / "memory", base=tmp_path / "moved")
    assert moved.fingerprint() == model.fingerprint()
    store_base(tmp_path / "other", "llama")
    with pytest.raises(UserError, match=r"made for other weights than those of .*other: it needs .*found fingerprint"):
        ReactiveTransformer.from_pretrained(tmp_path / "memory", base=tmp_path / "other")


def test_layers_that_the_base_has_not(tmp_path: Path) -> None:
    store_base(tmp_path, "llama")
    backbone = Backbone.from_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"decoder\.memory_layers must lie in 0 … 3, found \[2, 9\]"):
        ReactiveTransformer.on_base(backbone, (2, 9))
    with pytest.raises(UserError, match=r"decoder\.max_length is 64 in the base, asked: 65"):
        ReactiveTransformer.on_base(backbone, (2,), max_length=65)


def test_the_published_layout_has_no_place_for_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="published"):
        grown(tmp_path / "base").save_pretrained(tmp_path / "out", layout="published")
