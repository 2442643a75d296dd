"""A whole conversation as one computation: what each turn's decoder sees, and the gradient through the memory.

Three ways compute the same thing. :func:`turn_by_turn` follows the conversation as it happens.
:func:`all_turns_at_once` uses that, with the texts known, only the memory is recurrent: all interactions are encoded
together, the memory walks through the turns, and all answers are decoded together. :func:`answers_at_once` is for
encoders that read memory: they walk along, and only the answers are decoded together. A turn without targets is never
decoded, but by :func:`turn_by_turn`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rxt.data.collate import Conversations, Rows
from rxt.generation.scoring import AnswerScores, answer_scores, score_rows
from rxt.model.decoder import Decoder
from rxt.model.memory_attention import Projected
from rxt.model.reactive import ReactiveTransformer
from rxt.training.memories import Memories, asked_rows, is_queue, queued, remembered_rows

Update = Callable[[Tensor, int], Tensor]
"""(slots (L, b, S, D), turn) -> the slots after that turn's interactions of the first b conversations."""


def conversation_scores(
    model: ReactiveTransformer,
    batch: Conversations,
    slots: Tensor,
    window: int | None = None,
    checkpointing: bool = False,
) -> AnswerScores:
    """Score every answer token of B conversations that start from the memory ``slots`` (L, B, S, D).

    ``window``: how many memory updates back a turn's loss sends its gradient; None lets it run through the whole
    conversation. ``checkpointing`` keeps one turn's activations at a time and computes them again going backward.
    """
    if checkpointing or model.memory_attention.config.norm.kind == "ema-rms":  # each turn moves the mean
        return turn_by_turn(model, batch, slots, window, checkpointing)
    if model.encoder.reads_memory:
        return answers_at_once(model, batch, slots, window)
    return all_turns_at_once(model, batch, slots, window)


def all_turns_at_once(
    model: ReactiveTransformer, batch: Conversations, slots: Tensor, window: int | None = None
) -> AnswerScores:
    """Encode all rows, walk the memory, decode all rows; rows of like length together, so that little is padding. A
    memory that is a queue need not be walked."""
    if window is None and batch.changes and is_queue(model.memory_attention, model.decoder):
        said = read_by_length(model, batch.memorized(remembered_rows(batch)))
        return decode_selected(model.decoder, batch, queued(model.memory_attention, said, batch, slots))
    return decode_at_once(model, batch, memories_before(read_and_write(model, batch), batch, slots, window))


def conversation_memories(
    model: ReactiveTransformer, batch: Conversations, slots: Tensor, window: int | None = None
) -> list[Tensor]:
    """What each turn's decoder sees, computed as :func:`conversation_scores` does it; for decoding other answers than
    those given."""
    walks = model.encoder.reads_memory or model.memory_attention.config.norm.kind == "ema-rms"
    update = encode_and_write(model, batch) if walks else read_and_write(model, batch)
    return memories_before(update, batch, slots, window)


def read_and_write(model: ReactiveTransformer, batch: Conversations) -> Update:
    """The update after which nothing has to be read: all interactions have been encoded together. For encoders that
    read no memory."""
    # what is said in the last turn, no later turn can remember
    remembered = batch.memorized(slice(sum(batch.alive[:-1]) or 1))
    said = read_by_length(model, remembered).split(batch.alive[:-1] or (1,))

    def update(slots: Tensor, turn: int) -> Tensor:
        return model.memory_attention.write(slots, said[turn][: slots.shape[1]])

    return update


def answers_at_once(
    model: ReactiveTransformer, batch: Conversations, slots: Tensor, window: int | None = None
) -> AnswerScores:
    """Walk the memory, encoding each turn's rows with the memory before them, then decode all rows."""
    return decode_at_once(model, batch, memories_before(encode_and_write(model, batch), batch, slots, window))


def encode_and_write(model: ReactiveTransformer, batch: Conversations) -> Update:
    """The update that reads a turn's interactions when it comes to them."""
    turns = [batch.memorized(rows) for rows in batch.turns()]

    def update(slots: Tensor, turn: int) -> Tensor:
        rows = turns[turn][: slots.shape[1]]
        encoded = model.encoder(rows.ids, rows.mask, slots if model.encoder.reads_memory else None)
        return model.memory_attention(slots, encoded, rows.mask)

    return update


def decode_at_once(model: ReactiveTransformer, batch: Conversations, memories: list[Tensor]) -> AnswerScores:
    """Score the rows that have targets, each out of its turn's memory (L, alive[t], S, D); rows of like length
    together."""
    asked = asked_rows(batch)  # (Q,)
    rows, turn_of_row = batch.rows[asked], batch.turn_of_row().to(asked.device)[asked]
    before = torch.cat(memories, dim=1)  # (L, R, S, D)
    if len(asked) < before.shape[1]:
        before = before.index_select(1, asked)  # (L, Q, S, D)
    return score_rows(model.decoder, rows, before, turn_of_row)


def decode_selected(decoder: Decoder, batch: Conversations, memories: Memories) -> AnswerScores:
    """The same out of memories that are selected among pieces."""
    asked = asked_rows(batch)
    rows, turn_of_row = batch.rows[asked], batch.turn_of_row().to(asked.device)[asked]
    groups, scores = rows.with_little_padding(), list[AnswerScores]()
    for group, memory in zip(groups, memories.projected(decoder, [asked[group] for group in groups]), strict=True):
        part = rows[group]
        hidden = decoder.hidden_reading(part.ids, memory, part.mask)
        scores.append(answer_scores(hidden, decoder.head, part, turn_of_row[group]))
    return AnswerScores.join(scores)


def read_by_length(model: ReactiveTransformer, rows: Rows) -> Projected:
    """What rows (R, T) offer to the write, encoded in groups of like length; zeros at padding."""
    groups = rows.with_little_padding()
    parts = [
        model.memory_attention.project(model.encoder(part.ids, part.mask)) for part in (rows[group] for group in groups)
    ]
    order, longest = torch.cat(groups), rows.ids.shape[1]
    keys = joined([part.keys for part in parts], order, longest)
    values = joined([part.values for part in parts], order, longest)
    return Projected(keys, values, rows.mask, rows.lengths)


def joined(parts: Sequence[Tensor], order: Tensor, longest: int, dim: int = 1) -> Tensor:
    """Parts (…, T, D) of rows, which lie along ``dim``, as one: padded with zeros to the ``longest``, and each row at
    its place in ``order`` (R,)."""
    padded = [F.pad(part, (0, 0, 0, longest - part.shape[-2])) for part in parts]
    return torch.cat(padded, dim).index_select(dim, order.argsort())


def turn_by_turn(
    model: ReactiveTransformer,
    batch: Conversations,
    slots: Tensor,
    window: int | None = None,
    checkpointing: bool = False,
) -> AnswerScores:
    """Walk through the turns as a conversation does: encode and update, then decode the next."""

    turns, update = [batch.rows[rows] for rows in batch.turns()], encode_and_write(model, batch)

    def score(slots: Tensor, turn: int) -> AnswerScores:
        rows = turns[turn]
        hidden = model.decoder.hidden(rows.ids, slots, rows.mask)
        return answer_scores(hidden, model.decoder.head, rows, torch.full((len(rows),), turn))

    if checkpointing:
        memories = memories_before(partial(checkpoint, update, use_reentrant=False), batch, slots, window)
        return AnswerScores.join(
            [checkpoint(score, memory, turn, use_reentrant=False) for turn, memory in enumerate(memories)]
        )
    return AnswerScores.join(
        [score(memory, turn) for turn, memory in enumerate(memories_before(update, batch, slots, window))]
    )


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
