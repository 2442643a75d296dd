"""The memories that the turns of conversations read, for a decoder that is trained on all of them at once.

:class:`Walked` holds them as they are: whatever the memory attention, one update after another. Where it is a queue
(:mod:`rxt.model.memory_queue`), nothing but its open slots has to be walked through. t turns into a conversation, place
p holds what interaction t-1-p wrote, p steps older; or, where there was none, what place p-t of the fresh memory held,
t steps older. So all memories are selections among the same few pieces, and :class:`Queued` holds those. What is linear
in slots can be computed for the pieces: with κ the projection to keys or values and a the ages, κ(n + a) = κ(n) + κ(a)
- κ(0). For 8 conversations of 10 turns and 18 places these are 72 interactions' pieces instead of 1,296.

Queues of tokens have no ages and no open slots, and slots that hold nothing are not seen: :class:`QueuedTokens` leaves
out the places that are still empty in all of the memories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rxt.data.collate import Conversations
from rxt.model.attention import Attention, KeyValue
from rxt.model.decoder import Decoder, DecoderLayer
from rxt.model.memory_attention import MemoryAttention, Projected
from rxt.model.memory_queue import LearnedQueue, Queue


class Memories(Protocol):
    """M memories, one for each row of a batch of conversations, in the order of its rows."""

    def __len__(self) -> int: ...

    def some(self, rows: Tensor) -> Tensor:
        """The memories (L, r, S, D) of ``rows`` (r,); of fewer slots, where the last ones of all memories are empty and
        are not seen."""
        ...

    def projected(self, decoder: Decoder, parts: Sequence[Tensor]) -> list[list[KeyValue]]:
        """What the layers of ``decoder`` that read see, for each part (r,) of the rows: a list by layer."""
        ...


@dataclass(frozen=True)
class Walked:
    """Memories as updates have left them."""

    turns: list[Tensor]
    """Of every turn (L, alive[t], S, D)."""

    def __len__(self) -> int:
        return sum(turn.shape[1] for turn in self.turns)

    def some(self, rows: Tensor) -> Tensor:
        every = torch.cat(self.turns, dim=1)
        return every.index_select(1, rows.to(every.device))

    def projected(self, decoder: Decoder, parts: Sequence[Tensor]) -> list[list[KeyValue]]:
        # one selection for all: the gradient of each is as large as all memories together
        chosen = self.some(torch.cat(list(parts))).split([len(part) for part in parts], dim=1)
        return [decoder.project_memory(slots) for slots in chosen]


@dataclass(frozen=True)
class Queued:
    """Memories as selections among pieces."""

    pieces: Tensor
    """(L, P, R, D) what can stand at a place, as if it were the newest."""
    ages: Tensor
    """(L, G, D) by how much the content of a place differs from that."""
    open: Tensor
    """(L, M, S - G·R, D) the slots that every interaction may write to."""
    at: Tensor
    """(M, G) which piece stands where."""

    def __len__(self) -> int:
        return len(self.at)

    def some(self, rows: Tensor) -> Tensor:
        rows = rows.to(self.at.device)
        queues = _standing(self.pieces, self.at[rows], self.ages.unsqueeze(2))
        return torch.cat((queues, self.open.index_select(1, rows)), 2)

    def projected(self, decoder: Decoder, parts: Sequence[Tensor]) -> list[list[KeyValue]]:
        pieces_ages_open = zip(self.pieces.unbind(), self.ages.unbind(), self.open.unbind(), strict=True)
        by_layer = [
            self._of_layer(layer.cross_attention, *each, parts)
            for layer, each in zip(decoder.reading_layers(), pieces_ages_open, strict=True)
        ]
        return [list(of_part) for of_part in zip(*by_layer, strict=True)]

    def _of_layer(
        self, attention: Attention, pieces: Tensor, ages: Tensor, opened: Tensor, parts: Sequence[Tensor]
    ) -> list[KeyValue]:
        """What one layer sees, for each part of the rows."""
        of_pieces = attention.project(pieces)
        of_ages = attention.project(torch.cat((ages, ages.new_zeros(1, ages.shape[-1]))).unsqueeze(0))
        of_open = attention.project(opened)
        every = [torch.stack(each, 0).transpose(2, 3) for each in (of_pieces, of_ages, of_open)]  # (2, …, S, Hkv, Hd)
        pieces, aged, opened = (each.flatten(3) for each in every)
        steps = (aged[:, 0, :-1] - aged[:, 0, -1:]).unsqueeze(2)  # (2, G, 1, Hkv·Hd)
        found = list[KeyValue]()
        for rows in parts:
            queue = _standing(pieces, self.at[rows], steps)
            whole = torch.cat((queue, opened.index_select(1, rows)), 2)  # (2, r, S, Hkv·Hd)
            keys, values = whole.unflatten(-1, (of_pieces.keys.shape[1], -1)).transpose(2, 3)
            found.append(KeyValue(attention.normed(keys), values))
        return found


@dataclass(frozen=True)
class QueuedTokens:
    """Memories of tokens as selections among pieces."""

    pieces: Tensor
    """(L, P, R, D) what can stand at a place."""
    at: Tensor
    """(M, G) which piece stands where; of all places, those that hold something in any of the memories."""

    def __len__(self) -> int:
        return len(self.at)

    def some(self, rows: Tensor) -> Tensor:
        at = self.at[rows.to(self.at.device)]
        return _chosen(self.pieces, at).flatten(2, 3)

    def projected(self, decoder: Decoder, parts: Sequence[Tensor]) -> list[list[KeyValue]]:
        by_layer = [
            self._of_layer(layer, pieces, parts)
            for layer, pieces in zip(decoder.reading_layers(), self.pieces.unbind(), strict=True)
        ]
        return [list(of_part) for of_part in zip(*by_layer, strict=True)]

    def _of_layer(self, layer: DecoderLayer, pieces: Tensor, parts: Sequence[Tensor]) -> list[KeyValue]:
        """What one layer sees, for each part of the rows."""
        read, filled = layer.attention.project(pieces), pieces.any(-1)  # (P, Hkv, R, Hd) each, and (P, R)
        keys = layer.attention.normed(read.keys)
        found = list[KeyValue]()
        for rows in parts:
            at = self.at[rows]
            chosen, values = (each[at].transpose(1, 2).flatten(2, 3) for each in (keys, read.values))
            found.append(layer.placed(chosen, values, filled[at].flatten(1)))  # (r, Hkv, G·R, Hd) each
        return found


def _standing(pieces: Tensor, at: Tensor, steps: Tensor) -> Tensor:
    """The queues (K, r, G·R, D) of rows whose places hold the pieces (K, P, R, D) ``at`` (r, G), ``steps`` (K, G, 1, D)
    older."""
    return (_chosen(pieces, at) + steps.unsqueeze(1)).flatten(2, 3)


def _chosen(pieces: Tensor, at: Tensor) -> Tensor:
    """(K, r, G, R, D) of the pieces (K, P, R, D) those ``at`` (r, G)."""
    return pieces.index_select(1, at.flatten()).unflatten(1, at.shape)


def is_queue(memory_attention: MemoryAttention, decoder: Decoder) -> bool:
    """Whether :func:`queued` can say what ``decoder`` sees: the memory is a queue, and is projected as it is."""
    plain = all(layer.place is not None or layer.stm_norm is None for layer in decoder.reading_layers())
    return plain and all(isinstance(layer, Queue) for layer in memory_attention.layers)


def queued(
    memory_attention: MemoryAttention, said: Projected, batch: Conversations, slots: Tensor
) -> Queued | QueuedTokens:
    """The memories of all turns of conversations that begin with ``slots`` (L, B, S, D), out of what is ``said`` in all
    turns but the last: interactions by turn and conversation."""
    layers = [layer for layer in memory_attention.layers if isinstance(layer, Queue)]
    mask = None if said.mask is None else said.mask[:, None, None, :]
    sources = zip(layers, said.keys.unbind(), said.values.unbind(), strict=True)
    taken_in = [layer.take_in(KeyValue(keys, values), mask) for layer, keys, values in sources]
    newest = torch.stack([new for new, _ in taken_in]).to(slots.dtype)  # (L, N, R, D)
    place, held = layers[0].place, layers[0].queued
    fresh = slots[:, :, :held].unflatten(2, (-1, place))  # (L, B, G, R, D)
    learned = [layer for layer in layers if isinstance(layer, LearnedQueue)]
    if not learned:
        return _queued_tokens(newest, fresh, batch)
    offered = torch.stack([to_open for _, to_open in taken_in]).to(slots.dtype)
    ages = torch.stack([layer.ages() for layer in learned])  # (L, G, D)
    pieces = torch.cat((newest, (fresh - ages[:, None, :, None]).flatten(1, 2)), 1)
    return Queued(pieces, ages, _walk(learned, offered, batch, slots[:, :, held:]), _places(batch, fresh.shape[2]))


def _queued_tokens(newest: Tensor, fresh: Tensor, batch: Conversations) -> QueuedTokens:
    """Memories that begin with ``fresh`` (L, B, G, R, D) and have taken in ``newest`` (L, N, R, D)."""
    places = fresh.shape[2]
    if fresh.any():
        return QueuedTokens(torch.cat((newest, fresh.flatten(1, 2)), 1), _places(batch, places))
    at = _places(batch, min(places, max(1, len(batch.alive) - 1)))
    nothing = newest.new_zeros(len(newest), 1, *newest.shape[2:])
    return QueuedTokens(torch.cat((newest, nothing), 1), at.clamp(max=newest.shape[1]))


def _walk(layers: Sequence[LearnedQueue], offered: Tensor, batch: Conversations, slots: Tensor) -> Tensor:
    """The open slots (L, M, O, D) before every row, out of the fresh ones (L, B, O, D) and what the interactions offer
    them (L, N, O, D)."""
    if not slots.shape[2]:
        return slots.new_empty(len(slots), len(batch.rows), 0, slots.shape[-1])
    turns = [slots[:, : batch.alive[0]]]
    for new in offered.split(batch.alive[1:], dim=1) if len(batch.alive) > 1 else ():
        old = turns[-1][:, : new.shape[1]]
        turns.append(torch.stack([layer.gate(*each) for layer, *each in zip(layers, old, new, strict=True)]))
    return torch.cat(turns, 1)


def _places(batch: Conversations, places: int) -> Tensor:
    """(M, G) which piece stands at each place, for every row of a batch."""
    starts, interactions = list[int](), 0
    for count in batch.alive[1:]:
        starts.append(interactions)
        interactions += count
    rows = [
        [
            starts[turn - 1 - place] + row if place < turn else interactions + row * places + place - turn
            for place in range(places)
        ]
        for turn, alive in enumerate(batch.alive)
        for row in range(alive)
    ]
    return torch.tensor(rows, device=batch.rows.ids.device)


def remembered_rows(batch: Conversations) -> Tensor:
    """(N,) the rows that a later turn of their conversation can remember, by turn and conversation."""
    starts = [turn.start for turn in batch.turns()]
    parts = [torch.arange(start, start + count) for start, count in zip(starts, batch.alive[1:], strict=False)]
    return torch.cat(parts).to(batch.rows.ids.device) if parts else torch.empty(0, dtype=torch.long)


def asked_rows(batch: Conversations) -> Tensor:
    """(Q,) the rows that have targets; all where none has."""
    asked = batch.rows.targets[:, 1:].any(1).nonzero().squeeze(1)
    return asked if len(asked) else torch.arange(len(batch.rows), device=asked.device)
