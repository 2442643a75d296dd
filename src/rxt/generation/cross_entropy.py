"""Cross-entropy of many words, with its gradient, in as few passes over the logits as a CPU can do it in."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

NUMBERS = 2**19
"""Logits that are looked at together: 2 MiB in float32."""


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """−log p (N,) of targets (N,) after logits (N, V), in nats; in float32 at least."""
    exact = torch.promote_types(logits.dtype, torch.float32)
    if logits.device.type == "cpu" and logits.requires_grad and len(logits):
        return _CrossEntropy.apply(logits, targets, exact)  # pyright: ignore[reportReturnType]
    return F.cross_entropy(logits.to(exact), targets, reduction="none")


def none_likelier(logits: Tensor, targets: Tensor) -> Tensor:
    """(N,) whether no logit (N, V) is higher than the target's. The place of the highest, which nobody asks for, would
    take a CPU ten times as long as its value."""
    return logits.gather(1, targets.unsqueeze(1)).squeeze(1) == logits.amax(-1)


class _CrossEntropy(torch.autograd.Function):
    """With p = softmax(x) and m the highest of x: −log p_t = (m − x_t) − log p_m, where p_m is no smaller than 1 / V,
    and dL/dx = g·(p − 1_t).

    A few rows at a time, so that what is computed of them stays in the processor's cache; the logits alone are kept.
    PyTorch keeps log p besides, fills a whole gradient with zeros but for the targets, and goes over all of it four
    times more.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, exact: torch.dtype) -> Tensor:
        ctx.save_for_backward(logits, targets)
        ctx.exact = exact
        found = logits.new_empty(len(logits), dtype=exact)
        for some, wanted, loss in zip(*_few_rows(logits, targets, found), strict=True):
            below = some.amax(1).to(exact) - some.gather(1, wanted.unsqueeze(1)).squeeze(1).to(exact)
            loss.copy_(below - some.softmax(1, dtype=exact).amax(1).log())
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        logits, targets = ctx.saved_tensors
        slopes = torch.empty_like(logits)
        for some, wanted, factor, slope in zip(*_few_rows(logits, targets, grad, slopes), strict=True):
            made = some.softmax(1, dtype=ctx.exact).mul_(factor.unsqueeze(1))
            slope.copy_(made.scatter_add_(1, wanted.unsqueeze(1), -factor.unsqueeze(1)))
        return slopes, None, None


def _few_rows(logits: Tensor, *others: Tensor) -> list[tuple[Tensor, ...]]:
    """Logits (N, V), and what belongs to their rows, in parts of about NUMBERS logits."""
    rows = max(1, NUMBERS // logits.shape[1])
    return [each.split(rows) for each in (logits, *others)]
