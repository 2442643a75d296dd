"""What a step must read and compute, counted on paper and by hand."""

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
from rxt.parameters import attention_projections, feed_forward_parameters, parameter_counts, routed_expert
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


def test_parts_of_the_count() -> None:
    assert attention_projections(ATTENTION, WIDTH) == (2 * WIDTH * HEAD, 2 * WIDTH * HEAD)
    assert attention_projections(AttentionConfig(4, 4, 2, gated=True), WIDTH) == (3 * WIDTH * WIDTH, 2 * WIDTH * 4)
    assert feed_forward_parameters(DENSE, WIDTH) == FEED_FORWARD
    experts = MoEConfig(3, experts=4, top_k=2)
    assert routed_expert(experts, WIDTH) == FEED_FORWARD
    assert feed_forward_parameters(experts, WIDTH) == 2 * FEED_FORWARD + 4 * WIDTH
    assert routed_expert(replace(experts, bias="global"), WIDTH) == WIDTH * 6 + 3 * WIDTH


def test_a_step_reads_the_active_weights_and_what_is_looked_up() -> None:
    counts = parameter_counts(TINY)
    active = counts.decoder - VOCABULARY * WIDTH
    looked_up = LAYERS * (10 + SLOTS) * HEAD
    one = decode_step(TINY, 1, length=10)
    assert one == Work(2 * active + 4 * looked_up, 4 * (active + WIDTH + 2 * looked_up))
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
    encode = LAYERS * (2 * tokens * (PROJECTIONS + FEED_FORWARD) + 4 * tokens * tokens * HEAD)
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


def test_training_grows_with_what_is_read() -> None:
    assert joint_step(TINY, 4, 10, 1.5).flops == 4 * joint_step(TINY, 1, 10, 1.5).flops
    assert joint_step(TINY, 4, 10, 1.5).bytes == joint_step(TINY, 1, 10, 1.5).bytes
    once, twice = memory_aware_step(TINY, 1, 1, 8, 4), memory_aware_step(TINY, 1, 2, 8, 4)
    assert twice.flops - 2 * once.flops == 3 * memorize(TINY, 1, 8).flops
    assert once.bytes == 11 * 4 * parameter_counts(TINY).total
