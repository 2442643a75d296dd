"""Configurations: every mistake names its field, and every configuration survives being written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from random_configs import configs
from tiny_reactive import DECODER, ENCODER, MEMORY, MOE, REACTIVE

from rxt.config import (
    AttentionConfig,
    FeedForwardConfig,
    Marker,
    Markers,
    MemoryNormConfig,
    MoEConfig,
    RxTConfig,
    SpecialTokens,
)
from rxt.errors import UserError
from rxt.pretrained import ReactiveTransformer

PLAIN = REACTIVE["plain"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttentionConfig(0, 1, 1), "attention.heads must be at least 1, found 0"),
        (lambda: AttentionConfig(4, 0, 1), "attention.query_heads must be at least 1, found 0"),
        (lambda: AttentionConfig(4, 8, 4), "attention.query_heads must be at most heads=4, found 8"),
        (lambda: AttentionConfig(4, 4, 8), "attention.kv_heads must be at most heads=4, found 8"),
        (
            lambda: AttentionConfig(4, 4, 4, output_projection=False),
            "attention.output_bias does not go without",
        ),
        (
            lambda: replace(AttentionConfig.sqa(4), output_bias=False, output_projection=False).check_fits(8, "here"),
            "here.output_projection is off, but the heads are not 8 wide",
        ),
        (lambda: AttentionConfig(4, 3, 2), "attention.kv_heads 2 and query_heads 3 must divide"),
        (lambda: AttentionConfig(4, 2, 2, rope_base=1.0), "attention.rope_base must be above 1, found 1.0"),
        (lambda: AttentionConfig(4, 2, 2, rope_factors=(1.0, 0.0)), "attention.rope_factors must be above 0"),
        (
            lambda: replace(DECODER, self_attention=replace(DECODER.self_attention, rope_factors=(2.0,))),
            r"decoder.self_attention.rope_factors must be \d, one a pair, found 1",
        ),
        (lambda: FeedForwardConfig(0), "feed_forward.dim must be at least 1, found 0"),
        (lambda: MoEConfig(4, 2, 3), "feed_forward.top_k must be at most experts=2, found 3"),
        (lambda: MoEConfig(4, 2, 0), "feed_forward.top_k must be at least 1, found 0"),
        (lambda: MoEConfig(4, 2, 1, shared_experts=-1), "feed_forward.shared_experts cannot be negative, found -1"),
        (lambda: MoEConfig(4, 2, 1, shared_dim=0), "feed_forward.shared_dim must be at least 1, found 0"),
        (lambda: replace(DECODER, vocab_size=0), "decoder.vocab_size must be at least 1"),
        (lambda: replace(DECODER, max_length=0), "decoder.max_length must be at least 1"),
        (
            lambda: replace(DECODER, cross_attention=AttentionConfig.mha(3)),
            "decoder.cross_attention.heads 3 must divide width 16",
        ),
        (
            lambda: replace(DECODER, self_attention=AttentionConfig.mha(16)),
            "decoder.self_attention.heads 16 leave an odd head size",
        ),
        (
            lambda: replace(ENCODER, cross_attention=AttentionConfig.mha(3)),
            "encoder.cross_attention.heads 3 must divide width 16",
        ),
        (lambda: replace(ENCODER, layers=0), "encoder.layers must be at least 1"),
        (lambda: replace(MEMORY, slots=0), "memory_attention.slots must be at least 1"),
        (
            lambda: replace(MEMORY, attention=AttentionConfig.mha(3)),
            "memory_attention.attention.heads 3 must divide width 16",
        ),
        (
            lambda: replace(MEMORY, consolidation=AttentionConfig.mha(3)),
            "memory_attention.consolidation.heads 3 must divide width 16",
        ),
        (
            lambda: replace(MEMORY, variant="grouped-self-interlayer"),
            "memory_attention.groups is needed by the variant grouped",
        ),
        (
            lambda: replace(MEMORY, variant="grouped-self-interlayer", groups=0),
            "memory_attention.groups must be at least 1, found 0",
        ),
        (
            lambda: replace(MEMORY, variant="grouped-self-interlayer", groups=3),
            "memory_attention.groups 3 must divide layers 2",
        ),
        (
            lambda: replace(MEMORY, groups=2),
            "memory_attention.groups only goes with grouped-self-interlayer, not self-interlayer",
        ),
        (lambda: MemoryNormConfig(decay=1.0), r"memory_attention.norm.decay must lie in \[0, 1\), found 1.0"),
        (
            lambda: RxTConfig(DECODER, ENCODER, replace(MEMORY, layers=3)),
            "layers must agree: decoder 2, encoder 2, memory_attention 3",
        ),
        (
            lambda: RxTConfig(DECODER, replace(ENCODER, width=32), MEMORY),
            "width must agree: decoder 16, encoder 32, memory_attention 16",
        ),
        (
            lambda: RxTConfig(DECODER, replace(ENCODER, vocab_size=9), MEMORY),
            "vocab_size must agree: decoder 13, encoder 9",
        ),
        (lambda: replace(PLAIN, tokens=SpecialTokens(answer=13)), "tokens.answer 13 is outside the vocabulary of 13"),
        (lambda: replace(PLAIN, tokens=SpecialTokens(think=-1)), "tokens.think -1 is outside the vocabulary"),
        (lambda: replace(PLAIN, tokens=SpecialTokens(query=None)), "tokens.query is needed where there are no markers"),
        (lambda: replace(PLAIN, markers=Markers((), Marker((3,)), Marker((4,)), (5,))), "markers.end must end with"),
        (
            lambda: replace(PLAIN, markers=Markers((), Marker((3,)), Marker((4, 77)), (2,))),
            r"markers have tokens outside the vocabulary of 13: \[77\]",
        ),
        (lambda: replace(PLAIN, template="beta"), "tokens.think is needed by the beta template"),
    ],
)
def test_a_mistake_names_its_field(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=f"^configuration: {message}"):
        make()


def test_a_write_that_cannot_rotate_its_keys_is_refused() -> None:
    """RoPE turns pairs: an odd head size would fail at the first turn."""
    with pytest.raises(UserError, match=r"memory_attention\.attention\.heads"):
        replace(MEMORY, attention=AttentionConfig.mha(16))


def test_consolidation_rotates_nothing_and_may_have_heads_of_any_size() -> None:
    model = ReactiveTransformer(
        replace(PLAIN, memory_attention=replace(MEMORY, consolidation=AttentionConfig.mha(16)))
    ).eval()
    assert model.memorize(model.init_memory(1), torch.zeros(1, 3, dtype=torch.long)).turns == (1,)


def changed(path: str, value: Any) -> dict[str, Any]:
    """A whole configuration as plain values, one of them replaced."""
    values = replace(PLAIN, decoder=replace(DECODER, feed_forward=MOE, stateless=(MOE,))).to_dict()
    *parents, key = path.split(".")
    inner: Any = values
    for parent in parents:
        inner = inner[int(parent)] if parent.isdigit() else inner[parent]
    inner[key] = value
    return values


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("bogus", 1),
        ("template", "gamma"),
        ("memory_init", "random"),
        ("memory_seed", "seven"),
        ("decoder.bogus", 1),
        ("decoder.norm", "batch"),
        ("decoder.layers", 2.5),
        ("decoder.self_attention.bogus", 1),
        ("decoder.self_attention.gated", "perhaps"),
        ("encoder.self_attention.gate_activation", "step"),
        ("memory_attention.gate.status", "median"),
        ("memory_attention.norm.kind", "batch"),
        ("tokens.bogus", 1),
    ],
)
def test_reading_names_the_key(path: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"^here: {path}: .*found {value!r}"):
        RxTConfig.from_dict(changed(path, value), "here")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("decoder.feed_forward.bogus", 1),
        ("decoder.feed_forward.top_k", "some"),
        ("decoder.stateless.0.bias", "everywhere"),
        ("encoder.feed_forward.activation", "step"),
    ],
)
def test_reading_names_the_key_inside_a_feed_forward(path: str, value: Any) -> None:
    """The kind decides which keys there may be; the other kind's are not spoken of."""
    with pytest.raises(UserError, match=path.rsplit(".", 1)[0]) as caught:
        RxTConfig.from_dict(changed(path, value), "here")
    assert path.rsplit(".", 1)[1] in str(caught.value)


def test_reading_what_is_no_object() -> None:
    with pytest.raises(UserError, match="here: "):
        RxTConfig.from_dict([1, 2], "here")  # type: ignore[arg-type]


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(PLAIN.to_json())
    assert RxTConfig.from_file(path) == RxTConfig.from_file(str(path)) == PLAIN
    with pytest.raises(UserError, match=r"other\.json: no such file"):
        RxTConfig.from_file(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("config", "heads"),
    [
        (AttentionConfig.mha(8), (8, 8, 8)),
        (AttentionConfig.gqa(8, 2), (8, 2, 8)),
        (AttentionConfig.mqa(8), (8, 1, 8)),
        (AttentionConfig.sqa(8), (4, 4, 4)),
        (AttentionConfig.sqa(8, 2), (2, 2, 2)),
        (AttentionConfig.sqa(8, 4, 1), (4, 1, 4)),
        (AttentionConfig.sqa(8, 2, 4), (2, 4, 4)),
    ],
)
def test_the_kinds_of_the_family_by_name(config: AttentionConfig, heads: tuple[int, int, int]) -> None:
    assert (config.query_heads, config.kv_heads, config.output_heads) == heads


def test_what_a_whole_configuration_tells() -> None:
    config = replace(PLAIN, encoder=replace(ENCODER, max_length=12))
    assert config.memory_shape == (2, 3, 16)
    assert config.max_length == 12
    larger = config.with_vocabulary(20, SpecialTokens(mask=19))
    assert (larger.decoder.vocab_size, larger.encoder.vocab_size, larger.tokens.mask) == (20, 20, 19)
    with pytest.raises(FrozenInstanceError):
        config.memory_seed = 1  # type: ignore[misc]


@given(configs)
@settings(max_examples=60, deadline=None)
def test_written_down_and_read_again(config: RxTConfig) -> None:
    assert RxTConfig.from_dict(config.to_dict()) == config
    assert RxTConfig.from_dict(json.loads(config.to_json())) == config


@given(configs)
@settings(max_examples=25, deadline=None)
@torch.no_grad()
def test_every_valid_configuration_is_a_model_that_takes_turns(config: RxTConfig) -> None:
    model = ReactiveTransformer(config).eval()
    ids = torch.tensor([[1, 3, 7, 4], [1, 3, 8, 0]])
    mask = torch.tensor([[True] * 4, [True, True, True, False]])
    memory = model.memorize(model.init_memory(2, seed=0), ids, mask)
    assert model.decode(ids, memory, mask).isfinite().all()
