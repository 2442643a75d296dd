"""A decoder laid out for inference: the same numbers, in the order in which a processor reads them fastest.

A token at a time, a decoder is a chain of products of a matrix and a vector, and the time is that of reading the
matrices. ``torch.nn.Linear`` keeps its weight row by row, one row an output, as training wants it; column by column the
product reads it faster on a processor (``docs/performance.md`` has the numbers).
"""

from __future__ import annotations

from torch import nn

from rxt.model.decoder import Decoder
from rxt.model.reactive import ReactiveTransformer
from rxt.model.replace import replace_matrices, share_copy
from rxt.model.summed import SummedLinear, SummedStack
from rxt.model.weight_cache import from_weights


def inference_decoder(model: ReactiveTransformer, compiled: bool = False) -> Decoder:
    """The decoder for inference: in evaluation on a processor a copy for it, made anew after a weight has changed.

    It has linear weights of its own and shares all others: experts, norms, embedding. ``compiled`` asks for the one
    whose steps are to be compiled, which has experts of its own.
    """
    if model.training or model.decoder.embedding.weight.device.type != "cpu":
        return model.decoder
    if compiled:
        return from_weights(model, "compiling copy", lambda: compiling_copy(model.decoder))
    return from_weights(model, "columnwise copy", lambda: columnwise_copy(model.decoder))


def columnwise_copy(decoder: Decoder) -> Decoder:
    """A decoder that computes the same without gradients. Experts, norms and embedding are shared, not copied."""
    copy = share_copy(decoder)
    for module in copy.modules():
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(module.weight.detach().T.contiguous().T, requires_grad=False)
    return copy


def compiling_copy(decoder: Decoder) -> Decoder:
    """A decoder whose step is to be compiled: products are written as sums, which the compiler makes into few loops
    over the weights.

    Linear weights, norms and embedding are shared; routed experts are copied, row by row, unless they are 8-bit
    integers.
    """
    copy = share_copy(decoder)
    replace_matrices(copy, SummedLinear, SummedStack)
    return copy
