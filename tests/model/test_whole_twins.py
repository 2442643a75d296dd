"""Whole models, stored in the published layout and read again, turn by turn against their naive twins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import naive_twins
import pytest
import torch
from hypothesis import given, settings
from naive_twins import ROTATED, randomize
from random_configs import VOCABULARY, published_configs
from tiny_reactive import ATTENTION, DECODER, DENSE, ENCODER, MEMORY, MOE

from rxt.config import AttentionConfig, GateConfig, RxTConfig
from rxt.model.encoder import Encoder
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer

STATIC, ELEMENTWISE = GateConfig("static", init=0.5), GateConfig("elementwise", init=1.0)
SMALL_MOE = replace(MOE, dim=DENSE.dim)
ONE_SHARED = replace(MOE, shared_experts=1, shared_dim=7)
GATED = replace(ATTENTION, gated=True, output_bias=False)
GROUPED = replace(MEMORY, variant="grouped-self-interlayer", groups=2)
CASES = {
    "static gates": RxTConfig(DECODER, ENCODER, replace(MEMORY, gate=STATIC)),
    "one static gate a layer": RxTConfig(
        DECODER, ENCODER, replace(MEMORY, variant="interlayer", gate=replace(STATIC, per_slot=False))
    ),
    "elementwise gates": RxTConfig(DECODER, ENCODER, replace(MEMORY, gate=ELEMENTWISE)),
    "elementwise gates, learned status": RxTConfig(
        DECODER, ENCODER, replace(GROUPED, gate=replace(ELEMENTWISE, status="linear"))
    ),
    "one elementwise tanh gate a layer": RxTConfig(
        DECODER, ENCODER, replace(MEMORY, gate=GateConfig("elementwise", "tanh", False))
    ),
    "no residual": RxTConfig(DECODER, ENCODER, replace(MEMORY, variant="self", gate=GateConfig("replace"))),
    "one shared expert": RxTConfig(replace(DECODER, feed_forward=ONE_SHARED), ENCODER, MEMORY),
    "one weighted shared expert, stacked": RxTConfig(
        replace(DECODER, feed_forward=replace(ONE_SHARED, bias="global", shared_bias="global", weighted_shared=True)),
        ENCODER,
        MEMORY,
    ),
    "shared experts of their own bias": RxTConfig(
        replace(DECODER, feed_forward=replace(MOE, bias="off", shared_experts=3, shared_bias="local")), ENCODER, MEMORY
    ),
    "final stateless layers": RxTConfig(
        replace(DECODER, feed_forward=SMALL_MOE, stateless=(DENSE,), final_stateless=(SMALL_MOE, DENSE)),
        ENCODER,
        MEMORY,
    ),
    "a layer norm before the head": RxTConfig(replace(DECODER, head_norm="layer"), ENCODER, MEMORY),
    "layer norms everywhere": RxTConfig(
        replace(DECODER, norm="layer", head_norm="layer"), replace(ENCODER, norm="layer"), MEMORY
    ),
    "reversed, normed heads": RxTConfig(
        replace(
            DECODER, self_attention=AttentionConfig(4, 1, 4), cross_attention=AttentionConfig(4, 2, 4, qk_norm=True)
        ),
        replace(ENCODER, cross_attention=AttentionConfig(4, 1, 2)),
        replace(MEMORY, attention=AttentionConfig(4, 2, 4), consolidation=AttentionConfig.mqa(4)),
    ),
    "gated heads": RxTConfig(
        replace(DECODER, self_attention=GATED, cross_attention=GATED),
        replace(ENCODER, self_attention=GATED),
        replace(GROUPED, groups=1),
    ),
}


@torch.no_grad()
def assert_twin_of_what_is_stored(config: RxTConfig, folder: Path) -> None:
    torch.manual_seed(0)
    model = ReactiveTransformer(config)
    randomize(model, 0.4)
    model.float().save_pretrained(folder, layout="published")
    model = ReactiveTransformer.from_pretrained(folder).double()
    slots = torch.randn(
        config.decoder.layers, 1, config.memory_attention.slots, config.decoder.width, dtype=torch.float64
    )
    for _turn in range(2):
        ids = torch.randint(VOCABULARY, (1, 4))
        logits = naive_twins.decoder(model.decoder, ids, slots)
        torch.testing.assert_close(model.decode(ids, Memory(slots)), logits, rtol=ROTATED, atol=ROTATED)
        assert isinstance(model.encoder, Encoder)
        encoded = naive_twins.encoder(model.encoder, ids, slots if model.encoder.reads_memory else None, None)
        expected = naive_twins.memory_attention(model.memory_attention, slots, encoded)
        slots = model.memorize(Memory(slots), ids).slots
        torch.testing.assert_close(slots, expected, rtol=ROTATED, atol=ROTATED)


@pytest.mark.parametrize("name", CASES)
def test_two_turns(tmp_path: Path, name: str) -> None:
    assert_twin_of_what_is_stored(CASES[name], tmp_path)


@given(published_configs)
@settings(max_examples=15, deadline=None, derandomize=True, database=None)
def test_two_turns_of_whatever_can_be_published(config: RxTConfig) -> None:
    with TemporaryDirectory() as folder:
        assert_twin_of_what_is_stored(config, Path(folder))
