"""The generator-decoder: reads the query, looks up the memory, writes the answer."""

from __future__ import annotations

from itertools import islice
from math import ceil
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rxt.config import AttentionConfig, DecoderConfig, FeedForward, Norm
from rxt.model.attention import Attention, KeyValue
from rxt.model.cache import KVCache, LayerCache
from rxt.model.feed_forward import make_feed_forward
from rxt.model.layers import Rotation, make_norm, rotate, rotation_of, rotations_of, rounded_once
from rxt.model.memory import used_slots


class Hidden(NamedTuple):
    """What the layers of a decoder compute before its head."""

    states: Tensor
    """(B, T, D), after the head norm where there is one."""
    balance: Tensor
    """Mean load-balancing loss of the MoE layers; 0 where there are none."""


class DecoderLayer(nn.Module):
    """Pre-norm block: self-attention, memory cross-attention (where ``cross_attention`` is given), feed-forward.

    With ``place`` there is no cross-attention: self-attention looks at memory and at its own tokens by one softmax.
    Slots stand before the own tokens as if the interactions that they hold had been written one after another, each
    filling its place; those that hold nothing are not seen.
    """

    def __init__(
        self,
        width: int,
        self_attention: AttentionConfig,
        cross_attention: AttentionConfig | None,
        feed_forward: FeedForward,
        norm: Norm,
        norm_eps: float | None = None,
        read_scale: float | None = None,
        slot_norm: bool = True,
        place: int | None = None,
    ) -> None:
        super().__init__()
        self.place, self.width = place, width
        self.hears = True
        """Off: whatever memory holds, the layer does not read it."""
        self.norm1 = make_norm(norm, width, norm_eps)
        self.attention = Attention(width, self_attention)
        if cross_attention is not None:
            self.norm2 = make_norm(norm, width, norm_eps)
            self.stm_norm = make_norm(norm, width, norm_eps) if slot_norm else None
            self.cross_attention = Attention(width, cross_attention)
            self.read_scale = None if read_scale is None else nn.Parameter(torch.full((width,), read_scale))
        self.norm3 = make_norm(norm, width, norm_eps)
        self.feed_forward = make_feed_forward(width, feed_forward)

    def project_memory(self, slots: Tensor) -> KeyValue:
        """Project this layer's memory (B, S, D). Slots have no order, so keys are not rotated, unless they hold
        tokens."""
        if self.place is not None:
            read = self.attention.project(slots)
            return self.placed(self.attention.normed(read.keys), read.values, slots.any(-1))
        return self.cross_attention.keys_values(slots if self.stm_norm is None else self.stm_norm(slots))

    def placed(self, keys: Tensor, values: Tensor, used: Tensor) -> KeyValue:
        """Keys and values (B, Hkv, S, Hd) of slots that hold tokens, keys turned to where these stand: token i of the
        g-th newest interaction at i - g·R. Keys of slots that are not ``used`` (B, S) are zeros."""
        assert self.place is not None
        slot = torch.arange(keys.shape[2], device=keys.device)
        positions = slot % self.place - (slot // self.place + 1) * self.place
        rotation = rotation_of(self.attention.config, self.width, positions)
        turned = keys if rotation is None else rotate(keys, rotation)
        # contiguous: every step looks at all of it
        return KeyValue((turned * used[:, None, :, None]).contiguous(), values.contiguous())

    def project_newest(self, before: KeyValue, slots: Tensor) -> KeyValue:
        """As :meth:`project_memory`, of slots that hold tokens, where ``before`` is what it made of them one
        interaction ago: the newest place is projected, and the keys of the others turned, a place further away."""
        assert self.place is not None
        newest = self.project_memory(slots[:, : self.place])
        further = torch.full(before.keys.shape[2:3], -self.place, device=before.keys.device)
        rotation = rotation_of(self.attention.config, self.width, further)
        older = before.keys if rotation is None else rotate(before.keys, rotation)
        kept = slots.shape[1] - self.place
        return KeyValue(
            torch.cat((newest.keys, older[:, :, :kept]), 2), torch.cat((newest.values, before.values[:, :, :kept]), 2)
        )

    def forward(
        self,
        x: Tensor,
        memory: KeyValue | None,
        rotation: Rotation | None,
        cross_rotation: Rotation | None,
        mask: Tensor | None,
        visible: Tensor | None,
        cache: LayerCache | None,
    ) -> tuple[Tensor, Tensor | None]:
        """(B, T, D) -> (B, T, D) and the load-balancing loss. With a cache, x continues what the cache holds, and there
        is no loss.

        ``mask`` (B, T) is False at padding, which experts need to know and attention does not: padding stands behind
        the tokens, and no token looks at what comes after it. ``visible`` (B, 1, 1, S) is False where the memory is
        padding.
        """
        normed, heard = rounded_once(self.norm1(x)), memory if self.hears else None
        if self.place is not None and heard is not None:
            x = x + self._look_at_all(normed, heard, rotation, visible, cache)
        else:
            x = x + self._look_at_own(normed, rotation, cache)
            if heard is not None:
                read = self.cross_attention(self.norm2(x), heard, cross_rotation, mask=visible)
                x = x + (read if self.read_scale is None else read * self.read_scale)
        update, balance = self.feed_forward(self.norm3(x), mask, balanced=cache is None)
        return x + update, balance

    def _look_at_own(self, normed: Tensor, rotation: Rotation | None, cache: LayerCache | None) -> Tensor:
        """Self-attention (B, T, D)."""
        if cache is None:
            return self.attention(normed, None, rotation, causal=True)
        own = cache.extend(self.attention.keys_values(normed, rotation))
        return self.attention(normed, own, rotation, mask=cache.visible, causal=cache.visible is None)

    def _look_at_all(
        self,
        normed: Tensor,
        memory: KeyValue,
        rotation: Rotation | None,
        visible: Tensor | None,
        cache: LayerCache | None,
    ) -> Tensor:
        """Self-attention (B, T, D) that looks at memory and at its own tokens."""
        own = self.attention.keys_values(normed, rotation)
        if cache is not None:
            own = cache.extend(own)
        if cache is None or cache.visible is None:
            tokens = normed.shape[1]
            seen = normed.new_ones(tokens, tokens, dtype=torch.bool).tril()[None, None]
        else:
            seen = cache.visible
        used = memory.keys[:, 0].any(-1)[:, None, None, :]  # (B, 1, 1, S)
        if visible is not None:
            used = used & visible
        return self.attention.beside(normed, memory, own, rotation, (used, seen))


class TiedHead(nn.Module):
    """A head whose matrix is the embedding table."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = embedding

    @property
    def weight(self) -> Tensor:
        """(V, D), as that of a linear layer."""
        return self.embedding.weight

    def forward(self, states: Tensor) -> Tensor:
        """Logits (…, V) of states (…, D)."""
        return F.linear(states, self.weight)

    def as_linear(self) -> nn.Linear:
        """The same as a linear layer around the same table."""
        words, width = self.embedding.weight.shape
        with torch.device("meta"):
            linear = nn.Linear(width, words, bias=False)
        linear.weight = self.embedding.weight
        return linear


class Decoder(nn.Module):
    """Embedding → stateless layers → layers, L of them with memory → final stateless layers → head norm → logits.

    - whole texts, in training: ``forward`` (logits), ``hidden`` (states), ``hidden_reading`` (of a projected memory)
    - answering: ``begin`` (a prompt), then ``step`` (a token after another), with a ``new_cache``
    - projecting a memory, once a turn: ``project_memory``, ``project_filled``, ``project_next``
    - on a frozen base, in training: ``below`` and ``normed_inputs``, which do not depend on a memory
    """

    def __init__(self, config: DecoderConfig, embedding: nn.Embedding) -> None:
        super().__init__()
        self.config = config
        self.embedding = embedding

        def layer(feed_forward: FeedForward, reads: bool = False) -> DecoderLayer:
            place = config.place if reads else None
            cross_attention = config.cross_attention if reads and place is None else None
            return DecoderLayer(
                config.width,
                config.self_attention,
                cross_attention,
                feed_forward,
                config.norm,
                config.norm_eps,
                config.read_scale,
                config.slot_norm,
                place,
            )

        self.stateless = nn.ModuleList(layer(feed_forward) for feed_forward in config.stateless)
        self.layers = nn.ModuleList(
            layer(config.feed_forward, index in config.reading) for index in range(config.layers)
        )
        self.final_stateless = nn.ModuleList(layer(feed_forward) for feed_forward in config.final_stateless)
        self.head_norm = make_norm(config.head_norm, config.width, config.norm_eps) if config.head_norm else None
        self.head = (
            TiedHead(embedding)
            if config.tied_head
            else nn.Linear(config.width, config.vocab_size, bias=config.head_bias)
        )

    def forward(self, ids: Tensor, slots: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) of tokens (B, T) that see the memory ``slots`` (L, B, S, D).

        ``mask`` (B, T) is False at padding on the right, where the logits are zeros.
        """
        logits = self.head(self.hidden(ids, slots, mask).states)
        return logits if mask is None else logits * mask.unsqueeze(-1)

    def hidden(
        self,
        ids: Tensor,
        slots: Tensor | None,
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        below: Tensor | None = None,
    ) -> Hidden:
        """The states (B, T, D) that the head reads, for losses that need logits at some positions only.

        Without ``slots`` no layer reads memory.
        ``memory_mask`` (B, S) is False where the memory is padding, as it may be when encoded texts stand in for slots.
        ``below`` (B, T, D) is what :meth:`below` makes of ``ids``, where that is known.
        """
        memory = None if slots is None else self.project_memory(slots)
        return self.hidden_reading(ids, memory, mask, memory_mask, below)

    def hidden_reading(
        self,
        ids: Tensor,
        memory: list[KeyValue] | None,
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        below: Tensor | None = None,
    ) -> Hidden:
        """As :meth:`hidden`, out of a memory that :meth:`project_memory` has projected."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        visible = None if memory_mask is None else memory_mask[:, None, None, :]
        return self._run(ids, positions, memory, mask, visible, None, below)

    def below(self, ids: Tensor) -> Tensor:
        """The states (B, T, D) before the first layer that reads memory. They depend on the tokens (B, T) alone."""
        x, rotation = self.embedding(ids), self._own_rotation(ids)
        for layer in self._stack()[: self._first_reading]:
            x, _ = layer(x, None, rotation, None, None, None, None)
        return x

    def normed_inputs(self, ids: Tensor, below: Tensor | None = None) -> Tensor:
        """What the self-attention of every layer that reads memory looks at (L, B, T, D), where none reads.

        ``below``: as in :meth:`hidden`.
        """
        x, rotation = self.below(ids) if below is None else below, self._own_rotation(ids)
        reading, inputs = self.reading_layers(), list[Tensor]()
        for layer in self._stack()[self._first_reading :]:
            if layer in reading:
                inputs.append(layer.norm1(x))
            if len(inputs) == len(reading):
                break
            x, _ = layer(x, None, rotation, None, None, None, None)
        return torch.stack(inputs)

    def project_memory(self, slots: Tensor) -> list[KeyValue]:
        """Keys and values of every memory layer for ``slots`` (L, B, S, D): computed once a turn."""
        return [layer.project_memory(memory) for layer, memory in zip(self.reading_layers(), slots, strict=True)]

    def project_filled(self, slots: Tensor) -> list[KeyValue]:
        """As :meth:`project_memory`; of slots that hold tokens, the places behind the last one that holds any are left
        out. The processor waits for the device to see which these are."""
        return self.project_memory(self._filled(slots))

    def project_next(self, before: list[KeyValue] | None, slots: Tensor) -> list[KeyValue]:
        """As :meth:`project_filled`, where ``before`` is what it made of the same memories one interaction ago: what
        can be taken over of it is."""
        filled = self._filled(slots)
        if self.config.place is None or before is None:
            return self.project_memory(filled)
        layers = zip(self.reading_layers(), before, filled, strict=True)
        return [layer.project_newest(read, memory) for layer, read, memory in layers]

    def _filled(self, slots: Tensor) -> Tensor:
        """Slots (L, B, S, D) without the places behind the last one that holds any tokens, one at least."""
        place = self.config.place
        return slots if place is None else slots[:, :, : place * max(1, ceil(used_slots(slots) / place))]

    def new_cache(self, batch_size: int, length: int) -> KVCache:
        """An empty self-attention cache for ``length`` tokens of ``batch_size`` conversations."""
        layers = len(self._stack())
        attention, weight = self.config.self_attention, self.embedding.weight
        head_dim = attention.head_size(self.config.width)
        return KVCache.empty(layers, batch_size, attention.kv_heads, length, head_dim, weight.dtype, weight.device)

    def new_memory_room(self, batch_size: int, slots: int) -> KVCache:
        """Room for what :meth:`project_memory` makes of the memories, of ``slots`` a layer, of ``batch_size``
        conversations."""
        attention, weight = self.config.cross_attention, self.embedding.weight
        head_dim = attention.head_size(self.config.width)
        return KVCache.empty(
            len(self.config.reading), batch_size, attention.kv_heads, slots, head_dim, weight.dtype, weight.device
        )

    def step(self, ids: Tensor, positions: Tensor, memory: list[KeyValue], cache: KVCache) -> Tensor:
        """Logits (B, T, V) of tokens (B, T) at ``positions`` (B, T), which continue what ``cache`` holds."""
        return self.head(self.states_of_step(ids, positions, memory, cache))

    def states_of_step(self, ids: Tensor, positions: Tensor, memory: list[KeyValue] | None, cache: KVCache) -> Tensor:
        """The states (B, T, D) that :meth:`step` passes to the head. Without ``memory`` no layer reads any."""
        return self._run(ids, positions, memory, None, None, cache.at(positions)).states

    def begin(self, ids: Tensor, last: Tensor, memory: list[KeyValue], cache: KVCache) -> Tensor:
        """Logits (B, V) after position ``last`` (B,) of prompts (B, T), which are written into a cache that holds
        nothing yet.

        What stands behind a prompt's last token does not matter.
        """
        states = self.states_of_prompt(ids, memory, cache)
        return self.head(states[torch.arange(len(ids), device=ids.device), last])

    def states_of_prompt(self, ids: Tensor, memory: list[KeyValue] | None, cache: KVCache) -> Tensor:
        """States (B, T, D) of texts (B, T), which are written into a cache that holds nothing yet."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        return self._run(ids, positions, memory, None, None, cache.first(ids.shape[1]).filled()).states

    def _stack(self) -> list[DecoderLayer]:
        every = [*self.stateless, *self.layers, *self.final_stateless]
        return [layer for layer in every if isinstance(layer, DecoderLayer)]

    def reading_layers(self) -> list[DecoderLayer]:
        """Those that read memory, from below."""
        return [layer for index, layer in enumerate(self.layers) if index in self.config.reading]  # type: ignore[misc]

    @property
    def _first_reading(self) -> int:
        """Layers of the whole stack below the first that reads memory."""
        return len(self.stateless) + (self.config.reading[0] if self.config.reading else len(self.layers))

    def _own_rotation(self, ids: Tensor) -> Rotation | None:
        """The turns that self-attention makes at the positions of whole sequences."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        return rotation_of(self.config.self_attention, self.config.width, positions)

    def _run(
        self,
        ids: Tensor,
        positions: Tensor,
        memory: list[KeyValue] | None,
        mask: Tensor | None,
        visible: Tensor | None,
        caches: list[LayerCache] | None,
        below: Tensor | None = None,
    ) -> Hidden:
        x = self.embedding(ids) if below is None else below  # (B, T, D)
        rotation, cross_rotation = rotations_of(
            self.config.self_attention, self.config.cross_attention, self.config.width, positions
        )
        stack = self._stack()
        memories: list[KeyValue | None] = [None] * len(stack)
        for index, layer_memory in zip(self.config.reading, memory or (), strict=memory is not None):
            memories[len(self.stateless) + index] = layer_memory
        balances: list[Tensor] = []
        layers = zip(stack, memories, caches or [None] * len(stack), strict=True)
        for layer, layer_memory, layer_cache in islice(layers, 0 if below is None else self._first_reading, None):
            x, balance = layer(x, layer_memory, rotation, cross_rotation, mask, visible, layer_cache)
            if balance is not None:
                balances.append(balance)
        if self.head_norm is not None:
            x = self.head_norm(x)
        return Hidden(x, torch.stack(balances).mean() if balances else x.new_zeros(()))
