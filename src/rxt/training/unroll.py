"""A whole conversation as one computation: what each turn's decoder sees, and the gradient through the memory.

Two ways compute the same thing. :func:`turn_by_turn` follows the conversation as it happens. :func:`all_turns_at_once`
uses that, with the texts known, only the memory is recurrent: all interactions are encoded together, the memory walks
through the turns, and all answers are decoded together.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rxt.data.collate import Conversations, Rows
from rxt.model.memory_attention import Source
from rxt.model.reactive import ReactiveTransformer
from rxt.training.losses import AnswerScores, answer_scores

LENGTH_GROUPS = 2
"""Parts that rows are sorted into by length."""
Update = Callable[[Tensor, int], Tensor]
"""(slots (L, b, S, D), turn) -> the slots after that turn's interactions of the first b conversations."""


def conversation_scores(
    model: ReactiveTransformer, batch: Conversations, slots: Tensor, window: int | None = None, checkpointing: bool = False
) -> AnswerScores:
    """Score every answer token of B conversations that start from the memory ``slots`` (L, B, S, D).

    ``window``: how many memory updates back a turn's loss sends its gradient; None lets it run through the whole
    conversation. ``checkpointing`` keeps one turn's activations at a time and computes them again going backward.
    """
    in_order = model.encoder.reads_memory or model.memory_attention.config.norm.kind == "ema-rms"  # each turn moves the mean
    if checkpointing or in_order:
        return turn_by_turn(model, batch, slots, window, checkpointing)
    return all_turns_at_once(model, batch, slots, window)


def all_turns_at_once(model: ReactiveTransformer, batch: Conversations, slots: Tensor, window: int | None = None) -> AnswerScores:
    """Encode all rows, walk the memory, decode all rows; rows of like length together, so that little is padding."""
    rows = batch.rows
    remembered = rows[: sum(batch.alive[:-1]) or 1]  # what is said in the last turn, no later turn can remember
    source, turns = read_by_length(model, remembered), list(batch.turns())

    def update(slots: Tensor, turn: int) -> Tensor:
        start = turns[turn].start
        return model.memory_attention.write(slots, source[start : start + slots.shape[1]])

    before = torch.cat(memories_before(update, batch, slots, window), dim=1)  # (L, R, S, D)
    turn_of_row = batch.turn_of_row().to(rows.ids.device)

    def score(group: Tensor) -> AnswerScores:
        part = rows[group]
        hidden = model.decoder.hidden(part.ids, before[:, group], part.mask)
        return answer_scores(hidden, model.decoder.head, part, turn_of_row[group])

    return AnswerScores.join([score(group) for group in rows.by_length(LENGTH_GROUPS)])


def read_by_length(model: ReactiveTransformer, rows: Rows) -> Source:
    """What rows (R, T) offer to the write, encoded in groups of like length; zeros at padding."""
    groups = rows.by_length(LENGTH_GROUPS)
    parts = [model.memory_attention.read(model.encoder(part.ids, part.mask)) for part in (rows[group] for group in groups)]
    back, longest = torch.cat(groups).argsort(), rows.ids.shape[1]

    def whole(parts: list[Tensor]) -> Tensor:
        return torch.cat([F.pad(part, (0, 0, 0, longest - part.shape[-2])) for part in parts], dim=1)[:, back]

    return Source(whole([part.keys for part in parts]), whole([part.values for part in parts]), rows.mask)


def turn_by_turn(
    model: ReactiveTransformer, batch: Conversations, slots: Tensor, window: int | None = None, checkpointing: bool = False
) -> AnswerScores:
    """Walk through the turns as a conversation does: encode and update, then decode the next."""

    turns = [batch.rows[rows] for rows in batch.turns()]

    def update(slots: Tensor, turn: int) -> Tensor:
        rows = turns[turn][: slots.shape[1]]
        encoded = model.encoder(rows.ids, rows.mask, slots if model.encoder.reads_memory else None)
        return model.memory_attention(slots, encoded, rows.mask)

    def score(slots: Tensor, turn: int) -> AnswerScores:
        rows = turns[turn]
        hidden = model.decoder.hidden(rows.ids, slots, rows.mask)
        return answer_scores(hidden, model.decoder.head, rows, torch.full((len(rows),), turn))

    if checkpointing:
        memories = memories_before(partial(checkpoint, update, use_reentrant=False), batch, slots, window)
        return AnswerScores.join([checkpoint(score, memory, turn, use_reentrant=False) for turn, memory in enumerate(memories)])
    return AnswerScores.join([score(memory, turn) for turn, memory in enumerate(memories_before(update, batch, slots, window))])


def memories_before(update: Update, batch: Conversations, slots: Tensor, window: int | None) -> list[Tensor]:
    """What each turn's decoder sees: for turn t the memory (L, alive[t], S, D) after the t interactions before it."""
    if window is None:
        return _chain(update, batch, slots, 0, len(batch.alive))
    with torch.no_grad():
        values = _chain(update, batch, slots, 0, len(batch.alive))
    memories = values[:1]
    for turn in range(1, len(batch.alive)):
        first = max(0, turn - window)
        memories.append(_chain(update, batch, cut_graph(values[first]), first, turn + 1)[-1])
    return memories


def cut_graph(slots: Tensor) -> Tensor:
    """The one place where the gradient through a conversation is cut."""
    return slots.detach()


def _chain(update: Update, batch: Conversations, slots: Tensor, first: int, last: int) -> list[Tensor]:
    """Memories before turns ``first`` … ``last`` − 1, each for the conversations that reach its turn."""
    memories = [slots[:, : batch.alive[first]]]
    for turn in range(first + 1, last):
        memories.append(update(memories[-1][:, : batch.alive[turn]], turn - 1))
    return memories
