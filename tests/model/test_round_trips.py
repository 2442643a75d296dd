"""Whatever model there can be: what is saved is what is loaded, in both layouts, or the published one says why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from hypothesis import given, settings
from naive_twins import randomize
from random_configs import VOCABULARY, configs, published_configs

from rxt.config import AttentionConfig, FeedForward, MemoryAttentionConfig, MoEConfig, RxTConfig
from rxt.errors import UserError
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer

STEADY = settings(max_examples=80, deadline=None, derandomize=True, database=None)


def drawn(config: RxTConfig) -> ReactiveTransformer:
    torch.manual_seed(0)
    model = ReactiveTransformer(config).eval()
    randomize(model, 0.4)
    return model.float()


@torch.no_grad()
def assert_same(found: ReactiveTransformer, expected: ReactiveTransformer) -> None:
    """The same tensors under the same names, and bit for bit the same answers and memory."""
    ours, theirs = found.state_dict(), expected.state_dict()
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
    assert not found.training
    ids = torch.arange(4).unsqueeze(0) * 3 % VOCABULARY
    memory = expected.init_memory(1, seed=0)
    assert torch.equal(found.init_memory(1, seed=0).slots, memory.slots)
    assert torch.equal(found.decode(ids, memory), expected.decode(ids, memory))
    after = expected.memorize(memory, ids)
    assert torch.equal(found.memorize(memory, ids).slots, after.slots)
    assert torch.equal(found.decode(ids, Memory(after.slots)), expected.decode(ids, after))


def saved_and_loaded(model: ReactiveTransformer, layout: Literal["rxt", "published"]) -> ReactiveTransformer:
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder, layout)
        return ReactiveTransformer.from_pretrained(folder)


@given(configs)
@STEADY
def test_own_layout(config: RxTConfig) -> None:
    model = drawn(config)
    again = saved_and_loaded(model, "rxt")
    assert again.config == config
    assert_same(again, model)


@given(published_configs)
@STEADY
def test_published_layout(config: RxTConfig) -> None:
    model = drawn(config)
    again = saved_and_loaded(model, "published")
    assert spelled_out(again.config) == spelled_out(config)
    assert_same(again, model)


@given(configs)
@STEADY
def test_published_layout_or_a_reason_why_not(config: RxTConfig) -> None:
    model = drawn(config)
    with TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        refusal = ""
        try:
            model.save_pretrained(folder, layout="published")
        except UserError as error:
            refusal = str(error)
        if refusal:
            assert refusal.startswith("the published layout cannot say: ")
            assert "\n" not in refusal
            assert not folder.exists()
            return
        again = ReactiveTransformer.from_pretrained(folder)
    assert spelled_out(again.config) == spelled_out(config)
    assert_same(again, model)


def spelled_out(config: RxTConfig) -> RxTConfig:
    """The same model with one spelling for what means the same: the published layout has no word for options without
    effect."""
    decoder, encoder = config.decoder, config.encoder
    decoder = replace(
        decoder,
        self_attention=_attention(decoder.self_attention),
        cross_attention=_attention(decoder.cross_attention),
        feed_forward=_feed_forward(decoder.feed_forward),
        stateless=tuple(map(_feed_forward, decoder.stateless)),
        final_stateless=tuple(map(_feed_forward, decoder.final_stateless)),
    )
    encoder = replace(
        encoder,
        self_attention=_attention(encoder.self_attention),
        cross_attention=encoder.cross_attention and _attention(encoder.cross_attention),
        feed_forward=_feed_forward(encoder.feed_forward),
    )
    return replace(
        config, decoder=decoder, encoder=encoder, memory_attention=_memory_attention(config.memory_attention)
    )


def _attention(config: AttentionConfig) -> AttentionConfig:
    return config if config.gated else replace(config, gate_activation="sigmoid")


def _feed_forward(config: FeedForward) -> FeedForward:
    if not isinstance(config, MoEConfig):
        return config
    if not config.shared_experts:
        return replace(config, shared_dim=None, shared_bias="off", weighted_shared=False)
    return replace(config, shared_dim=config.shared_dim or config.dim)


def _memory_attention(config: MemoryAttentionConfig) -> MemoryAttentionConfig:
    write = _attention(config.attention)
    consolidation = replace(_attention(config.consolidation or write), rope_base=write.rope_base)  # it rotates nothing
    norm = replace(config.norm, decay=0.9) if config.norm.kind != "ema-rms" else config.norm
    norm = norm if norm.mixed else replace(norm, mix_init=-2.0)
    simple = config.variant == "simple"
    return replace(
        config,
        attention=write,
        consolidation=None if simple else consolidation,
        norm=norm,
        self_gate=config.self_gate or simple,
    )
