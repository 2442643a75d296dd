"""One attention module for the whole family: MHA, GQA, MQA, SQA and reversed SQA, gated or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rxt.config import AttentionConfig
from rxt.model.layers import RMSNorm, Rotation, activate, rotate, rounded_once

WIDE_HEAD = 64
"""Numbers of a head from which a CPU that learns in bfloat16 gains more by products in it than by fused attention."""


class KeyValue(NamedTuple):
    """Projected keys and values, each (B, Hkv, S, Hd). ``S`` counts memory slots or tokens, whatever is looked up."""

    keys: Tensor
    values: Tensor


class Attention(nn.Module):
    """softmax(q·kᵀ/√Hd)·v over Hq query and Hkv key/value heads of size Hd.

    Keys and values are projected by :meth:`keys_values` and looked up by :meth:`forward`, so that what is looked up
    (a memory, a growing cache) can be projected once and used many times.
    """

    def __init__(self, width: int, config: AttentionConfig) -> None:
        super().__init__()
        self.config = config
        self.head_dim = config.head_size(width)
        self.q_proj = nn.Linear(width, config.query_heads * self.head_dim, bias=config.input_bias)
        self.k_proj = nn.Linear(width, config.kv_heads * self.head_dim, bias=config.input_bias)
        self.v_proj = nn.Linear(width, config.kv_heads * self.head_dim, bias=config.input_bias)
        merged = config.output_heads * self.head_dim
        self.out_proj = nn.Linear(merged, width, bias=config.output_bias) if config.output_projection else nn.Identity()
        self.gate_proj = nn.Linear(width, config.output_heads * self.head_dim, bias=False) if config.gated else None
        self.q_norm = RMSNorm(self.head_dim, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(self.head_dim, config.norm_eps) if config.qk_norm else None

    def keys_values(self, source: Tensor, rotation: Rotation | None = None) -> KeyValue:
        """Project ``source`` (B, S, D); keys are rotated where their order matters."""
        keys, values = self.project(source)
        return self._source(keys, values, rotation)

    def project(self, source: Tensor) -> KeyValue:
        """What is linear in ``source`` (B, S, D) of its keys and values."""
        keys, values = self._projected(rounded_once(source), self.k_proj, self.v_proj)
        return KeyValue(keys, values)

    def normed(self, keys: Tensor) -> Tensor:
        """Keys (B, Hkv, S, Hd) normed, where they are."""
        return keys if self.k_norm is None else self.k_norm(keys)

    def forward(
        self,
        x: Tensor,
        source: KeyValue | None,
        rotation: Rotation | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Look up ``source`` with queries from ``x`` (B, T, D) -> (B, T, D); where there is none, ``x`` itself.

        ``mask`` broadcasts to (B, H, T, S), True where a query may look; ``causal`` lets token t look at 0…t.
        """
        x = rounded_once(x)
        if source is None:
            queries, keys, values = self._projected(x, self.q_proj, self.k_proj, self.v_proj)
            source = self._source(keys, values, rotation)
        else:
            (queries,) = self._projected(x, self.q_proj)  # (B, Hq, T, Hd)
        return self._output(x, self._merged(self._turned(queries, rotation), source, mask, causal))

    def beside(
        self, x: Tensor, memory: KeyValue, own: KeyValue, rotation: Rotation | None, seen: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Look up ``memory`` and ``own`` by one softmax, as :meth:`forward` would look up both joined, which are not
        copied for it. ``seen``: a mask for each."""
        (queries,) = self._projected(rounded_once(x), self.q_proj)
        found = look_up_both(self._tiled(self._turned(queries, rotation)), (memory, own), seen)
        return self._output(x, found.transpose(1, 2).flatten(2))

    def _turned(self, queries: Tensor, rotation: Rotation | None) -> Tensor:
        if self.q_norm is not None:
            queries = self.q_norm(queries)
        return queries if rotation is None else rotate(queries, rotation)

    def _output(self, x: Tensor, merged: Tensor) -> Tensor:
        """What has been found (B, T, Hq·Hd), gated by x (B, T, D), as the block's output (B, T, D)."""
        if self.gate_proj is not None:
            merged = merged * activate(self.gate_proj(x), self.config.gate_activation)
        return self.out_proj(merged)

    def _tiled(self, queries: Tensor) -> Tensor:
        """As many heads of queries as of keys, at least; in reversed SQA head j uses query head j mod Hq."""
        if self.config.query_heads < self.config.kv_heads:
            return queries.repeat(1, self.config.kv_heads // self.config.query_heads, 1, 1)
        return queries

    def _merged(self, queries: Tensor, source: KeyValue, mask: Tensor | None, causal: bool) -> Tensor:
        """What queries (B, Hq, T, Hd) find, head beside head: (B, T, Hq·Hd)."""
        return self._look_up(self._tiled(queries), *source, mask, causal).transpose(1, 2).flatten(2)

    def _look_up(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """softmax(q·kᵀ/√Hd)·v, (B, Hq, T, Hd); where Hkv < Hq, query head j uses key/value head j // (Hq / Hkv)."""
        grouped = self.config.kv_heads < self.config.query_heads
        if learns_rounded(queries, keys, values):
            if self.head_dim >= WIDE_HEAD and mask is None and not causal:
                return look_up_in_parts(queries, keys, values)
            with torch.autocast("cpu", enabled=False):
                exact = F.scaled_dot_product_attention(
                    queries.float(), keys.float(), values.float(), attn_mask=mask, is_causal=causal, enable_gqa=grouped
                )
            return exact.to(values.dtype)
        if grouped and mask is not None and queries.device.type == "cuda":
            # a GPU has no kernel for both, and would keep all scores
            groups, grouped = self.config.query_heads // self.config.kv_heads, False
            keys, values = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1)
        return F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, is_causal=causal, enable_gqa=grouped
        )

    def _source(self, keys: Tensor, values: Tensor, rotation: Rotation | None) -> KeyValue:
        keys = self.normed(keys)
        return KeyValue(keys if rotation is None else rotate(keys, rotation), values)

    def _projected(self, x: Tensor, *layers: nn.Module) -> list[Tensor]:
        """``x`` (B, T, D) through each of the layers, each (B, H, T, Hd)."""
        linear = [layer for layer in layers if type(layer) is nn.Linear]
        if len(layers) == len(linear) > 1 and learns_rounded(x, *(layer.weight for layer in linear)):
            sizes = [layer.out_features for layer in linear]
            projected = self._exact(multiplied_together(x, linear)).split(sizes, dim=-1)
        else:
            projected = [self._exact(layer(x)) for layer in layers]
        return [each.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for each in projected]

    def _exact(self, projected: Tensor) -> Tensor:
        """In float32 where that is what a CPU's fused attention learns in: once, before heads are normed and turned."""
        narrow = self.head_dim < WIDE_HEAD
        return projected.float() if narrow and learns_rounded(projected) else projected


def multiplied_together(x: Tensor, layers: Sequence[nn.Linear]) -> Tensor:
    """What linear layers make of ``x`` (…, in), one behind the other (…, out₁ + out₂ + …), by one product."""
    weights = tuple(layer.weight for layer in layers)
    biases = tuple(layer.bias for layer in layers if layer.bias is not None)
    return F.linear(x, torch.cat(weights), torch.cat(biases) if biases else None)


def learns_rounded(*tensors: Tensor) -> bool:
    """Whether autocast rounds what a CPU computes, and a gradient is wanted of it."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return wanted and tensors[0].device.type == "cpu" and torch.is_autocast_enabled("cpu")


def look_up_both(queries: Tensor, sources: Sequence[KeyValue], seen: Sequence[Tensor]) -> Tensor:
    """softmax(q·kᵀ/√Hd)·v (B, Hq, T, Hd) of queries (B, Hq, T, Hd) over all sources together, each of keys and values
    (B, Hkv, S, Hd); ``seen`` has a mask for each, which broadcasts to (B, 1, T, S). Weights of the mean are computed in
    float32 at least."""
    heads, tokens = sources[0].keys.shape[1], queries.shape[2]
    exact = torch.promote_types(queries.dtype, torch.float32)
    grouped = (queries * queries.shape[-1] ** -0.5).unflatten(1, (heads, -1)).flatten(2, 3)  # (B, Hkv, G·T, Hd)
    scores = [
        (grouped @ source.keys.transpose(-1, -2))
        .to(exact)
        .unflatten(2, (-1, tokens))
        .masked_fill(~mask[:, :, None], -torch.inf)
        for source, mask in zip(sources, seen, strict=True)
    ]  # (B, Hkv, G, T, S) each
    weights = torch.cat(scores, -1).softmax(-1).split([source.keys.shape[2] for source in sources], -1)
    found = [
        weight.flatten(2, 3).to(source.values.dtype) @ source.values
        for weight, source in zip(weights, sources, strict=True)
    ]
    return torch.stack(found).sum(0).unflatten(2, (-1, tokens)).flatten(1, 2)


def look_up_in_parts(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """softmax(q·kᵀ/√Hd)·v (B, Hq, T, Hd) of queries (B, Hq, T, Hd), keys and values (B, Hkv, S, Hd).

    PyTorch's fused attention goes backward in bfloat16 four times as slowly on a CPU, which in training cost more than
    all products with weights. Weights of the mean are computed in float32 here too. In float32 the fused one is a
    quarter slower than this where heads are wide, a fifth faster where they are narrow, and faster where what is not
    seen would have to be filled in.
    """
    heads, tokens = keys.shape[1], queries.shape[2]
    with torch.autocast("cpu", enabled=False):
        grouped = queries.float().mul(queries.shape[-1] ** -0.5).unflatten(1, (heads, -1)).flatten(2, 3)
        scores = (grouped @ keys.float().transpose(-1, -2)).unflatten(2, (-1, tokens)).flatten(1, 2)  # (B, Hq, T, S)
        weights = scores.softmax(-1).to(values.dtype)
        looked_up = weights.unflatten(1, (heads, -1)).flatten(2, 3) @ values
    return looked_up.unflatten(2, (-1, tokens)).flatten(1, 2)
