"""A matrix product for each group of rows: what experts compute, each on the tokens that chose it, with weights read in
place."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

FEW_ROWS, NEARLY_ALL = 32, 0.7
"""Rows of the longest group, and the share of groups that have rows, up and down to which groups are multiplied as one
batch."""
ALIGNED = 16
"""Bytes that PyTorch's own grouped product wants rows to be multiples of."""
KERNEL_TYPES = (torch.float32, torch.bfloat16, torch.float16)


def grouped_matmul(rows: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """``rows`` (N, D), sorted by group, times ``weights`` (E, D, F), one matrix a group -> (N, F).

    ``ends`` (E,), int32: where each group's rows end. A group without rows is not read. With gradients.
    """
    if torch.is_autocast_enabled(rows.device.type):
        dtype = torch.get_autocast_dtype(rows.device.type)
        rows, weights = rows.to(dtype), weights.to(dtype)
    if torch.is_grad_enabled() and (rows.requires_grad or weights.requires_grad):
        from rxt.model.learned_groups import learned_product  # loads PyTorch's compiler, as everything that trains does

        return learned_product(rows, weights, ends, kernel=_has_kernel(rows, weights))  # pyright: ignore[reportCallIssue]
    return torch.ops.rxt.grouped_matmul(rows, weights, ends)


def add_to_groups(rows: Tensor, bias: Tensor, groups: Tensor, ends: Tensor) -> Tensor:
    """``rows`` (N, F), sorted by group (N,), each plus its group's ``bias`` (E, F); ``ends`` as in
    :func:`grouped_matmul`. Where a CPU learns, the rows themselves are changed, in their own type."""
    if rows.device.type == "cpu" and torch.is_grad_enabled() and bias.requires_grad:
        from rxt.model.learned_groups import added_in_place

        return added_in_place(rows, bias, ends)  # pyright: ignore[reportCallIssue]
    return rows + bias.index_select(0, groups)


def active_groups(rows: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """Without gradients: only groups that have rows cost anything, which is what matters where one token chooses 6 of
    36 experts.

    Where nearly all groups have a few rows, as when many conversations decode together, they are multiplied as one
    batch, padded to the longest: the product of a few rows and a matrix is a matter of reading the matrix, and a batch
    of them reads faster.
    """
    bounds = [0, *ends.tolist()]
    longest = max(end - start for start, end in pairwise(bounds))
    active = sum(end > start for start, end in pairwise(bounds))
    if longest <= FEW_ROWS and active >= NEARLY_ALL * len(weights) and active > 1:
        return groups_as_batch(rows, weights, ends, longest)
    found = rows.new_empty(len(rows), weights.shape[2])
    for group, (start, end) in enumerate(pairwise(bounds)):
        if end > start:
            torch.mm(rows[start:end], weights[group], out=found[start:end])
    return found


def groups_as_batch(rows: Tensor, weights: Tensor, ends: Tensor, longest: int) -> Tensor:
    """All groups at once, each padded to ``longest`` rows; every matrix is read, in place."""
    counts = ends.diff(prepend=ends.new_zeros(1))
    group = torch.repeat_interleave(counts)  # (N,)
    place = torch.arange(len(rows), device=rows.device) - (ends - counts)[group]
    padded = rows.new_zeros(len(weights), longest, rows.shape[1])
    padded[group, place] = rows
    return torch.bmm(padded, weights)[group, place]


def _has_kernel(rows: Tensor, weights: Tensor) -> bool:
    aligned = all(size * rows.element_size() % ALIGNED == 0 for size in weights.shape[1:])
    return aligned and rows.dtype in KERNEL_TYPES and rows.dtype == weights.dtype and hasattr(F, "grouped_mm")


def _product(rows: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """Without gradients, one operator: the compiler does not look into it."""
    if rows.device.type == "cuda" and _has_kernel(rows, weights):
        return F.grouped_mm(rows, weights, offs=ends)
    return active_groups(rows, weights, ends)


_OPERATORS = torch.library.Library("rxt", "DEF")
_OPERATORS.define("grouped_matmul(Tensor rows, Tensor weights, Tensor ends) -> Tensor")
_OPERATORS.impl("grouped_matmul", _product, "CompositeExplicitAutograd")


@register_flop_formula(torch.ops.rxt.grouped_matmul)
def _flops(rows: torch.Size, weights: torch.Size, *_: object, **__: object) -> int:
    return 2 * rows[0] * weights[1] * weights[2]


@torch.library.register_fake("rxt::grouped_matmul")
def _shape(rows: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    return rows.new_empty(rows.shape[0], weights.shape[2])
