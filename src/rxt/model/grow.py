"""A Reactive Transformer around a pre-trained decoder: its layers as they are, and a memory that is new."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import nn

from rxt.config import RxTConfig
from rxt.model.attention import Attention
from rxt.model.checkpoint import Model
from rxt.model.decoder import Decoder, DecoderLayer
from rxt.model.low_rank import adapted, without_adapters
from rxt.model.memory_attention import MemoryAttention
from rxt.model.reactive import ReactiveTransformer, fresh_slots
from rxt.model.router import Router
from rxt.model.weight_cache import forget

FRESH = 0.1
"""Standard deviation of what slots hold before anything is written: well below that of encoded tokens (about a third in
SmolLM2), since reads norm neither, and louder slots would drown those that hold a token."""


def grow(base: Decoder, config: RxTConfig, kind: type[Model]) -> Model:
    """A model of a class, ready for inference, that shares the layers of ``base``, a decoder that reads no memory.

    Reads start as copies of the layers' self-attention, so that a slot that holds what self-attention looks at is read
    as that would read it. Low-rank adapters start by adding nothing. ``config`` is one of
    :func:`rxt.config.on_base.memory_on`.
    """
    with torch.device("meta"):  # no random weights, which would be thrown away at once
        model = kind(config)
    weight, grown = base.embedding.weight, model.decoder
    grown.embedding, grown.head_norm, grown.head = base.embedding, base.head_norm, base.head
    rank = 0 if config.base is None else config.base.adapter_rank
    for index, (layer, original) in enumerate(zip(grown.layers, base.layers, strict=True)):
        assert isinstance(layer, DecoderLayer)
        assert isinstance(original, DecoderLayer)
        layer.norm1, layer.attention = original.norm1, original.attention
        layer.norm3, layer.feed_forward = original.norm3, original.feed_forward
        if rank and index >= config.decoder.reading[0]:
            adapt_layer(layer, rank)
        if index in config.decoder.reading and config.decoder.place is None:
            _start_read(layer, config)
    model.memory_attention = MemoryAttention(config.memory_attention).to(weight.device, weight.dtype)
    if config.pool is not None:
        model.router = Router(config.pool, config.decoder.width).to(weight.device, weight.dtype)
    if config.memory_init == "learned":
        model.fresh_memory = nn.Parameter((FRESH * fresh_slots(config)).to(weight.device, weight.dtype))
    return model.eval()


def adapt_layer(layer: DecoderLayer, rank: int) -> None:
    """Give all matrices of a base's layer low-rank adapters; those that read memory get none."""
    layer.attention, layer.feed_forward = adapted(layer.attention, rank), adapted(layer.feed_forward, rank)


def _start_read(layer: DecoderLayer, config: RxTConfig) -> None:
    """Let a layer read memory as its self-attention reads."""
    weight, scale = layer.attention.q_proj.weight, config.decoder.read_scale
    layer.norm2 = deepcopy(layer.norm1)
    layer.cross_attention = Attention(config.decoder.width, config.decoder.cross_attention)
    own = layer.attention.state_dict()
    layer.cross_attention.load_state_dict({name: own[name] for name in layer.cross_attention.state_dict()})
    layer.cross_attention.to(weight.device, weight.dtype)
    if scale is not None:
        layer.read_scale = nn.Parameter(weight.new_full((config.decoder.width,), scale))


@contextmanager
def silenced(model: ReactiveTransformer) -> Iterator[None]:
    """Inside, a model says what its base says: its layers do not read the memory, and low-rank adapters add nothing."""
    layers = [layer for layer in model.decoder.modules() if isinstance(layer, DecoderLayer)]
    for layer in layers:
        layer.hears = False
    forget(model)  # copies for inference hear what they heard when they were made
    try:
        with without_adapters(model.decoder):
            yield
    finally:
        for layer in layers:
            layer.hears = True
        forget(model)
