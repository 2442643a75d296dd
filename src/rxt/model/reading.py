"""A decoder as generation reads it: the same numbers, in the order in which a processor reads them fastest, or in fewer
bits.

A token at a time, a decoder is a chain of products of a matrix and a vector, and the time is that of reading the
matrices. ``torch.nn.Linear`` keeps its weight row by row, one row an output, as training wants it; column by column the
product reads it faster on a processor (``docs/performance.md`` has the numbers).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from rxt.model.feed_forward import MixtureOfExperts
from rxt.model.int8 import Int8Linear, Int8Stack, share_copy
from rxt.model.summed import SummedLinear, SummedStack

if TYPE_CHECKING:
    from rxt.model.decoder import Decoder
    from rxt.model.reactive import ReactiveTransformer

ROUTING = ("router", "shared_gate")
"""Small, and a choice of experts: rounding them saves nothing and changes much."""


def reading_copy(decoder: Decoder) -> Decoder:
    """A decoder that computes the same without gradients. Experts, norms and embedding are shared, not copied."""
    copy: Decoder = share_copy(decoder)  # type: ignore[assignment]
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
    copy: Decoder = share_copy(decoder)  # type: ignore[assignment]
    stand_in(copy, SummedLinear, SummedStack)
    return copy


def quantize(model: ReactiveTransformer) -> ReactiveTransformer:
    """A model for inference whose decoder's matrices are 8-bit integers; the given one stays as it is.

    Linear layers, head and routed experts are rounded; embedding, norms, routers, shared experts, encoder and memory
    attention are shared with ``model``, so both make the same memory of the same interaction and take each other's
    memories. The copy
    cannot be trained or saved: save ``model``, and quantize again after loading.
    """
    copy: ReactiveTransformer = share_copy(model.eval())  # type: ignore[assignment]
    stand_in(copy.decoder, Int8Linear, Int8Stack, kept=ROUTING)
    copy.stand_for(model)
    return copy


def stand_in(
    decoder: Decoder,
    linear: Callable[[nn.Linear], nn.Module],
    stack: Callable[[Tensor], nn.Module],
    kept: tuple[str, ...] = (),
) -> None:
    """Put other modules in the place of a decoder's linear layers, but those named ``kept``, and of its routed
    experts."""
    for module in list(decoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and name not in kept:
                setattr(module, name, linear(child))
        if isinstance(module, MixtureOfExperts):
            for name in ("w1", "w2"):
                stacked = getattr(module, name)
                if isinstance(stacked, nn.Parameter):
                    delattr(module, name)
                    setattr(module, name, stack(stacked))
