"""A decoder laid out for inference: the same numbers, in the order in which a processor reads them fastest.

A token at a time, a decoder is a chain of products of a matrix and a vector, and the time is that of reading the
matrices. ``torch.nn.Linear`` keeps its weight row by row, one row an output, as training wants it; column by column the
product reads it faster on a processor (``docs/performance.md`` has the numbers). bfloat16 is read faster row by row, if
the product is one of a matrix and a vector, not of two matrices of which one has one row.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rxt.model.attention import Attention
from rxt.model.decoder import Decoder, TiedHead
from rxt.model.experts import GatheredExperts, Int8Experts, SummedExperts, SummedInt8Experts
from rxt.model.feed_forward import MixtureOfExperts
from rxt.model.int8 import Int8Linear
from rxt.model.low_rank import LowRankLinear
from rxt.model.reactive import ReactiveTransformer
from rxt.model.replace import Table, replace_modules, share_copy
from rxt.model.summed import SummedAttention, SummedInt8Linear, SummedLinear
from rxt.model.weight_cache import from_weights


class ColumnwiseLinear(nn.Linear):
    """The same linear layer, its weight copied column by column."""

    def __init__(self, original: nn.Linear) -> None:
        with torch.device("meta"):
            super().__init__(original.in_features, original.out_features, bias=original.bias is not None)
        self.weight = nn.Parameter(original.weight.detach().T.contiguous().T, requires_grad=False)
        self.bias = original.bias


class RowwiseLinear(nn.Linear):
    """The same linear layer, around the same weight, which multiplies a single row as a vector."""

    def __init__(self, original: nn.Linear) -> None:
        with torch.device("meta"):
            super().__init__(original.in_features, original.out_features, bias=original.bias is not None)
        self.weight, self.bias = original.weight, original.bias

    def forward(self, input: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        if input.numel() > self.in_features:
            return super().forward(input)
        product = torch.mv(self.weight, input.flatten())
        return (product if self.bias is None else product + self.bias).view(*input.shape[:-1], -1)


def _readable(linear: nn.Linear) -> nn.Linear:
    return RowwiseLinear(linear) if linear.weight.dtype == torch.bfloat16 else ColumnwiseLinear(linear)


READABLE: Table = {
    nn.Linear: _readable,
    LowRankLinear: lambda linear: _readable(linear.merged()),
    MixtureOfExperts: GatheredExperts,
    TiedHead: lambda head: _readable(head.as_linear()),
}
"""For steps that are run as they are."""
SUMMED: Table = {
    nn.Linear: SummedLinear,
    LowRankLinear: lambda linear: SummedLinear(linear.merged()),
    TiedHead: lambda head: SummedLinear(head.as_linear()),
    MixtureOfExperts: SummedExperts,
    Attention: SummedAttention,
    Int8Linear: SummedInt8Linear,
    Int8Experts: SummedInt8Experts,
}
"""For steps that are compiled on a processor: products are written as sums, which the compiler makes into few loops
over the weights."""
SUMMED_ATTENTION: Table = {Attention: SummedAttention}
"""For steps that are compiled for another device."""


def inference_decoder(model: ReactiveTransformer, compiled: bool = False) -> Decoder:
    """The decoder for inference: in evaluation a copy for it, made anew after a weight has changed.

    It computes the same without gradients, and shares norms and embedding. On a processor it has linear weights of its
    own, unless they are bfloat16, with low-rank adapters added to them, and shares experts; ``compiled`` asks for the
    one whose steps are to be compiled, which shares linear weights and has experts of its own, unless they are 8-bit
    integers. On other devices it is the model's own, or a copy that shares all weights if its steps are to be compiled.
    """
    on_cpu = model.decoder.embedding.weight.device.type == "cpu"
    if model.training or not (on_cpu or compiled):
        return model.decoder
    if not on_cpu:
        return from_weights(model, "shared", lambda: _copy(model.decoder, SUMMED_ATTENTION), shared=True)
    if compiled:
        return from_weights(model, "summed", lambda: _copy(model.decoder, SUMMED))
    return from_weights(model, "readable", lambda: _copy(model.decoder, READABLE))


def _copy(decoder: Decoder, table: Table) -> Decoder:
    copy = share_copy(decoder)
    replace_modules(copy, table)
    return copy
