"""Cross-entropy of many words, with its gradient, in as few passes over the logits as a CPU can do it in."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


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

    PyTorch keeps log p, fills a whole gradient with zeros but for the targets, and takes exponentials again; a quarter
    of the time is enough.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, exact: torch.dtype) -> Tensor:
        probabilities = logits.softmax(-1, dtype=exact)
        ctx.save_for_backward(probabilities, targets)
        ctx.dtype = logits.dtype
        below = logits.amax(-1).to(exact) - logits.gather(1, targets.unsqueeze(1)).squeeze(1).to(exact)
        return below - probabilities.amax(-1).log()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        probabilities, targets = ctx.saved_tensors
        slopes = probabilities * grad.unsqueeze(1)
        slopes.scatter_add_(1, targets.unsqueeze(1), -grad.unsqueeze(1))
        return slopes.to(ctx.dtype), None, None
