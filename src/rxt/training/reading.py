"""What a pre-trained base makes of texts, whatever is remembered.

The encoder is the decoder's own layers, so both begin alike: the states below the first layer that reads memory are
computed once for both. Where the layers are frozen, what they make of a text never changes, and may be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from rxt.data.collate import Conversations, Rows
from rxt.generation.scoring import AnswerScores, answer_scores
from rxt.model.checkpoint import READS
from rxt.model.low_rank import without_adapters
from rxt.model.memory_attention import Projected
from rxt.model.reactive import ReactiveTransformer
from rxt.training.memories import Memories, Walked, asked_rows, is_queue, queued, remembered_rows
from rxt.training.text_cache import TextCache
from rxt.training.unroll import joined, memories_before


@dataclass(frozen=True)
class BaseReader:
    """The base of a model whose encoder is the decoder's own layers."""

    model: ReactiveTransformer
    cache: TextCache | None = None
    """Keeps what frozen layers make of texts that come again."""

    def below(self, rows: Rows) -> Tensor:
        """States (R, T, D) before the first layer that reads memory."""
        decoder = self.model.decoder
        parts = [decoder.embedding, *decoder.stateless, *decoder.layers[: decoder.config.reading[0]]]
        return self._read("below", rows, parts, lambda some: decoder.below(rows.ids[some]).unsqueeze(0))[0]

    def encoded(self, rows: Rows, below: Tensor) -> Tensor:
        """What the write reads (L, R, T, D), zeros at padding."""
        decoder = self.model.decoder
        parts = [decoder.embedding, *decoder.stateless, *decoder.layers[: decoder.config.reading[-1] + 1]]
        found = self._read("encoded", rows, parts, lambda some: decoder.normed_inputs(rows.ids[some], below[some]))
        return found * rows.mask[None, :, :, None]

    def said(self, rows: Rows, below: Tensor) -> Tensor:
        """The states (R, T, D) that the head reads where no layer reads memory: what the base itself would say."""
        decoder = self.model.decoder

        def compute(some: Tensor) -> Tensor:
            return decoder.hidden(rows.ids[some], None, below=below[some]).states.unsqueeze(0)

        with torch.no_grad(), without_adapters(decoder):
            return (compute(every_row(rows)) if self.cache is None else self.cache.complete("said", rows, compute))[0]

    def _read(self, kind: str, rows: Rows, parts: list[nn.Module], compute: Callable[[Tensor], Tensor]) -> Tensor:
        """What ``compute`` makes (K, r, T, D) of some rows (r,), for all of them; frozen ``parts`` need no gradient."""
        named = chain.from_iterable(part.named_parameters() for part in parts)
        if any(weight.requires_grad for name, weight in named if set(READS).isdisjoint(name.split("."))):
            return compute(every_row(rows))
        with torch.no_grad():
            return compute(every_row(rows)) if self.cache is None else self.cache.complete(kind, rows, compute)


def every_row(rows: Rows) -> Tensor:
    """(R,) the numbers of all rows."""
    return torch.arange(len(rows), device=rows.ids.device)


def keeping_reader(model: ReactiveTransformer, folder: Path, gigabytes: float, precision: str) -> BaseReader:
    """A reader that keeps what the base makes of texts in a folder, of so many gigabytes at most; of none it keeps
    nothing. ``precision``: that products are computed in."""
    if not gigabytes:
        return BaseReader(model)
    base = model.config.base
    assert base is not None
    depends_on = f"{base.fingerprint}-{'-'.join(map(str, model.config.decoder.reading))}-{precision}"
    return BaseReader(model, TextCache(folder, depends_on, model.config.decoder.width, int(gigabytes * 1e9)))


def read_all(reader: BaseReader, rows: Rows) -> tuple[Tensor, Tensor]:
    """What the base makes of rows, each read once: states (R, T, D) before the first layer that reads memory, and what
    the write reads (L, R, T, D); zeros at padding."""
    parts = list[tuple[Tensor, Tensor, Tensor]]()
    for group in rows.with_little_padding():
        some = rows[group]
        below = reader.below(some)
        parts.append((group, below * some.mask[:, :, None], reader.encoded(some, below)))
    longest, order = rows.ids.shape[1], torch.cat([group for group, _, _ in parts])
    below = joined([part for _, part, _ in parts], order, longest, dim=0)
    return below, joined([part for _, _, part in parts], order, longest)


@dataclass(frozen=True)
class Reading:
    """Some rows of a batch, of like length, and what the base makes of them."""

    index: Tensor
    """(r,) which rows they are."""
    rows: Rows
    below: Tensor
    """(r, T, D)"""


def scores_on_base(
    reader: BaseReader, batch: Conversations, slots: Tensor, window: int | None = None
) -> tuple[AnswerScores, Memories]:
    """As :func:`rxt.training.unroll.conversation_scores`, every text read once; and what each turn's decoder saw.

    Only what a later turn can remember is encoded, only what has targets decoded.
    """
    every = batch.every
    remembered, asked = batch.memorized_at[remembered_rows(batch)], asked_rows(batch)
    used = torch.zeros(len(every), dtype=torch.bool, device=remembered.device)
    used[remembered] = used[asked] = True
    some = used.nonzero().squeeze(1)
    part = every[some]
    readings = [
        Reading(some[group], rows, reader.below(rows))
        for group in part.with_little_padding()
        for rows in (part[group],)
    ]
    memories = remember(reader, readings, remembered, batch, slots, window)
    return decode(reader.model, batch, readings, asked, memories), memories


def remember(
    reader: BaseReader,
    readings: list[Reading],
    remembered: Tensor,
    batch: Conversations,
    slots: Tensor,
    window: int | None,
) -> Memories:
    """What each turn's decoder sees: a selection where the memory is a queue, else the memory walks through all
    turns."""
    memory_attention = reader.model.memory_attention
    if not len(remembered):
        return Walked([slots])
    said = project(reader, readings, batch.every, remembered)
    if window is None and is_queue(memory_attention, reader.model.decoder):
        return queued(memory_attention, said, batch, slots)
    by_turn = said.split(batch.alive[1:])

    def update(slots: Tensor, turn: int) -> Tensor:
        return memory_attention.write(slots, by_turn[turn][: slots.shape[1]])

    return Walked(memories_before(update, batch, slots, window))


def project(reader: BaseReader, readings: list[Reading], every: Rows, remembered: Tensor) -> Projected:
    """What the ``remembered`` (N,) of ``every`` row offer to the write, in their order, no two of them the same; zeros
    at padding."""
    longest = max(every.lengths[row] for row in remembered.tolist())
    parts, order = list[Projected](), list[Tensor]()
    for reading in readings:
        kept = torch.isin(reading.index, remembered).nonzero().squeeze(1)
        if len(kept):
            rows = reading.rows[kept]
            encoded = reader.encoded(rows, reading.below[kept, : rows.ids.shape[1]])
            parts.append(reader.model.memory_attention.project(encoded, rows.mask))
            order.append(reading.index[kept])
    position = torch.empty(len(every), dtype=torch.long, device=remembered.device)
    position[remembered] = torch.arange(len(remembered), device=remembered.device)
    places = position[torch.cat(order)]
    keys = joined([part.keys for part in parts], places, longest)
    values = joined([part.values for part in parts], places, longest)
    lengths = tuple(every.lengths[row] for row in remembered.tolist())
    return Projected(keys, values, every.mask[remembered, :longest], lengths)


def decode(
    model: ReactiveTransformer, batch: Conversations, readings: list[Reading], asked: Tensor, memories: Memories
) -> AnswerScores:
    """Score the ``asked`` rows, each out of its turn's memory."""
    turn_of_row = batch.turn_of_row().to(asked.device)
    chosen = [(reading, torch.isin(reading.index, asked).nonzero().squeeze(1)) for reading in readings]
    chosen = [(reading, rows) for reading, rows in chosen if len(rows)]
    before = memories.projected(model.decoder, [reading.index[rows] for reading, rows in chosen])
    scores = list[AnswerScores]()
    for (reading, rows), memory in zip(chosen, before, strict=True):
        part = reading.rows[rows]
        below = reading.below[rows, : part.ids.shape[1]]
        hidden = model.decoder.hidden_reading(part.ids, memory, part.mask, below=below)
        scores.append(answer_scores(hidden, model.decoder.head, part, turn_of_row[reading.index[rows]]))
    return AnswerScores.join(scores)
