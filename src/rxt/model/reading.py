"""A decoder as generation reads it: the same numbers, in the order in which a processor reads them fastest.

A token at a time, a decoder is a chain of products of a matrix and a vector, and the time is that of reading the matrices.
``torch.nn.Linear`` keeps its weight row by row, one row an output, as training wants it; column by column the product reads
it about twice as fast on the processors measured (``docs/performance.md``).
"""

from __future__ import annotations

from copy import deepcopy

from torch import nn

from rxt.model.decoder import Decoder


def reading_copy(decoder: Decoder) -> Decoder:
    """A decoder that computes the same without gradients. Experts, norms and embedding are shared, not copied."""
    copy = share_copy(decoder)
    for module in copy.modules():
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(module.weight.detach().T.contiguous().T, requires_grad=False)
    return copy


def share_copy(decoder: Decoder) -> Decoder:
    """The same modules once more around the same tensors: what is replaced in the copy stays in the original."""
    tensors = [*decoder.parameters(), *decoder.buffers()]
    return deepcopy(decoder, {id(tensor): tensor for tensor in tensors})
