"""The layers of a memory attention as one, for inference: what each of them multiplies, all multiply together.

Every layer writes into a memory of its own out of an interaction that is encoded already, so none waits for another.
One by one they are some sixty small operations each; together, some sixty large ones. Tensors have the layers before
everything else: (L, B, S, D).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rxt.config import GateConfig
from rxt.model.attention import Attention, KeyValue
from rxt.model.consolidation import (
    GatedLayer,
    GroupedSelfInterlayer,
    Interlayer,
    MemoryAttentionLayer,
    SelfAttention,
    SelfInterlayer,
    Simple,
)
from rxt.model.layers import Rotation, activate, rotate, rotation_of
from rxt.model.memory_attention import MemoryAttention
from rxt.model.memory_gate import ResidualGate
from rxt.model.memory_norm import MemoryNorm
from rxt.model.replace import share_copy, take_over
from rxt.model.rounded import RoundedNorm

STACKED = (Simple, SelfAttention, Interlayer, SelfInterlayer, GroupedSelfInterlayer)
"""Layers that do the same with every layer's memory: they need not know how many there are."""

AT_ONCE = 1_600_000
"""Numbers of a memory that are written at once, of one conversation at least: more of them lie beyond the caches."""


class StackedMemoryAttention(MemoryAttention):
    """A memory attention in the place of another, with the layers as one. What it gives has no gradient.

    Raises:
        ValueError: its layers must be run one by one (:func:`can_stack`).
    """

    def __init__(self, original: MemoryAttention, dtype: torch.dtype) -> None:
        """``dtype``: of products."""
        nn.Module.__init__(self)
        take_over(self, original)
        self.config, self.mean_norm = original.config, original.mean_norm
        self.stack = stack_layers(self._layers(), dtype)

    @torch.no_grad()
    def forward(self, slots: Tensor, encoded: Tensor, mask: Tensor | None = None) -> Tensor:
        """As :meth:`MemoryAttention.forward`."""
        positions = torch.arange(encoded.shape[2], device=encoded.device)
        rotation = rotation_of(self.config.attention, self.config.width, positions)
        rows = max(1, AT_ONCE // slots[:, 0].numel())
        masks = [None] * slots.shape[1] if mask is None else mask[:, None, None, :].split(rows)
        written = [
            self.stack(some, self._mean(some), self.stack.project(texts, rotation), visible).to(slots.dtype)
            for some, texts, visible in zip(slots.split(rows, 1), encoded.split(rows, 1), masks, strict=False)
        ]
        return written[0] if len(written) == 1 else torch.cat(written, dim=1)

    def _mean(self, slots: Tensor) -> Tensor | None:
        """For each layer, the normed mean of the old memory over its group (L, B, S, D)."""
        if self.mean_norm is None:
            return None
        groups = slots.unflatten(0, (self.config.groups or 1, -1))  # (G, L / G, B, S, D)
        return self.mean_norm(groups.mean(1)).unsqueeze(1).expand_as(groups).flatten(0, 1)


def can_stack(attention: MemoryAttention) -> bool:
    """Whether its layers can be run as one."""
    return type(attention.layers[0]) in STACKED


def stack_layers(layers: Sequence[MemoryAttentionLayer], dtype: torch.dtype) -> GatedLayer:
    """One layer that is all of them: it takes and gives tensors with the layers before everything else, and computes
    products in ``dtype``.

    Raises:
        ValueError: they are of a kind that must be run one by one.
    """
    first = layers[0]
    if not isinstance(first, GatedLayer) or type(first) not in STACKED:
        raise ValueError(f"layers of the kind {type(first).__name__} cannot be stacked")
    every = [layer for layer in layers if isinstance(layer, GatedLayer)]
    parts = {name: [layer.get_submodule(name) for layer in every] for name, _ in first.named_children()}
    stack = share_copy(first)
    for name, same in parts.items():
        setattr(stack, name, _stacked(same, dtype))
    # what the write reads is normed for nothing else: those norms' scales go into its weights
    scale, source_scale = _scales(parts["norm"]), _scales(parts.get("input_norm", []))
    stack.attention = StackedAttention([layer.attention for layer in every], dtype, scale, source_scale)  # type: ignore[assignment]
    eps = torch.finfo(first.attention.q_proj.weight.dtype).eps
    if scale is not None:
        stack.norm = RoundedNorm(eps, dtype)  # type: ignore[assignment]
    if source_scale is not None:
        stack.input_norm = RoundedNorm(eps, dtype)  # type: ignore[assignment]
    return stack


def _stacked(parts: Sequence[nn.Module], dtype: torch.dtype) -> nn.Module:
    """The same part of every layer as one."""
    attentions = [part for part in parts if isinstance(part, Attention)]
    if attentions:
        return StackedAttention(attentions, dtype)
    scales = _scales(parts)
    if scales is not None:
        return StackedNorm(scales)
    gates = [part for part in parts if isinstance(part, ResidualGate) and _is_linear(part.config)]
    return StackedGate(gates) if gates else EachAlone(parts)


def _scales(norms: Sequence[nn.Module]) -> Tensor | None:
    """The scales (L, D) of norms of root mean squares; None where they are others, or there are none."""
    plain = [norm for norm in norms if isinstance(norm, MemoryNorm) and norm.config.kind == "rms" and norm.mix is None]
    return torch.stack([norm.weight.detach() for norm in plain]) if plain else None


def _is_linear(gate: GateConfig) -> bool:
    return (gate.kind, gate.activation) == ("linear", "sigmoid")


class Product(nn.Module):
    """x · Wᵀ + b of L layers at once, in ``dtype``; of several such products of the same x, one."""

    weight: Tensor
    """(L, in, out)"""
    bias: Tensor | None
    """(L, 1, out)"""

    def __init__(self, *products: Sequence[nn.Linear], dtype: torch.dtype, scale: Tensor | None = None) -> None:
        """
        Args:
            products: L layers each; outputs stand side by side, in this order.
            scale: (L, in), what x would be multiplied by before.
        """
        super().__init__()
        weight = torch.cat([torch.stack([linear.weight.detach().T for linear in layers]) for layers in products], dim=2)
        self.register_buffer("weight", (weight if scale is None else weight * scale.unsqueeze(-1)).to(dtype))
        biased = any(linear.bias is not None for layers in products for linear in layers)
        bias = torch.cat([torch.stack([_bias(linear) for linear in layers]) for layers in products], dim=1)
        self.register_buffer("bias", bias.unsqueeze(1).to(dtype) if biased else None)

    def forward(self, x: Tensor) -> Tensor:
        """(L, B, S, in) -> (L, B, S, out)."""
        rows = x.to(self.weight.dtype).flatten(1, 2)
        product = rows @ self.weight if self.bias is None else torch.baddbmm(self.bias, rows, self.weight)
        return product.unflatten(1, x.shape[1:3])


def _bias(linear: nn.Linear) -> Tensor:
    return linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias.detach()


class StackedAttention(nn.Module):
    """The attention of L layers: takes and gives what one does, for all of them."""

    def __init__(
        self,
        layers: Sequence[Attention],
        dtype: torch.dtype,
        scale: Tensor | None = None,
        source_scale: Tensor | None = None,
    ) -> None:
        """
        Args:
            layers: L of them.
            dtype: of products.
            scale: (L, D), what queries' input would be multiplied by before; ``source_scale``, that of keys and values.
        """
        super().__init__()
        first = layers[0]
        self.config, self.head_dim, self.dtype = first.config, first.head_dim, dtype
        keys, values = [layer.k_proj for layer in layers], [layer.v_proj for layer in layers]
        self._query = Product([layer.q_proj for layer in layers], dtype=dtype, scale=scale)
        self._key_value = Product(keys, values, dtype=dtype, scale=source_scale)
        outs = [layer.out_proj for layer in layers if isinstance(layer.out_proj, nn.Linear)]
        gates = [layer.gate_proj for layer in layers if layer.gate_proj is not None]
        self._out = Product(outs, dtype=dtype) if outs else None
        self._gate = Product(gates, dtype=dtype, scale=scale) if gates else None
        self._query_norms = [layer.q_norm for layer in layers if layer.q_norm is not None]
        self._key_norms = [layer.k_norm for layer in layers if layer.k_norm is not None]
        self._merged = first._merged

    def keys_values(self, source: Tensor, rotation: Rotation | None = None) -> KeyValue:
        """As :meth:`Attention.keys_values`: (L, B, S, D) -> (L, B, Hkv, S, Hd)."""
        keys, values = self._heads(self._key_value(source)).chunk(2, dim=2)
        return KeyValue(self._turned(keys, self._key_norms, rotation), values)

    def forward(
        self, x: Tensor, source: KeyValue, rotation: Rotation | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """As :meth:`Attention.forward`: (L, B, S, D) -> the same, in the type of products; ``mask`` (B, 1, 1, T)."""
        queries = self._turned(self._heads(self._query(x)), self._query_norms, rotation)
        if mask is not None:
            mask = mask.repeat(len(x), 1, 1, 1)  # (L·B, 1, 1, T)
        rows = KeyValue(*(each.flatten(0, 1) for each in source))
        merged = self._merged(queries.flatten(0, 1), rows, mask, causal=False)
        merged = merged.unflatten(0, x.shape[:2])  # (L, B, S, Hq·Hd)
        if self._gate is not None:
            merged = merged * activate(self._gate(x), self.config.gate_activation)
        return merged if self._out is None else self._out(merged)

    def _turned(self, heads: Tensor, norms: Sequence[nn.Module], rotation: Rotation | None) -> Tensor:
        """Heads (L, B, H, S, Hd), normed and rotated where they are to be."""
        if norms:
            heads = torch.stack([norm(each) for norm, each in zip(norms, heads, strict=True)])
        return (heads if rotation is None else rotate(heads, rotation)).to(self.dtype)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(2, 3)  # (L, B, H, S, Hd)


class StackedNorm(nn.Module):
    """The norms of L layers by root mean squares."""

    weight: Tensor
    """(L, 1, 1, D)"""

    def __init__(self, scales: Tensor) -> None:
        """``scales`` (L, D)."""
        super().__init__()
        self.register_buffer("weight", scales[:, None, None])
        self._normed = RoundedNorm(torch.finfo(scales.dtype).eps, scales.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(L, B, S, D) -> (L, B, S, D)."""
        return self._normed(x).mul_(self.weight)


class StackedGate(nn.Module):
    """The linear gates of L layers, with a sigmoid behind."""

    weight: Tensor
    """(L, S, S or 1)"""
    bias: Tensor
    """(L, 1, S or 1)"""
    status: Tensor | None
    """(L, D, 1), by which a slot's status is read; None where it is the mean."""
    shift: Tensor | None
    """(L, 1, 1), which is added to it."""

    def __init__(self, layers: Sequence[ResidualGate]) -> None:
        super().__init__()
        self.register_buffer("weight", torch.stack([layer.linear.weight.detach().T for layer in layers]))
        self.register_buffer("bias", torch.stack([layer.linear.bias.detach() for layer in layers]).unsqueeze(1))
        read = [layer.status for layer in layers] if layers[0].config.status == "linear" else []
        self.register_buffer("status", torch.stack([each.weight.detach().T for each in read]) if read else None)
        self.register_buffer("shift", torch.stack([each.bias.detach()[None] for each in read]) if read else None)

    def forward(self, old: Tensor, new: Tensor) -> Tensor:
        """(L, B, S, D), (L, B, S, D) -> (L, B, S, D)."""
        exact = new.to(old.dtype)
        gate = torch.baddbmm(self.bias, self._status(old, exact), self.weight).sigmoid_().unsqueeze(-1)
        return torch.lerp(old, exact, gate, out=None if exact is new else exact)

    def _status(self, old: Tensor, new: Tensor) -> Tensor:
        """Of old + new, which need not be written down for it: (L, B, S)."""
        if self.status is None or self.shift is None:
            return old.mean(-1).add_(new.mean(-1))
        read = [torch.bmm(part.flatten(1, 2), self.status) for part in (old, new)]  # (L, B·S, 1) each
        return read[0].add_(read[1]).add_(self.shift).view(old.shape[:-1])


class EachAlone(nn.Module):
    """Modules of L layers that are run one after another."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Each (L, …) -> (L, …)."""
        return torch.stack([layer(*each) for layer, *each in zip(self.layers, *inputs, strict=True)])
