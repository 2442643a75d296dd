"""Memory that starts as a queue: what is told later goes to other slots than what was told before.

Slots that are trained from scratch first learn to open once, for whatever comes first. Here they stand in groups. A
slot that holds nothing yet bears a mark of the fresh memory, in a direction that the status of its gate reads: 1 where
it is empty, near 0 where something was written. A group opens where it is empty and the group before it is not. The
slots behind the last group are open to every interaction. All of it is where training starts, and learns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rxt.model.memory_attention import MemoryAttention
from rxt.model.memory_gate import ResidualGate

CLOSED, EMPTY, BEFORE = -3.0, 5.5, -6.0
"""A gate before its sigmoid: of a slot that is full, what it gains by being empty, and by an empty group before it."""


@torch.no_grad()
def start_as_queue(memory_attention: MemoryAttention, fresh: Tensor) -> None:
    """Set all gates, and mark the fresh memory (L, S, D) in place, as ``memory_attention.gate.queue`` says."""
    groups, slots = memory_attention.config.gate.queue, memory_attention.config.slots
    assert groups is not None
    for layer, empty in zip(memory_attention.layers, fresh, strict=True):
        gate = layer.gate
        assert isinstance(gate, ResidualGate)
        mark = empty.square().mean().sqrt() * torch.randn(fresh.shape[-1]).to(fresh)  # as loud as what it marks
        empty += mark
        gate.status.weight.copy_(mark / mark.square().sum())
        gate.status.bias.zero_()
        _in_groups(gate.linear.weight, gate.linear.bias, groups, slots // (groups + 1))


def _in_groups(weight: Tensor, bias: Tensor, groups: int, size: int) -> None:
    """Weights (S, S) and biases (S,) of a gate over statuses; the biases of slots behind the groups are spread from
    their first on, as they are."""
    spread = bias.clone()
    weight.zero_()
    for start in range(0, groups * size, size):
        group = slice(start, start + size)
        weight[group, group].fill_diagonal_(EMPTY)
        weight[group, max(0, start - size) : start] = BEFORE / size
        bias[group] = CLOSED
    free = len(bias) - groups * size
    bias[groups * size :] = spread[torch.linspace(0, len(bias) - 1, free).long()]
