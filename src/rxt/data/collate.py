"""Encoded interactions as tensors. Nothing is lost: every row and every token of the input is in the batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from rxt.data.markup import Encoded

if TYPE_CHECKING:
    from rxt.data.asked import Asked

PART_COST = 256
"""Tokens that take as long as one more part of a batch."""
PART_COST_ON_GPU = 32_768
"""The same on a GPU, where a part takes longer to start than to compute: an estimate, not a measurement."""


@dataclass(frozen=True)
class Rows:
    """R token sequences, padded on the right to the longest."""

    ids: Tensor
    """(R, T) token ids."""
    mask: Tensor
    """(R, T) True at real tokens."""
    targets: Tensor
    """(R, T) True at tokens that the model must produce."""
    known_lengths: tuple[int, ...] | None = None
    """Where they are known: asking a GPU would wait until it has done all it was told."""

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Real tokens of each row, as numbers."""
        return tuple(self.mask.sum(1).tolist()) if self.known_lengths is None else self.known_lengths

    def __getitem__(self, rows: slice | Tensor) -> Rows:
        """Some of the rows, by slice or by index (r,), cut to the longest among them. Slices wait for no GPU."""
        lengths = self.lengths[rows] if isinstance(rows, slice) else None
        mask = self.mask[rows]
        longest = int(mask.sum(1).max()) if lengths is None else max(lengths)
        return Rows(self.ids[rows, :longest], mask[:, :longest], self.targets[rows, :longest], lengths)

    def __len__(self) -> int:
        return self.ids.shape[0]

    def to(self, device: torch.device) -> Rows:
        """The same rows on a device."""
        return Rows(self.ids.to(device), self.mask.to(device), self.targets.to(device), self.lengths)

    def followed_by(self, others: Rows) -> Rows:
        """These rows and then the others, padded to the longest."""
        longest = max(self.ids.shape[1], others.ids.shape[1])

        def both(first: Tensor, second: Tensor) -> Tensor:
            return torch.cat([F.pad(part, (0, longest - part.shape[1])) for part in (first, second)])

        parts = (both(self.ids, others.ids), both(self.mask, others.mask), both(self.targets, others.targets))
        return Rows(*parts, (*self.lengths, *others.lengths))

    def by_length(self, groups: int) -> list[Tensor]:
        """Row indices, shortest rows first, in at most ``groups`` parts: computed apart, they need little padding."""
        size = -(-len(self) // groups)
        return list(self.mask.sum(1).argsort(stable=True).split(size))

    def with_little_padding(self) -> list[Tensor]:
        """Row indices, shortest rows first, in the parts that cost the least when each is padded to its own longest."""
        order = torch.tensor(self.lengths).argsort(stable=True)
        part_cost = PART_COST if self.ids.device.type == "cpu" else PART_COST_ON_GPU
        return list(order.to(self.ids.device).split(cheapest_parts(sorted(self.lengths), part_cost)))

    @property
    def tokens(self) -> int:
        """Real tokens, without padding."""
        return sum(self.lengths)


@dataclass(frozen=True)
class Shortened:
    """Rows without what is not memorized of them."""

    rows: Rows
    of: Tensor
    """(K,) the numbers of the rows that they stand for."""

    def to(self, device: torch.device) -> Shortened:
        """The same on a device."""
        return Shortened(self.rows.to(device), self.of.to(device))


@dataclass(frozen=True)
class Conversations:
    """B conversations, longest first, as rows ordered by turn and then by conversation.

    The conversations that reach turn t are the first ``alive[t]``, so each turn is one slice of the rows and a
    shrinking prefix of the memory's batch: a conversation that has ended costs nothing.
    """

    rows: Rows
    alive: tuple[int, ...]
    """Conversations that have a turn t, for every t; it never rises."""
    shortened: Shortened | None = None
    """Where not all of a row is memorized."""

    def memorized(self, rows: slice | Tensor) -> Rows:
        """What is memorized of some of the rows, by slice or by index (r,)."""
        return self.rows[rows] if self.shortened is None else self.every[self.memorized_at[rows]]

    @cached_property
    def every(self) -> Rows:
        """The rows, followed by the shortened ones."""
        return self.rows if self.shortened is None else self.rows.followed_by(self.shortened.rows)

    @cached_property
    def memorized_at(self) -> Tensor:
        """(R,) for each row, which of ``every`` is memorized of it."""
        at = torch.arange(len(self.rows), device=self.rows.ids.device)
        if self.shortened is not None:
            at[self.shortened.of] = len(at) + torch.arange(len(self.shortened.of), device=at.device)
        return at

    @property
    def size(self) -> int:
        """B: conversations in the batch."""
        return self.alive[0]

    @property
    def changes(self) -> int:
        """Interactions that a later turn can remember: all but the last of each conversation."""
        return len(self.rows) - self.size

    def to(self, device: torch.device) -> Conversations:
        """The same conversations on a device."""
        return Conversations(
            self.rows.to(device), self.alive, None if self.shortened is None else self.shortened.to(device)
        )

    def turns(self) -> Iterator[slice]:
        """The rows of turn 0, 1, …"""
        start = 0
        for count in self.alive:
            yield slice(start, start + count)
            start += count

    def turn_of_row(self) -> Tensor:
        """(R,) the turn that each row belongs to."""
        return torch.repeat_interleave(torch.arange(len(self.alive)), torch.tensor(self.alive))

    def targets_by_turn(self, turns: int) -> Tensor:
        """(turns,) how many targets each turn has, for at least as many turns as there are here."""
        targets = self.rows.targets[:, 1:].sum(1).cpu()
        return torch.zeros(turns, dtype=torch.long).index_add(0, self.turn_of_row(), targets)


def cheapest_parts(lengths: Sequence[int], part_cost: int) -> list[int]:
    """How many rows each part takes of rows whose lengths rise, so that all parts cost the least.

    A part costs its rows times its longest, and ``part_cost`` besides: of a few long rows among many short ones it is
    worth while to compute the long ones apart, of like ones it is not.
    """
    ends = [end for end in range(1, len(lengths) + 1) if end == len(lengths) or lengths[end] > lengths[end - 1]]
    best: dict[int, tuple[int, int]] = {0: (0, 0)}  # rows so far -> what they cost, and where their last part begins
    for end in ends:
        longest = lengths[end - 1]
        best[end] = min((cost + (end - start) * longest + part_cost, start) for start, (cost, _) in best.items())
    parts: list[int] = []
    end = len(lengths)
    while end:
        start = best[end][1]
        parts.append(end - start)
        end = start
    return parts[::-1]


def collate_rows(sequences: Sequence[Encoded], pad: int) -> Rows:
    """Stack sequences in their order, padded to the longest."""
    length = max(len(sequence.ids) for sequence in sequences)
    ids = torch.full((len(sequences), length), pad)
    mask = torch.zeros(len(sequences), length, dtype=torch.bool)
    targets = torch.zeros(len(sequences), length, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence.ids)] = torch.tensor(sequence.ids)
        mask[row, : len(sequence.ids)] = True
        targets[row, : len(sequence.ids)] = torch.tensor(sequence.loss)
    return Rows(ids, mask, targets, tuple(len(sequence.ids) for sequence in sequences))


def collate_conversations(conversations: Sequence[Sequence[Encoded]], pad: int) -> Conversations:
    """Arrange conversations of any number of turns, longest first. A system prompt is simply a first turn without
    targets."""
    ordered = sorted(conversations, key=len, reverse=True)
    turns = range(len(ordered[0]))
    alive = tuple(sum(len(conversation) > turn for conversation in ordered) for turn in turns)
    sequences = [ordered[index][turn] for turn in turns for index in range(alive[turn])]
    return Conversations(collate_rows(sequences, pad), alive, _shortened(sequences, pad))


def _shortened(sequences: Sequence[Encoded], pad: int) -> Shortened | None:
    """Those of which not all is memorized."""
    found = [(row, sequence.memorized) for row, sequence in enumerate(sequences) if any(sequence.aside)]
    if not found:
        return None
    rows = collate_rows([Encoded(ids, [False] * len(ids)) for _, ids in found], pad)
    return Shortened(rows, torch.tensor([row for row, _ in found]))


@dataclass(frozen=True)
class Ways:
    """The ways to answer one turn, each a whole interaction. Without a rejected one the turn is only memorized."""

    accepted: Encoded
    rejected: Encoded | None = None
    neutral: Encoded | None = None
    question: Asked | None = None
    """What a right answer of a pair holds, where that is known."""


@dataclass(frozen=True)
class Preferences:
    """B conversations as they should have gone, and the pairs of answers of some of their turns."""

    accepted: Conversations
    """What is memorized."""
    answers: Rows
    """(2P + N, T): the accepted interactions of the P pairs, the rejected ones in the same order, then N neutral
    ones."""
    turn_row: Tensor
    """(2P + N,) the row of ``accepted`` in whose turn each of them is said: it reads that turn's memory."""
    pairs: int
    """P"""
    questions: tuple[Asked | None, ...] = ()
    """(P,) what the right answers hold, where that is known."""

    @property
    def neutral(self) -> int:
        """N"""
        return len(self.answers) - 2 * self.pairs

    def to(self, device: torch.device) -> Preferences:
        """The same on a device."""
        return Preferences(
            self.accepted.to(device), self.answers.to(device), self.turn_row.to(device), self.pairs, self.questions
        )


def collate_preferences(conversations: Sequence[Sequence[Ways]], pad: int) -> Preferences:
    """Arrange conversations of which one at least has a pair; only their accepted interactions go into the memory."""
    ordered = sorted(conversations, key=len, reverse=True)  # as collate_conversations has them
    accepted = collate_conversations([[ways.accepted for ways in each] for each in ordered], pad)
    by_row = [ordered[index][turn] for turn, count in enumerate(accepted.alive) for index in range(count)]
    pairs = [(row, ways) for row, ways in enumerate(by_row) if ways.rejected is not None]
    rejected = [(row, ways.rejected) for row, ways in pairs if ways.rejected is not None]
    neutral = [(row, ways.neutral) for row, ways in enumerate(by_row) if ways.neutral is not None]
    answers = [*((row, ways.accepted) for row, ways in pairs), *rejected, *neutral]
    rows, questions = torch.tensor([row for row, _ in answers]), tuple(ways.question for _, ways in pairs)
    return Preferences(accepted, collate_rows([encoded for _, encoded in answers], pad), rows, len(pairs), questions)
