"""The configuration of a Reactive Transformer that is built on a pre-trained decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rxt.config.attention import AttentionConfig
from rxt.config.checks import require
from rxt.config.markers import Markers
from rxt.config.memory_attention import GateConfig, MemoryAttentionConfig, QueueConfig
from rxt.config.stacks import DecoderConfig, EncoderConfig
from rxt.config.whole import BaseModel, RxTConfig, SpecialTokens, TemplateName

READ_SCALE = 1.0
"""What is read counts from the start as what self-attention finds: with a tenth of it, copying is learned several times
as slowly."""
PLACE = 48
"""Slots, of each layer, that an interaction is given in the queue, where there are slots enough."""
LONGEST = 16.0
"""Turns: the longest of the time scales of slots that are open to every interaction."""
LENGTH = 2048
"""Tokens of an interaction, where the base takes more and nobody asks for more."""


def memory_on(
    decoder: DecoderConfig,
    base: BaseModel,
    memory_layers: Sequence[int] | None = None,
    slots: int = 912,
    max_length: int | None = None,
    tokens: SpecialTokens | None = None,
    markers: Markers | None = None,
    adapter_rank: int = 0,
    tokens_as_slots: bool = False,
    template: TemplateName = "alpha",
) -> RxTConfig:
    """Memory for a plain decoder, which stays as it is: reads at some of its layers, its own layers as the encoder.

    Reads are as the layers' self-attention, but nothing is turned by positions; slots hold what self-attention would
    look at, so neither reads nor writes norm it. Memory is a queue of interactions, with a twentieth of the slots
    open to all; it begins with zeros, of which reading finds as much in every slot: nothing.

    Args:
        memory_layers: counted from 0; by default :func:`default_memory_layers`, with ``tokens_as_slots``
            :func:`upper_layers`.
        slots: S, of each of these layers.
        max_length: of an interaction, in tokens.
        tokens: the special tokens of its interactions.
        markers: what stands around the parts of its interactions, in the base's chat template.
        adapter_rank: of low-rank adapters beside the matrices of all layers from the first that reads memory on; 0
            for none.
        tokens_as_slots: slots hold the tokens of interactions as self-attention looks at them, and it does look at
            them; no layer has reads of its own then. Memory is a queue all of it.
        template: ``beta`` for interactions with thinking, tools and their results, for which ``tokens`` must have what
            the base has no use for.

    Raises:
        UserError: layers that the decoder has not, or a length that it does not take.
    """
    usual = upper_layers if tokens_as_slots else default_memory_layers
    chosen = tuple(usual(decoder.layers) if memory_layers is None else memory_layers)
    require(len(chosen) > 0, "decoder.memory_layers", "must name a layer at least")
    require(adapter_rank >= 0, "base.adapter_rank", f"cannot be negative, found {adapter_rank}")
    length = min(LENGTH, decoder.max_length) if max_length is None else max_length
    require(length <= decoder.max_length, "decoder.max_length", f"is {decoder.max_length} in the base, asked: {length}")
    write = replace(AttentionConfig.mha(1), qk_norm=not tokens_as_slots, output_bias=False, output_projection=False)
    if tokens_as_slots:
        opening = 2 if markers is None else len(markers.begin) + len(markers.query.ids)
        queue = all_queue(slots, opening)
        slots = queue.places * queue.slots
        grown = replace(decoder, max_length=length, memory_layers=chosen, slot_norm=False, place=queue.slots)
        memory = MemoryAttentionConfig(
            decoder.width, len(chosen), slots, write, variant="tokens", input_norm=False, queue=queue
        )
    else:
        grown = replace(
            decoder,
            cross_attention=replace(decoder.self_attention, rotated=False),
            max_length=length,
            memory_layers=chosen,
            read_scale=READ_SCALE,
            slot_norm=False,
        )
        memory = MemoryAttentionConfig(
            decoder.width,
            len(chosen),
            slots,
            write,
            variant="queue",
            gate=GateConfig("linear", status="linear", longest=LONGEST),
            input_norm=False,
            queue=queue_of(slots),
        )
    return RxTConfig(
        grown,
        EncoderConfig.of_decoder(grown),
        memory,
        tokens=SpecialTokens() if tokens is None else tokens,
        template=template,
        memory_init="zeros",
        base=replace(base, adapter_rank=adapter_rank),
        markers=markers,
    )


def queue_of(slots: int) -> QueueConfig:
    """A queue of so many slots a layer: as many places as they are enough for, with a twentieth of them open."""
    place = place_of(slots)
    return QueueConfig((slots - max(1, slots // 20)) // place, place)


def all_queue(slots: int, opening: int) -> QueueConfig:
    """A queue of at most so many slots a layer, none of them open, for interactions that open with so many markers."""
    place = place_of(slots)
    return QueueConfig(slots // place, place, opening)


def place_of(slots: int) -> int:
    """R: slots that an interaction is given where a layer has so many."""
    return min(PLACE, max(1, slots // 4))


def upper_layers(layers: int) -> range:
    """All from a quarter of the way up: 8 … 29 of 30."""
    return range(round(0.26 * layers), layers)


def default_memory_layers(layers: int) -> range:
    """Every third layer, in small models more and in large ones fewer, from two fifths to five sixths of the way up:
    12, 15, …, 24 of 30."""
    return range(round(0.4 * layers), round(5 / 6 * layers), max(1, min(3, layers // 5), layers // 10))
