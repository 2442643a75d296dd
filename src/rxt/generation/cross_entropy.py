"""Cross-entropy of many words after a linear head, with its gradients, in as few passes over the logits as a CPU can do
it in."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

NUMBERS = 2**18
"""Logits that are looked at together: 1 MiB in float32, half of what a core's own cache may hold."""


def linear_cross_entropy(states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> tuple[Tensor, Tensor]:
    """−log p (N,) of targets (N,), in nats and at least in float32, and whether no word was likelier (N,).

    The logits (N, V) are those of a linear head, ``weight`` (V, D) and ``bias`` (V,), after states (N, D).
    """
    kind = states.device.type
    learning = torch.is_grad_enabled() and (states.requires_grad or weight.requires_grad)
    if kind == "cpu" and learning and len(states):
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
            states, weight = states.to(dtype), weight.to(dtype)
        return _LinearCrossEntropy.apply(states, weight, bias, targets)  # pyright: ignore[reportReturnType]
    return cross_entropy(F.linear(states, weight, bias), targets)


def cross_entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`linear_cross_entropy`, from the logits (N, V)."""
    # The place of the highest, which nobody asks for, would take a CPU ten times as long as its value.
    likeliest = logits.detach().gather(1, targets.unsqueeze(1)).squeeze(1) == logits.detach().amax(-1)
    exact = torch.promote_types(logits.dtype, torch.float32)
    return F.cross_entropy(logits.to(exact), targets, reduction="none"), likeliest


class _LinearCrossEntropy(torch.autograd.Function):
    """With m the highest logit, e = exp(x − m) and s = Σ e: −log p_t = m − x_t + log s, and with the slope
    e − s·1_t, which takes the place of the logits, dL/dx = (g / s)·slope.

    A few rows at a time, so that what is computed of them stays in the processor's cache. The factor g / s of a row is
    known only on the way back; it multiplies the row's state, or its state's gradient, which are shorter than a row of
    logits: going backward is nothing but products. PyTorch keeps log p beside the logits and goes over all of it
    several times.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        slopes = states @ weight.T  # (N, V): first the logits, to which the bias is added where they are in the cache
        exact = torch.promote_types(slopes.dtype, torch.float32)
        nll, sums = slopes.new_empty(2, len(slopes), dtype=exact)
        likeliest = torch.empty_like(targets, dtype=torch.bool)
        rows = max(1, NUMBERS // slopes.shape[1])
        each = zip(*(tensor.split(rows) for tensor in (slopes, targets, nll, sums, likeliest)), strict=True)
        for slope, target, loss, total, best in each:
            some, target = slope.to(exact), target.unsqueeze(1)
            if bias is not None:
                some += bias
            highest, wanted = some.amax(1, keepdim=True), some.gather(1, target)
            torch.eq(wanted, highest, out=best.unsqueeze(1))
            torch.sum(some.sub_(highest).exp_(), 1, out=total)
            torch.add((highest - wanted).squeeze(1), total.log(), out=loss)
            slope.copy_(some.scatter_add_(1, target, -total.unsqueeze(1)))
        ctx.mark_non_differentiable(likeliest)
        ctx.save_for_backward(states, weight, slopes, sums)
        ctx.bias_dtype = None if bias is None else bias.dtype
        return nll, likeliest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        states, weight, slopes, sums = ctx.saved_tensors
        factor = (grad / sums).unsqueeze(1)  # (N, 1)
        needed, of_states, of_weight, of_bias = ctx.needs_input_grad, None, None, None
        if needed[0]:
            of_states = (slopes @ weight).mul_(factor)
        if needed[1]:
            of_weight = slopes.T @ (states * factor).to(slopes.dtype)
        if needed[2]:
            of_bias = (factor.T.to(slopes.dtype) @ slopes).squeeze(0).to(ctx.bias_dtype)
        return of_states, of_weight, of_bias, None
