"""Muon, with the small products of many matrices made together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

TOGETHER = 2**22
"""Numbers of the matrices that are orthogonalised at once: 8 MiB in bfloat16. Large matrices gain nothing by it."""


class Muon(torch.optim.Muon):
    """PyTorch's Muon at the step size of AdamW, for matrices of the same shape together.

    A model has some hundred matrices of a few shapes, and PyTorch orthogonalises each in fifteen products of its own:
    80 ms a step of ``rxt-alpha-nano``, where these batches take 31. The numbers are the same, and so is the state.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], learning_rate: float, weight_decay: float) -> None:
        super().__init__(groups, learning_rate, weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            learning = [each for each in group["params"] if each.grad is not None]
            if not all(type(each) is nn.Parameter for each in learning):  # processes hold parts of them
                super().step(closure)
                return
        for group in self.param_groups:
            for parameters in _alike([each for each in group["params"] if each.grad is not None]):
                self._move(parameters, group)

    def _move(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        """One step of a group's matrices (m, n) of one shape."""
        rate, decay, momentum = group["lr"], group["weight_decay"], group["momentum"]
        ahead: list[Tensor] = []
        for parameter in parameters:
            gradient, state = parameter.grad, self.state[parameter]
            assert gradient is not None
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
            state["momentum_buffer"].lerp_(gradient, 1 - momentum)
            ahead.append(gradient.lerp(state["momentum_buffer"], momentum))  # Nesterov's look ahead
        moves = orthogonal(torch.stack(ahead), group["ns_coefficients"], group["ns_steps"], group["eps"])
        adjusted = rate * 0.2 * max(moves.shape[1:]) ** 0.5
        for parameter, move in zip(parameters, moves, strict=True):
            parameter.mul_(1 - rate * decay).add_(move, alpha=-adjusted)


def orthogonal(matrices: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Matrices (N, m, n) with singular values near 1, in bfloat16: Newton and Schulz's iteration, as
    ``torch.optim.Muon`` makes it of each."""
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    found = matrices.bfloat16()
    if tall:
        found = found.transpose(1, 2)
    found = found / torch.linalg.vector_norm(found, dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = torch.bmm(found, found.transpose(1, 2))
        found = torch.baddbmm(found, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), found, beta=a)
    return found.transpose(1, 2) if tall else found


def _alike(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """The parameters by shape, device and type, so many at a time that together they have about TOGETHER numbers."""
    kinds: dict[tuple[torch.Size, torch.device, torch.dtype], list[nn.Parameter]] = {}
    for each in parameters:
        kinds.setdefault((each.shape, each.device, each.dtype), []).append(each)
    for same in kinds.values():
        count = max(1, TOGETHER // same[0].numel())
        for first in range(0, len(same), count):
            yield same[first : first + count]
