"""Losses through a head that does not learn.

Logits of a large vocabulary are most of what a loss has to hold and to move: here they are made a few rows at a time,
with the gradient of the states at once, and never stand in memory together.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from rxt.model.weight_cache import from_weights

ROWS = 256
"""Whose logits are made at once: enough for a product to be fast."""


class FrozenHead:
    """A head whose weights (V, D) do not learn, in the type that products are computed in."""

    def __init__(self, head: nn.Module) -> None:
        """``head``: one with a ``weight``, and perhaps a ``bias``; under autocast its rounded copy is kept."""
        weight, bias = head.weight, getattr(head, "bias", None)
        assert isinstance(weight, Tensor)
        kind = weight.device.type
        if torch.is_autocast_enabled(kind) and weight.dtype == torch.float32:
            rounded = torch.get_autocast_dtype(kind)
            weight = from_weights(head, f"in {rounded}", lambda: head.weight.detach().to(rounded))  # type: ignore[union-attr]
        self.weight = weight.detach()
        self.bias: Tensor | None = None if bias is None else bias.detach().to(self.weight.dtype)

    def log_probs(self, states: Tensor) -> Tensor:
        """log p (N, V) after states (N, D), at least in float32."""
        logits = F.linear(states.to(self.weight.dtype), self.weight, self.bias)
        return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))

    def back(self, gradient: Tensor) -> Tensor:
        """The gradient of states (N, D) from that of logits (N, V)."""
        return gradient.to(self.weight.dtype) @ self.weight


def is_frozen(head: nn.Module) -> bool:
    """Whether nothing of a head learns."""
    return not any(parameter.requires_grad for parameter in head.parameters())


def target_scores(head: nn.Module, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """−log p (N,) of targets (N,) after states (N, D), in nats, and whether none was likelier (N,)."""
    return _TargetScores.apply(states, targets, FrozenHead(head))  # pyright: ignore[reportReturnType]


def divergence(head: nn.Module, states: Tensor, teacher: Tensor) -> Tensor:
    """KL(q ‖ p) (N,) in nats, with q what the head says after ``teacher`` (N, D), p after ``states`` (N, D)."""
    return _Divergence.apply(states, teacher, FrozenHead(head))  # pyright: ignore[reportReturnType]


class _TargetScores(torch.autograd.Function):
    """With p = softmax(logits): d(−log p_target)/d(logits) = p − [target]."""

    @staticmethod
    def forward(ctx: FunctionCtx, states: Tensor, targets: Tensor, head: FrozenHead) -> tuple[Tensor, Tensor]:
        nll, best, gradients = list[Tensor](), list[Tensor](), list[Tensor]()
        for some, wanted in zip(states.detach().split(ROWS), targets.split(ROWS), strict=True):
            logs, wanted = head.log_probs(some), wanted.unsqueeze(1)
            of_target = logs.gather(1, wanted)
            nll.append(-of_target.squeeze(1))
            best.append((of_target == logs.amax(1, keepdim=True)).squeeze(1))
            if states.requires_grad:
                slope = logs.exp_().scatter_add_(1, wanted, torch.full_like(of_target, -1.0))
                gradients.append(head.back(slope).to(states.dtype))
        right = torch.cat(best) if best else targets.bool()
        ctx.mark_non_differentiable(right)
        ctx.save_for_backward(torch.cat(gradients) if gradients else torch.zeros_like(states))
        return torch.cat(nll) if nll else states.new_zeros(0), right

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradients,) = ctx.saved_tensors
        return gradients * grad.unsqueeze(1).to(gradients.dtype), None, None


class _Divergence(torch.autograd.Function):
    """d KL(q ‖ p)/d(logits of p) = p − q."""

    @staticmethod
    def forward(ctx: FunctionCtx, states: Tensor, teacher: Tensor, head: FrozenHead) -> Tensor:
        found, gradients = list[Tensor](), list[Tensor]()
        for some, other in zip(states.detach().split(ROWS), teacher.split(ROWS), strict=True):
            ours, theirs = head.log_probs(some), head.log_probs(other)
            likely = theirs.exp()
            found.append((likely * (theirs - ours)).sum(1))
            if states.requires_grad:
                gradients.append(head.back(ours.exp_().sub_(likely)).to(states.dtype))
        ctx.save_for_backward(torch.cat(gradients) if gradients else torch.zeros_like(states))
        return torch.cat(found) if found else states.new_zeros(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradients,) = ctx.saved_tensors
        return gradients * grad.unsqueeze(1).to(gradients.dtype), None, None
