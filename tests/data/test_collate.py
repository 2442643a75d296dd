"""Batches: nothing is lost, nothing is padded more than it must be."""

from __future__ import annotations

from random import Random

import torch
from hypothesis import given
from hypothesis import strategies as st

from rxt.data.collate import Rows, Ways, collate_conversations, collate_preferences, collate_rows
from rxt.data.template import Encoded

PAD = 0
INTERACTIONS = st.lists(st.integers(1, 99), min_size=1, max_size=7).map(
    lambda ids: Encoded(ids, [token % 2 == 0 for token in ids])
)
CONVERSATIONS = st.lists(st.lists(INTERACTIONS, min_size=1, max_size=5), min_size=1, max_size=6)


def rows_of(rows: Rows) -> list[Encoded]:
    """The sequences that a batch holds, without their padding."""
    found = []
    for ids, mask, targets in zip(rows.ids, rows.mask, rows.targets, strict=True):
        length = int(mask.sum())
        assert mask[:length].all()
        assert (ids[length:] == PAD).all()
        assert not targets[length:].any()
        found.append(Encoded(ids[:length].tolist(), targets[:length].tolist()))
    return found


@given(st.lists(INTERACTIONS, min_size=1, max_size=9))
def test_rows_hold_every_sequence_in_order(sequences: list[Encoded]) -> None:
    rows = collate_rows(sequences, PAD)
    assert rows_of(rows) == sequences
    assert rows.ids.shape[1] == max(len(sequence.ids) for sequence in sequences)
    assert len(rows) == len(sequences)
    assert rows.tokens == sum(len(sequence.ids) for sequence in sequences)


@given(st.lists(INTERACTIONS, min_size=1, max_size=9), st.integers(1, 12), st.randoms(use_true_random=False))
def test_some_rows_are_cut_to_the_longest_among_them(sequences: list[Encoded], groups: int, random: Random) -> None:
    rows = collate_rows(sequences, PAD)
    chosen = [random.randrange(len(sequences)) for _ in range(3)]
    part = rows[torch.tensor(chosen)]
    assert rows_of(part) == [sequences[index] for index in chosen]
    assert part.ids.shape[1] == max(len(sequences[index].ids) for index in chosen)
    parts = rows.by_length(groups)
    assert 1 <= len(parts) <= groups
    order = torch.cat(parts).tolist()
    assert sorted(order) == list(range(len(sequences)))
    lengths = [len(sequences[index].ids) for index in order]
    assert lengths == sorted(lengths)


@given(CONVERSATIONS)
def test_every_turn_of_every_conversation_is_there_once(conversations: list[list[Encoded]]) -> None:
    batch = collate_conversations(conversations, PAD)
    ordered = sorted(conversations, key=len, reverse=True)
    assert batch.size == len(conversations)
    assert batch.alive == tuple(sum(len(each) > turn for each in conversations) for turn in range(len(ordered[0])))
    turns = list(batch.turns())
    assert len(turns) == len(batch.alive)
    assert sum(batch.alive) == len(batch.rows)
    for turn, rows in enumerate(turns):
        assert rows_of(batch.rows[rows]) == [each[turn] for each in ordered if len(each) > turn]
        assert (batch.turn_of_row()[rows] == turn).all()


@given(CONVERSATIONS, st.integers(0, 3))
def test_targets_are_counted_by_turn(conversations: list[list[Encoded]], more: int) -> None:
    batch = collate_conversations(conversations, PAD)
    turns = len(batch.alive) + more
    expected = [sum(sum(each[turn].loss[1:]) for each in conversations if len(each) > turn) for turn in range(turns)]
    assert batch.targets_by_turn(turns).tolist() == expected


def test_conversations_of_one_length_keep_their_order() -> None:
    conversations = [[Encoded([index], [False])] * 2 for index in (5, 3, 8)]
    assert collate_conversations(conversations, PAD).rows.ids.flatten().tolist() == [5, 3, 8, 5, 3, 8]


def test_a_batch_moves_to_a_device() -> None:
    batch = collate_conversations([[Encoded([1, 2], [False, True])]], PAD).to(torch.device("meta"))
    assert {batch.rows.ids.device.type, batch.rows.mask.device.type, batch.rows.targets.device.type} == {"meta"}
    assert batch.alive == (1,)


WAYS = st.builds(Ways, INTERACTIONS, st.none() | INTERACTIONS, st.none() | INTERACTIONS)
PAIRED = st.lists(st.lists(WAYS, min_size=1, max_size=5), min_size=1, max_size=6).filter(
    lambda conversations: any(ways.rejected for conversation in conversations for ways in conversation)
)


@given(PAIRED)
def test_preferences_hold_every_pair_at_its_turn(conversations: list[list[Ways]]) -> None:
    batch = collate_preferences(conversations, PAD)
    accepted = rows_of(batch.accepted.rows)
    ordered = sorted(conversations, key=len, reverse=True)
    by_row = [ordered[index][turn] for turn, count in enumerate(batch.accepted.alive) for index in range(count)]
    assert accepted == [ways.accepted for ways in by_row]
    answers, rows = rows_of(batch.answers), batch.turn_row.tolist()
    expected = [
        *((row, ways.accepted) for row, ways in enumerate(by_row) if ways.rejected),
        *((row, ways.rejected) for row, ways in enumerate(by_row) if ways.rejected),
        *((row, ways.neutral) for row, ways in enumerate(by_row) if ways.neutral),
    ]
    assert list(zip(rows, answers, strict=True)) == expected
    assert batch.pairs == sum(ways.rejected is not None for ways in by_row)
    assert batch.questions == (None,) * batch.pairs
    assert batch.neutral == sum(ways.neutral is not None for ways in by_row)
    assert batch.accepted.changes == sum(len(conversation) - 1 for conversation in conversations)
