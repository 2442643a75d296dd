"""A whole model whose memory updates are computed in bfloat16."""

from __future__ import annotations

import time
from typing import Literal, TypeVar

import torch

from rxt.errors import UserError
from rxt.model.encoder import SharedEncoder
from rxt.model.int8 import WIDENS
from rxt.model.reactive import ReactiveTransformer
from rxt.model.replace import replace_modules, share_copy
from rxt.model.rounded import ROUNDED, RoundedEncoder
from rxt.model.stacked import StackedMemoryAttention, can_stack

Model = TypeVar("Model", bound=ReactiveTransformer)
Updates = Literal["float32", "bfloat16", "auto"]
"""The type that memory updates multiply in; ``auto``: what is faster here."""

FASTER = 1.1
"""So many times as fast updates must be, at least, to be worth their rounding."""
TIMED = 64
"""Tokens of the interactions that ``auto`` times, where the model takes so many."""


def round_updates(model: Model) -> Model:
    """A model for inference whose memory updates multiply in bfloat16; the given one stays as it is.

    Its memories are those of ``model`` but for rounding, and each takes the other's. All weights are shared; those of
    encoder and memory attention are kept in bfloat16 besides, in half their size. Routed experts of an encoder stay in
    float32. The copy cannot be trained or saved. Processors without matrix units for bfloat16 are slower this way.

    Raises:
        UserError: the model is on another device than a processor, or not in float32.
    """
    weight = model.decoder.embedding.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        found = f"found {str(weight.dtype).removeprefix('torch.')} on {weight.device}"
        raise UserError(f"memory updates are rounded of models that are in float32 on a CPU, {found}")
    copy = share_copy(model.eval())
    if isinstance(copy.encoder, SharedEncoder):  # the decoder keeps its layers as they are
        decoder = share_copy(copy.decoder)
        replace_modules(decoder, ROUNDED)
        copy.encoder = SharedEncoder(copy.encoder.config, decoder)
    else:
        copy.encoder = RoundedEncoder(copy.encoder)
    if can_stack(copy.memory_attention):
        copy.memory_attention = StackedMemoryAttention(copy.memory_attention, torch.bfloat16)
    else:
        replace_modules(copy.memory_attention, ROUNDED)
    copy.stands_for = model.fingerprint()
    return copy


def with_updates(model: Model, asked: Updates) -> Model:
    """The model itself, or the one that :func:`round_updates` makes of it, whichever is asked for.

    Raises:
        UserError: as :func:`round_updates`, where bfloat16 is asked for.
    """
    weight = model.decoder.embedding.weight
    possible = WIDENS and weight.device.type == "cpu" and weight.dtype == torch.float32
    if asked == "float32" or (asked == "auto" and not possible):
        return model
    rounded = round_updates(model)
    if asked == "bfloat16" or _seconds(rounded) * FASTER < _seconds(model):
        return rounded
    return model


@torch.no_grad()
def _seconds(model: ReactiveTransformer) -> float:
    """The fastest of a few updates."""
    ids = torch.zeros(1, min(TIMED, model.config.max_length), dtype=torch.long)
    memory, found = model.init_memory(1, seed=0), list[float]()
    for _ in range(5):
        began = time.perf_counter()
        model.memorize(memory, ids)
        found.append(time.perf_counter() - began)
    return min(found)
