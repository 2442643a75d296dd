"""The conversations of a prepared folder in pieces of so many turns, and their interactions one by one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rxt.data.markup import Encoded
from rxt.data.prepared.folder import Chosen, PreparedFolder, Split
from rxt.data.prepared.shard import Role, Shard
from rxt.data.records import Conversation


class Piece(NamedTuple):
    """Some turns of a conversation, with its system prompt before them."""

    folder: PreparedFolder
    sequences: list[Encoded]
    roles: list[int]
    """By ``Role``."""

    @property
    def conversation(self) -> Conversation:
        """The same as text again."""
        return self.folder.conversation(self.sequences, self.roles)


@dataclass(frozen=True, eq=False)
class Pieces:
    """The conversations of a split in consecutive pieces of at most ``turns`` turns, those of fewer than ``shortest``
    left out."""

    folder: PreparedFolder
    split: Split
    turns: int
    shortest: int
    chosen: Chosen

    @classmethod
    def of(cls, folder: PreparedFolder, split: Split, turns: int, shortest: int = 1) -> Pieces:
        """Count the pieces."""

        def pieces(shard: Shard, chosen: NDArray[np.bool_]) -> int:
            return int(pieces_of(shard.turns, turns, shortest)[chosen].sum())

        return cls(folder, split, turns, shortest, folder.count(pieces, split))

    def __len__(self) -> int:
        return self.chosen.total

    def __getitem__(self, number: int) -> Piece:
        """One piece."""
        which, number = self.chosen.find(number)
        shard, ends = self.folder.shard(which), _piece_ends(self, which)
        document = int(np.searchsorted(ends, number, side="right"))
        first = number - (int(ends[document - 1]) if document else 0)
        start, end = (int(bound) for bound in shard.documents[document : document + 2])
        has_system = bool(shard.systems[document])
        begin = start + has_system + first * self.turns
        turns = range(begin, min(end, begin + self.turns))
        sequences = [start, *turns] if has_system else [*turns]
        roles = [int(shard.roles[each]) for each in sequences]
        markup = self.folder.template.markup
        return Piece(self.folder, [markup.noted(shard.sequence(each)) for each in sequences], roles)


def pieces_of(turns: NDArray[np.int64], most: int, shortest: int) -> NDArray[np.int64]:
    """(C,) how many pieces of at most ``most`` turns, and at least ``shortest``, conversations of so many turns
    have."""
    return turns // most * (most >= shortest) + (turns % most >= max(1, shortest))


@lru_cache(maxsize=64)
def _piece_ends(pieces: Pieces, shard: int) -> NDArray[np.int64]:
    """(C,) pieces of a shard up to the end of each conversation; one of the other split has none."""
    counts = pieces_of(pieces.folder.shard(shard).turns, pieces.turns, pieces.shortest)
    return np.cumsum(counts * pieces.folder.chosen(shard, pieces.split))


@dataclass(frozen=True, eq=False)
class Single:
    """The interactions of a split that are learned."""

    folder: PreparedFolder
    split: Split
    chosen: Chosen

    @classmethod
    def of(cls, folder: PreparedFolder, split: Split) -> Single:
        """Count them."""

        def learned(shard: Shard, chosen: NDArray[np.bool_]) -> int:
            return int(_learned(shard, chosen).sum())

        return cls(folder, split, folder.count(learned, split))

    def __len__(self) -> int:
        return self.chosen.total

    def __getitem__(self, number: int) -> Encoded:
        """One of them, whole."""
        shard, number = self.chosen.find(number)
        return self.folder.shard(shard).sequence(int(_learned_sequences(self, shard)[number]))


def _learned(shard: Shard, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(Q,) which sequences are learned, of the documents that are chosen."""
    return np.repeat(chosen, np.diff(shard.documents)) & (shard.roles == Role.LEARNED)


@lru_cache(maxsize=64)
def _learned_sequences(single: Single, shard: int) -> NDArray[np.int64]:
    return np.flatnonzero(_learned(single.folder.shard(shard), single.folder.chosen(shard, single.split)))


def all_conversations(folder: PreparedFolder, split: Split) -> Pieces:
    """Every conversation whole."""
    return Pieces.of(folder, split, turns=2**31 - 1)
