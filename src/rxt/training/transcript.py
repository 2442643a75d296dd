"""Conversations that are answered out of all that was encoded before: a memory that forgets nothing.

What a turn's decoder sees are the fresh slots, and every token of the interactions before it as the encoder gives it
and the write norms it: a slot that looks at one token alone would hold just that. So decoder and encoder learn what is
to be looked up, and how, before the memory attention has learned to keep any of it; and no turn waits for another.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rxt.data.collate import Conversations
from rxt.generation.scoring import AnswerScores, answer_scores
from rxt.model.attention import KeyValue
from rxt.model.reactive import ReactiveTransformer
from rxt.training.memories import asked_rows, remembered_rows
from rxt.training.unroll import joined


def transcript_scores(model: ReactiveTransformer, batch: Conversations, slots: Tensor) -> AnswerScores:
    """Score every answer token of B conversations that begin with ``slots`` (L, B, S, D)."""
    decoder, device = model.decoder, batch.rows.ids.device
    if model.config.memory_init == "zeros":
        slots = slots[:, :, :1]  # they are all alike
    told, told_in = transcripts(model, batch, slots)
    keys_values, asked = decoder.project_memory(told), asked_rows(batch)
    rows, owner, turn = batch.rows[asked], row_numbers(batch)[asked], batch.turn_of_row().to(device)[asked]
    scores = list[AnswerScores]()
    for group in rows.with_little_padding():
        part, whose = rows[group], owner[group]
        memory = [KeyValue(*(each.index_select(0, whose) for each in layer)) for layer in keys_values]
        visible = told_in[whose] < turn[group][:, None]
        hidden = decoder.hidden_reading(part.ids, memory, part.mask, visible)
        scores.append(answer_scores(hidden, decoder.head, part, turn[group]))
    return AnswerScores.join(scores)


def transcripts(model: ReactiveTransformer, batch: Conversations, slots: Tensor) -> tuple[Tensor, Tensor]:
    """What can be looked up of each conversation (L, B, S + N, D), and the turn that told it (B, S + N): −1 for the
    fresh slots, one that never comes for padding."""
    remembered = remembered_rows(batch)
    fresh = remembered.new_full((slots.shape[1], slots.shape[2]), -1)
    if not len(remembered):
        return slots, fresh
    rows, owners, turns = batch.memorized(remembered), row_numbers(batch), batch.turn_of_row().to(remembered.device)
    owner, turn = (each[remembered][:, None].expand_as(rows.mask)[rows.mask] for each in (owners, turns))  # (N,)
    groups = rows.with_little_padding()
    parts = [model.encoder(part.ids, part.mask) for part in (rows[group] for group in groups)]
    encoded = joined([model.memory_attention.normed(part) for part in parts], torch.cat(groups), rows.ids.shape[1])
    tokens = encoded[:, rows.mask]  # (L, N, D)
    places, seen = per_conversation(owner, batch.size)
    of_each = tokens.index_select(1, places.flatten()).unflatten(1, places.shape)
    never = len(batch.alive)
    return torch.cat((slots, of_each), 2), torch.cat((fresh, turn[places].masked_fill(~seen, never)), 1)


def row_numbers(batch: Conversations) -> Tensor:
    """(R,) the conversation that each row is of."""
    return torch.cat([torch.arange(count) for count in batch.alive]).to(batch.rows.ids.device)


def per_conversation(owner: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(B, N) which tokens are of each conversation, in their order, and where there is one at all."""
    counts = owner.bincount(minlength=size)
    seen = torch.arange(int(counts.max()), device=owner.device) < counts[:, None]
    places = torch.zeros(seen.shape, dtype=torch.long, device=owner.device)
    places[seen] = owner.argsort(stable=True)
    return places, seen
