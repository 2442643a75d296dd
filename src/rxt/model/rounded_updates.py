"""A whole model whose memory updates are computed in bfloat16."""

from __future__ import annotations

from typing import TypeVar

import torch

from rxt.errors import UserError
from rxt.model.encoder import SharedEncoder
from rxt.model.reactive import ReactiveTransformer
from rxt.model.replace import replace_modules, share_copy
from rxt.model.rounded import ROUNDED, RoundedEncoder
from rxt.model.stacked import StackedMemoryAttention, can_stack

Model = TypeVar("Model", bound=ReactiveTransformer)


def round_updates(model: Model) -> Model:
    """A model for inference whose memory updates multiply in bfloat16; the given one stays as it is.

    Its memories are those of ``model`` but for rounding, and each takes the other's. All weights are shared; those of
    encoder and memory attention are kept in bfloat16 besides, in half their size. Routed experts of an encoder stay in
    float32. The copy cannot be trained or saved.

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
