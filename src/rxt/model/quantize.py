"""A whole model whose decoder's matrices are integers of 8 bits, or of 4 where a base's file has them so."""

from __future__ import annotations

from typing import Literal, TypeVar

from torch import nn

from rxt.model.decoder import TiedHead
from rxt.model.experts import Int8Experts
from rxt.model.feed_forward import MixtureOfExperts
from rxt.model.int4 import Int4Linear, is_of_4_bits
from rxt.model.int8 import Int8Linear
from rxt.model.low_rank import LowRankLinear
from rxt.model.reactive import ReactiveTransformer
from rxt.model.replace import Table, replace_modules, share_copy

Model = TypeVar("Model", bound=ReactiveTransformer)

IN_8_BITS: Table = {
    nn.Linear: Int8Linear,
    LowRankLinear: lambda linear: Int8Linear(linear.merged()),
    MixtureOfExperts: Int8Experts,
    TiedHead: lambda head: Int8Linear(head.as_linear()),
}
IN_4_BITS: Table = {
    **IN_8_BITS,
    nn.Linear: lambda linear: (Int4Linear if is_of_4_bits(linear.weight) else Int8Linear)(linear),
    LowRankLinear: lambda linear: Int4Linear(linear) if is_of_4_bits(linear.weight) else Int8Linear(linear.merged()),
}
"""Matrices that 4 bits hold without loss in 4, the others in 8."""
ROUTING = ("router", "shared_gate")
"""Small, and a choice of experts: rounding them saves nothing and changes much."""


def quantize(model: Model, bits: Literal[4, 8] = 8) -> Model:
    """A model for inference whose decoder's matrices are 8-bit integers; the given one stays as it is.

    With 4 ``bits``, matrices that 4-bit integers hold all but exactly are these: those of a base that comes out of a
    file of 4 bits (GGUF's Q4_1), on a CPU and in float32. Their low-rank adapters stay beside them. All others have 8.

    Linear layers, head and routed experts are rounded; embedding, norms, routers, shared experts, encoder and memory
    attention are shared with ``model``, so both make the same memory of the same interaction and take each other's
    memories. The copy cannot be trained or saved: save ``model``, and quantize again after loading.
    """
    copy = share_copy(model.eval())
    if copy.config.encoder.shared:  # the encoder keeps the layers as they are
        copy.decoder = share_copy(copy.decoder)
    replace_modules(copy.decoder, IN_8_BITS if bits == 8 else IN_4_BITS, kept=ROUTING)
    copy.stands_for = model.fingerprint()
    return copy
