"""Memory attention: how an interaction is written into memory.

For every layer, with m its memory and e the encoded interaction::

    u  = consolidate(m)
    m' = gate(old=u, new=attn(query=norm(u), keys=values=input_norm(e)))
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rxt.config import GateConfig, MemoryAttentionConfig, MemoryNormConfig
from rxt.model.attention import Attention, KeyValue
from rxt.model.layers import Rotation, rotation_at


@dataclass(frozen=True)
class Source:
    """What encoded interactions offer to the write. It does not depend on the memory: many turns can be read at
    once."""

    keys: Tensor
    """(L, B, Hkv, T, Hd)"""
    values: Tensor
    """(L, B, Hkv, T, Hd)"""
    mask: Tensor | None = None
    """(B, T), False at padding."""

    def __getitem__(self, rows: slice) -> Source:
        """Some of the interactions, cut to the longest among them."""
        if self.mask is None:
            return Source(self.keys[:, rows], self.values[:, rows])
        mask = self.mask[rows]
        length = int(mask.sum(1).max())
        return Source(self.keys[:, rows, :, :length], self.values[:, rows, :, :length], mask[:, :length])


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
                    self.linear.weight.copy_(torch.eye(slots) * config.own_status)
            if config.longest is not None:  # sigmoid(-log u) = 1 / (1 + u): half of the old is gone after about u turns
                with torch.no_grad():
                    self.linear.bias.copy_(-torch.linspace(1, config.longest, gates).log())
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


class MemoryNorm(nn.Module):
    """A norm over D: RMS, LayerNorm, or RMS by a running mean square; plain, or mixed with its input by a learned
    gate."""

    mean_square: Tensor

    def __init__(self, config: MemoryNormConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if config.kind == "layer" else None
        self.mix = nn.Parameter(torch.tensor(float(config.mix_init))) if config.mixed else None
        if config.kind == "ema-rms":  # a statistic of training, like BatchNorm's: fixed when the model is used
            self.register_buffer("mean_square", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        match self.config.kind:
            case "rms":
                normed = nn.functional.rms_norm(x, self.weight.shape, self.weight)
            case "layer":
                normed = nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias)
            case "ema-rms":
                if self.training:
                    mean_square = x.detach().float().square().mean().to(self.mean_square.dtype)
                    self.mean_square.lerp_(mean_square, 1 - self.config.decay)
                normed = x * torch.rsqrt(self.mean_square + torch.finfo(x.dtype).eps) * self.weight
        if self.mix is None:
            return normed
        share = torch.sigmoid(self.mix)
        return share * normed + (1 - share) * x


@torch.no_grad()
def start_as_copy(attention: Attention) -> None:
    """Let an untrained write copy what its slot looks at, so that the decoder can read slots as it reads encoded
    tokens.

    out(v(x)) becomes x itself where the value heads span the width, else x on the dimensions that they span. Queries
    and keys that are normed start four times as long, so that a slot looks at few tokens and every slot at others.
    """
    config, (width, merged) = attention.config, attention.out_proj.weight.shape
    nn.init.eye_(attention.v_proj.weight)  # (Hkv·Hd, D)
    copies = config.output_heads // config.kv_heads
    back = attention.v_proj.weight.unflatten(0, (config.kv_heads, -1)).repeat_interleave(copies, 0) / copies
    attention.out_proj.weight.copy_(back.reshape(merged, width).T)
    if config.output_bias:
        nn.init.zeros_(attention.out_proj.bias)
    if attention.q_norm is not None:
        nn.init.constant_(attention.q_norm.weight, 4.0)


class MemoryAttentionLayer(nn.Module):
    """Consolidate one layer's memory, then write the interaction into it."""

    def __init__(self, config: MemoryAttentionConfig) -> None:
        super().__init__()
        self.config = config

        def gate(kind: GateConfig) -> ResidualGate:
            return ResidualGate(kind, config.width, config.slots)

        self.attention = Attention(config.width, config.attention)
        start_as_copy(self.attention)
        self.norm = MemoryNorm(config.norm, config.width)
        self.input_norm = MemoryNorm(config.norm, config.width)
        self.gate = gate(config.gate)
        if config.variant != "simple":
            self.consolidation = Attention(config.width, config.consolidation or config.attention)
            self.consolidation_norm = MemoryNorm(config.norm, config.width)
            self.consolidation_gate = gate(config.gate if config.self_gate else GateConfig("ungated"))
        if config.variant in ("self-interlayer", "grouped-self-interlayer"):
            self.mean_gate = gate(config.gate)

    def read(self, encoded: Tensor, rotation: Rotation) -> KeyValue:
        """Keys and values of the encoded interaction (B, T, D)."""
        return self.attention.keys_values(self.input_norm(encoded), rotation)

    def forward(self, memory: Tensor, mean: Tensor | None, source: KeyValue, mask: Tensor | None) -> Tensor:
        """The new memory (B, S, D) from the old one, the normed mean over layers, and the interaction that was read."""
        updated = self.consolidate(memory, mean)
        written = self.attention(self.norm(updated), source, mask=mask)
        return self.gate(updated, written)

    def consolidate(self, memory: Tensor, mean: Tensor | None) -> Tensor:
        """Let the slots look at each other, at the mean over layers, or at a gated mix of both, by variant."""
        if self.config.variant == "simple":
            return memory
        normed = self.consolidation_norm(memory)
        if self.config.variant == "self":
            source = normed
        else:
            assert mean is not None
            source = mean if self.config.variant == "interlayer" else self.mean_gate(normed, mean)
        looked_up = self.consolidation(normed, self.consolidation.keys_values(source))
        return self.consolidation_gate(memory, looked_up)


class MemoryAttention(nn.Module):
    """One write layer for each layer of memory; ``mean_norm`` is shared by all of them."""

    def __init__(self, config: MemoryAttentionConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(MemoryAttentionLayer(config) for _ in range(config.layers))
        self.mean_norm = MemoryNorm(config.norm, config.width) if config.variant not in ("simple", "self") else None

    def forward(self, slots: Tensor, encoded: Tensor, mask: Tensor | None = None) -> Tensor:
        """New slots (L, B, S, D) from ``slots`` and ``encoded`` (L, B, T, D); ``mask`` (B, T) is False at padding."""
        return self.write(slots, self.read(encoded, mask))

    def read(self, encoded: Tensor, mask: Tensor | None = None) -> Source:
        """Project encoded interactions (L, B, T, D), whatever memory they will be written into."""
        positions = torch.arange(encoded.shape[2], device=encoded.device)
        write = self.config.attention
        rotation = rotation_at(positions, self.config.width // write.heads, write.rope_base)
        keys, values = zip(
            *[layer.read(source, rotation) for layer, source in zip(self._layers(), encoded, strict=True)], strict=True
        )
        return Source(torch.stack(keys), torch.stack(values), mask)

    def write(self, slots: Tensor, source: Source) -> Tensor:
        """New slots (L, B, S, D) from ``slots`` and the interactions that were read."""
        mask = None if source.mask is None else source.mask[:, None, None, :]
        parts = zip(
            self._layers(),
            slots.unbind(),
            self._means(slots),
            source.keys.unbind(),
            source.values.unbind(),
            strict=True,
        )
        return torch.stack(
            [layer(memory, mean, KeyValue(keys, values), mask) for layer, memory, mean, keys, values in parts]
        )

    def _layers(self) -> list[MemoryAttentionLayer]:
        return [layer for layer in self.layers if isinstance(layer, MemoryAttentionLayer)]

    def _means(self, slots: Tensor) -> list[Tensor | None]:
        """For each layer, the normed mean (B, S, D) of the old memory over all layers, or over its group of them."""
        if self.mean_norm is None:
            return [None] * self.config.layers
        size = self.config.layers // (self.config.groups or 1)
        normed = [self.mean_norm(group.mean(0)) for group in slots.split(size)]
        return [normed[layer // size] for layer in range(self.config.layers)]
