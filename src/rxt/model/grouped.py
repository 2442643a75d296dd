"""A matrix product for each group of rows: what experts compute, each on the tokens that chose it, with weights read in
place."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import register_flop_formula

FEW_ROWS, NEARLY_ALL = 32, 0.7
"""Rows of the longest group, and the share of groups that have rows, up and down to which groups are multiplied as one
batch."""
ALIGNED = 16
"""Bytes that PyTorch's own grouped product wants rows to be multiples of."""
STEP = 32
"""Rows of which a group has a multiple where a CPU learns in bfloat16."""
KERNEL_TYPES = (torch.float32, torch.bfloat16, torch.float16)


def grouped_matmul(rows: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """``rows`` (N, D), sorted by group, times ``weights`` (E, D, F), one matrix a group -> (N, F).

    ``ends`` (E,), int32: where each group's rows end. A group without rows is not read. With gradients.
    """
    if torch.is_autocast_enabled(rows.device.type):
        dtype = torch.get_autocast_dtype(rows.device.type)
        rows, weights = rows.to(dtype), weights.to(dtype)
    learning = torch.is_grad_enabled() and (rows.requires_grad or weights.requires_grad)
    if not learning:
        return torch.ops.rxt.grouped_matmul(rows, weights, ends)
    if rows.device.type == "cpu" and rows.dtype == weights.dtype == torch.bfloat16:
        return _SteppedGroups.apply(rows, weights, ends)  # pyright: ignore[reportReturnType]
    return F.grouped_mm(rows, weights, offs=ends) if _has_kernel(rows, weights) else group_by_group(rows, weights, ends)


def add_to_groups(rows: Tensor, bias: Tensor, groups: Tensor, ends: Tensor) -> Tensor:
    """``rows`` (N, F), sorted by group (N,), each plus its group's ``bias`` (E, F); ``ends`` as in
    :func:`grouped_matmul`. Where a CPU learns, the rows themselves are changed, in their own type."""
    if rows.device.type == "cpu" and torch.is_grad_enabled() and bias.requires_grad:
        return _AddedToGroups.apply(rows, bias, ends)  # pyright: ignore[reportReturnType]
    return rows + bias.index_select(0, groups)


class _AddedToGroups(torch.autograd.Function):
    """In place, and without a bias for every row; its gradient is the sum over a group."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, bias: Tensor, ends: Tensor) -> Tensor:
        ctx.bounds, ctx.dtype = [0, *ends.tolist()], bias.dtype
        for each, (start, end) in zip(bias, pairwise(ctx.bounds), strict=True):
            rows[start:end] += each
        ctx.mark_dirty(rows)
        return rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        sums = [grad[start:end].sum(0, dtype=ctx.dtype) for start, end in pairwise(ctx.bounds)]
        return grad, torch.stack(sums), None


class _SteppedGroups(torch.autograd.Function):
    """The groups in a loop, each of a number of rows that is a multiple of STEP.

    A CPU's products in bfloat16 are compiled for their shape when they are first met, a millisecond each, and a
    thousand are kept; the sizes of groups are other ones in every step. So a group's product takes in rows of its
    neighbours, and what it makes of them is left out; for the gradient of its matrix their slopes are nothing.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.bounds = [0, *ends.tolist()]
        return _in_steps(rows, weights, ctx.bounds)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        rows, weights = ctx.saved_tensors
        of_rows, of_weights = None, None
        if ctx.needs_input_grad[0]:
            of_rows = _in_steps(grad, weights.transpose(1, 2), ctx.bounds)
        if ctx.needs_input_grad[1]:
            of_weights = torch.empty_like(weights)
            for group, (start, end) in enumerate(pairwise(ctx.bounds)):
                if start == end:
                    of_weights[group].zero_()
                    continue
                reach = _stepped(start, end, len(rows))
                alone = grad.new_zeros(reach.stop - reach.start, grad.shape[1])
                alone[start - reach.start : end - reach.start] = grad[start:end]
                torch.mm(rows[reach].T, alone, out=of_weights[group])
        return of_rows, of_weights, None


def _stepped(start: int, end: int, rows: int) -> slice:
    """A group and as many of the rows behind it, or before it at the end of all, as make its number a multiple of STEP;
    the group alone where there are not so many."""
    count = -(-(end - start) // STEP) * STEP
    if count > rows:
        return slice(start, end)
    first = min(start, rows - count)
    return slice(first, first + count)


def _in_steps(rows: Tensor, weights: Tensor, bounds: list[int]) -> Tensor:
    """Rows (N, D) by group times weights (E, D, F) -> (N, F)."""
    found = rows.new_empty(len(rows), weights.shape[2])
    for group, (start, end) in enumerate(pairwise(bounds)):
        reach = _stepped(start, end, len(rows))
        if start == end:
            continue
        if reach.start == start:  # what lies behind the group is overwritten by the groups to which it belongs
            torch.mm(rows[reach], weights[group], out=found[reach])
        else:
            found[start:end] = (rows[reach] @ weights[group])[start - reach.start : end - reach.start]
    return found


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


def group_by_group(rows: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """With gradients, for any precision and size: the groups in a loop."""
    counts = ends.diff(prepend=ends.new_zeros(1)).tolist()
    parts = zip(rows.split(counts), weights.unbind(), strict=True)
    return torch.cat([part @ weight for part, weight in parts if len(part)])


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
