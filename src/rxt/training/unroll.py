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
from rxt.model.reactive import ReactiveTransformer
from rxt.training.losses import AnswerScores, answer_scores

LENGTH_GROUPS = 4
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
    if checkpointing or model.encoder.reads_memory:
        return turn_by_turn(model, batch, slots, window, checkpointing)
    return all_turns_at_once(model, batch, slots, window)


def all_turns_at_once(model: ReactiveTransformer, batch: Conversations, slots: Tensor, window: int | None = None) -> AnswerScores:
    """Encode all rows, walk the memory, decode all rows; rows of like length together, so that little is padding."""
    rows, earlier = batch.rows, batch.alive[:-1]
    remembered = rows[: sum(earlier) or 1]  # what is said in the last turn, no later turn can remember
    encoded = encode_by_length(model, remembered).split(earlier or [1], dim=1)  # a turn's (L, alive, T, D) each
    masks = remembered.mask.split(earlier or [1])

    def update(slots: Tensor, turn: int) -> Tensor:
        conversations = slots.shape[1]
        mask = masks[turn][:conversations]
        length = int(mask.sum(1).max())
        return model.memory_attention(slots, encoded[turn][:, :conversations, :length], mask[:, :length])

    before = torch.cat(memories_before(update, batch, slots, window), dim=1)  # (L, R, S, D)
    turn_of_row = batch.turn_of_row().to(rows.ids.device)

    def score(group: Tensor) -> AnswerScores:
        part = rows[group]
        hidden = model.decoder.hidden(part.ids, before[:, group], part.mask)
        return answer_scores(hidden, model.decoder.head, part, turn_of_row[group])

    return AnswerScores.join([score(group) for group in rows.by_length(LENGTH_GROUPS)])


def encode_by_length(model: ReactiveTransformer, rows: Rows) -> Tensor:
    """The encoded rows (L, R, T, D), computed in groups of like length; zeros at padding."""
    groups = rows.by_length(LENGTH_GROUPS)
    parts = [rows[group] for group in groups]
    outputs = [F.pad(model.encoder(part.ids, part.mask), (0, 0, 0, rows.ids.shape[1] - part.ids.shape[1])) for part in parts]
    return torch.cat(outputs, dim=1)[:, torch.cat(groups).argsort()]


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
