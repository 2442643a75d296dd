"""The residual gate of memory: how much of the old stays when something new comes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rxt.config import GateConfig


class ResidualGate(nn.Module):
    """gate(old, new): sigmoid g·new + (1−g)·old, tanh (1+g)·new + (1−g)·old, ungated old + new, replace new."""

    def __init__(self, config: GateConfig, width: int, slots: int) -> None:
        super().__init__()
        self.config = config
        gates = slots if config.per_slot else 1
        if config.kind in ("static", "elementwise"):
            self.weight = nn.Parameter(torch.full((slots, 1) if config.per_slot else (1,), float(config.init)))
        if config.kind == "linear":
            self.linear = nn.Linear(slots, gates)
            nn.init.constant_(self.linear.bias, config.init)
            if config.own_status is not None:
                with torch.no_grad():
                    nn.init.zeros_(self.linear.weight).fill_diagonal_(config.own_status)
            if config.longest is not None:  # sigmoid(-log u) = 1 / (1 + u): half of the old is gone after about u turns
                with torch.no_grad():
                    self.linear.bias.copy_(-torch.linspace(1, config.longest, gates, device="cpu").log())
        if config.kind in ("elementwise", "linear") and config.status == "linear":
            self.status = nn.Linear(width, 1)

    def forward(self, old: Tensor, new: Tensor) -> Tensor:
        """(B, S, D), (B, S, D) -> (B, S, D)."""
        if self.config.kind == "ungated":
            return old + new
        if self.config.kind == "replace":
            return new
        gate = self._gate(old + new)
        if self.config.activation == "tanh":
            gate = torch.tanh(gate)
            return (1 + gate) * new + (1 - gate) * old
        return torch.lerp(old, new.to(old.dtype), torch.sigmoid(gate).to(old.dtype))  # g·new + (1 − g)·old

    def _gate(self, total: Tensor) -> Tensor:
        """The gate before its activation, broadcastable to (B, S, D)."""
        if self.config.kind == "static":
            return self.weight
        status = total.mean(-1) if self.config.status == "mean" else self.status(total).squeeze(-1)  # (B, S)
        if self.config.kind == "linear":
            return self.linear(status).unsqueeze(-1)  # (B, S, 1) or (B, 1, 1)
        if not self.config.per_slot:
            status = status.mean(-1, keepdim=True)  # (B, 1)
        return self.weight * status.unsqueeze(-1)
