"""What a step must read and compute, counted on shapes and by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rxt.bench.cost import Work, decode_step, joint_step, memorize, memory_aware_step
from rxt.config import (
    AttentionConfig,
    DecoderConfig,
    EncoderConfig,
    FeedForwardConfig,
    GateConfig,
    MemoryAttentionConfig,
    MoEConfig,
    RxTConfig,
)
from rxt.model.parameters import parameter_counts, routed_expert
from rxt.presets import preset

WIDTH, LAYERS, SLOTS, VOCABULARY = 8, 2, 5, 20
ATTENTION, DENSE = AttentionConfig(2, 1, 1, output_bias=False), FeedForwardConfig(3)
TINY = RxTConfig(
    DecoderConfig(VOCABULARY, WIDTH, LAYERS, ATTENTION, ATTENTION, DENSE, 16),
    EncoderConfig(VOCABULARY, WIDTH, LAYERS, ATTENTION, DENSE, 16),
    MemoryAttentionConfig(WIDTH, LAYERS, SLOTS, ATTENTION, "simple", gate=GateConfig("static")),
)
HEAD = 4
PROJECTIONS = 4 * WIDTH * HEAD  # q, k, v and out of one head
FEED_FORWARD = WIDTH * 6 + 6 + 3 * WIDTH + WIDTH
MATRICES = WIDTH * 6 + 3 * WIDTH  # of the feed-forward, without biases


def test_parts_of_the_count() -> None:
    experts = MoEConfig(3, experts=4, top_k=2)
    assert routed_expert(experts, WIDTH) == FEED_FORWARD
    assert routed_expert(replace(experts, bias="global"), WIDTH) == WIDTH * 6 + 3 * WIDTH


def test_a_step_reads_the_active_weights_and_what_is_looked_up() -> None:
    counts = parameter_counts(TINY)
    active = counts.decoder - VOCABULARY * WIDTH
    looked_up = LAYERS * (10 + SLOTS) * HEAD
    one = decode_step(TINY, 1, length=10)
    products = LAYERS * (PROJECTIONS + PROJECTIONS // 2 + MATRICES) + WIDTH * VOCABULARY  # memory is projected already
    assert one == Work(2 * products + 4 * looked_up, 4 * (active + WIDTH + 2 * looked_up))
    three = decode_step(TINY, 3, length=10, number_bytes=2, weight_bytes=1)
    assert three == Work(3 * one.flops, active + 2 * 3 * (WIDTH + 2 * looked_up))


def test_many_conversations_touch_more_experts_but_never_more_than_there_are() -> None:
    experts = MoEConfig(3, experts=4, top_k=2)
    routed = replace(TINY, decoder=replace(TINY.decoder, feed_forward=experts))
    state = decode_step(routed, 2, 0).bytes - decode_step(routed, 1, 0).bytes
    per_conversation = 4 * (WIDTH + 2 * LAYERS * SLOTS * HEAD)
    assert state - per_conversation == pytest.approx(4 * LAYERS * FEED_FORWARD * (4 * (1 - 0.5**2) - 2))
    all_touched = decode_step(routed, 1000, 0).bytes - 1000 * per_conversation
    assert all_touched == pytest.approx(4 * (parameter_counts(routed).decoder - VOCABULARY * WIDTH))


def test_the_published_size_reads_about_what_its_card_says() -> None:
    work = decode_step(preset("rxt-alpha"), 1, length=0)
    assert work.bytes == pytest.approx(115e6 + 4 * 2 * 12 * 256 * 128, rel=0.06)


def test_a_memory_update_encodes_and_writes() -> None:
    tokens = 7
    encode = LAYERS * (2 * tokens * (PROJECTIONS + MATRICES) + 4 * tokens * tokens * HEAD)
    write = LAYERS * (2 * (SLOTS + tokens) * PROJECTIONS / 2 + 4 * SLOTS * tokens * HEAD)
    work = memorize(TINY, 3, tokens)
    assert work.flops == 3 * (encode + write)
    counts = parameter_counts(TINY)
    weights = counts.encoder - counts.embedding + counts.memory_attention
    assert work.bytes == 4 * (weights + 3 * (tokens * WIDTH + 2 * LAYERS * SLOTS * WIDTH))
    gated = replace(TINY, memory_attention=replace(TINY.memory_attention, gate=GateConfig("linear")))
    assert memorize(gated, 1, tokens).flops - memorize(TINY, 1, tokens).flops == LAYERS * 2 * SLOTS * SLOTS
    deeper = replace(TINY, memory_attention=replace(TINY.memory_attention, variant="self-interlayer"))
    assert memorize(deeper, 1, tokens).flops - memorize(TINY, 1, tokens).flops == LAYERS * (
        2 * SLOTS * PROJECTIONS + 4 * SLOTS * SLOTS * HEAD
    )


def test_a_mixture_computes_what_its_chosen_and_shared_experts_do() -> None:
    experts = MoEConfig(3, experts=4, top_k=2, shared_experts=2, shared_dim=5)
    routed = replace(TINY, decoder=replace(TINY.decoder, feed_forward=experts))
    more = 2 * MATRICES + 2 * 3 * 5 * WIDTH + (4 + 2) * WIDTH - MATRICES  # and the router, and the shared experts' gate
    assert decode_step(routed, 1, 3.5).flops - decode_step(TINY, 1, 3.5).flops == 2 * LAYERS * more


def test_a_text_looks_at_what_stands_before_it() -> None:
    tokens, slots, targets = 6, SLOTS, 4
    layer = tokens * (PROJECTIONS + PROJECTIONS // 2 + MATRICES) + slots * PROJECTIONS // 2
    looked_up = 2 * tokens * tokens * HEAD // 2 + 2 * tokens * slots * HEAD
    forward = 2 * LAYERS * (layer + looked_up) + 2 * targets * WIDTH * VOCABULARY
    assert memory_aware_step(TINY, 1, 1, tokens, targets).flops == 3 * forward


def test_training_grows_with_what_is_read() -> None:
    assert joint_step(TINY, 4, 10, 1.5).flops == 4 * joint_step(TINY, 1, 10, 1.5).flops
    assert joint_step(TINY, 4, 10, 1.5).bytes == joint_step(TINY, 1, 10, 1.5).bytes
    once, twice = memory_aware_step(TINY, 1, 1, 8, 4), memory_aware_step(TINY, 1, 2, 8, 4)
    assert twice.flops - 2 * once.flops == 3 * memorize(TINY, 1, 8).flops
    assert once.bytes == 11 * 4 * parameter_counts(TINY).total
