"""What :mod:`rxt.model.grouped` computes where it learns. Compiled layers leave it as it is written: groups have other
sizes each time, which the compiler cannot know."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

STEP = 32
"""Rows of which a group has a multiple where a CPU learns in bfloat16."""


@torch.compiler.disable
def learned_product(rows: Tensor, weights: Tensor, ends: Tensor, kernel: bool) -> Tensor:
    """As :func:`rxt.model.grouped.grouped_matmul`, with gradients; ``kernel``: whether PyTorch has one for these."""
    if rows.device.type == "cpu" and rows.dtype == weights.dtype == torch.bfloat16:
        return _SteppedGroups.apply(rows, weights, ends)  # pyright: ignore[reportReturnType]
    return F.grouped_mm(rows, weights, offs=ends) if kernel else group_by_group(rows, weights, ends)


@torch.compiler.disable
def added_in_place(rows: Tensor, bias: Tensor, ends: Tensor) -> Tensor:
    """Rows (N, F), changed: each group plus its row of ``bias`` (E, F)."""
    return _AddedToGroups.apply(rows, bias, ends)  # pyright: ignore[reportReturnType]


def group_by_group(rows: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """With gradients, for any precision and size: the groups in a loop."""
    counts = ends.diff(prepend=ends.new_zeros(1)).tolist()
    parts = zip(rows.split(counts), weights.unbind(), strict=True)
    return torch.cat([part @ weight for part, weight in parts if len(part)])


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
