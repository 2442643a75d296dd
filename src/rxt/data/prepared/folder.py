"""A prepared folder: its documents and sequences by number, over all shards, wherever they lie."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rxt.data.markup import Encoded
from rxt.data.prepared.index import Index, ShardNote, read_index, read_tokenizer, whole_template
from rxt.data.prepared.mapped import Mapped
from rxt.data.prepared.shard import Role, Shard, file_sha256
from rxt.data.records import Conversation, Interaction
from rxt.data.template import Template
from rxt.errors import UserError

Split = Literal["train", "validation", "all"]
HELD_OUT_EVERY = 50
MAPPED = Mapped()
"""The shards of all folders that this process reads."""


@dataclass(frozen=True)
class Chosen:
    """Some items of every shard, counted through: which shard an item is in, and the how-manieth it is there."""

    counts: tuple[int, ...]
    """By shard."""

    @cached_property
    def starts(self) -> list[int]:
        return list(accumulate(self.counts, initial=0))

    @property
    def total(self) -> int:
        return self.starts[-1]

    def find(self, number: int) -> tuple[int, int]:
        """(shard, number in it)"""
        shard = bisect_right(self.starts, number) - 1
        return shard, number - self.starts[shard]


@dataclass(frozen=True, eq=False)
class PreparedFolder:
    """What ``rxt data prepare`` wrote."""

    path: Path
    index: Index

    @classmethod
    def open(cls, path: str | Path) -> PreparedFolder:
        """Read the index and see that every file is there.

        Raises:
            UserError: it is not whole, a file is missing or of another size.
        """
        folder = Path(path)
        index = read_index(folder)
        for file in (file for shard in index.shards for file in shard.files):
            found = folder / file.name
            size = found.stat().st_size if found.exists() else None
            if size != file.size:
                problem = "is missing" if size is None else f"has {size} bytes instead of {file.size}"
                raise UserError(f"{found}: {problem}; copy the folder again, or prepare it again")
        return cls(folder, index)

    @cached_property
    def notes(self) -> tuple[ShardNote, ...]:
        """Of the shards that hold something."""
        return tuple(note for note in self.index.shards if note.documents)

    @cached_property
    def template(self) -> Template:
        """The template that everything was written with, without a limit."""
        return whole_template(read_tokenizer(self.path, self.index.plan), self.index.plan)

    def shard(self, number: int) -> Shard:
        """One of ``notes``' shards, mapped."""
        return MAPPED.shard(self.path, self.notes[number])

    def count(self, per_document: Callable[[Shard, NDArray[np.bool_]], int], split: Split) -> Chosen:
        """Count something in every shard: ``per_document`` is given a shard and which of its documents belong to the
        split, (C,)."""
        return Chosen(
            tuple(per_document(self.shard(number), self.chosen(number, split)) for number in range(len(self.notes)))
        )

    def chosen(self, number: int, split: Split) -> NDArray[np.bool_]:
        """(C,) which documents of a shard belong to the split: one in 50 is held out."""
        start = self._documents_before[number]
        documents = np.arange(start, start + self.notes[number].documents)
        if split == "all":
            return np.ones(len(documents), dtype=bool)
        return (documents % HELD_OUT_EVERY == 0) == (split == "validation")

    def documents_between(self, shard: int, first: int, end: int, split: Split) -> Iterator[int]:
        """Those documents ``first`` … ``end`` − 1 of a shard that belong to the split."""
        before = self._documents_before[shard]
        for document in range(first, end):
            if split == "all" or ((before + document) % HELD_OUT_EVERY == 0) == (split == "validation"):
                yield document

    @cached_property
    def _documents_before(self) -> list[int]:
        return list(accumulate((note.documents for note in self.notes), initial=0))

    def conversation(self, sequences: list[Encoded], roles: list[int]) -> Conversation:
        """Sequences of a conversation as text again."""
        interactions = [
            self.interaction(each) for each, role in zip(sequences, roles, strict=True) if role != Role.SYSTEM
        ]
        turns = [role for role in roles if role != Role.SYSTEM]
        unlearned = frozenset(turn for turn, role in enumerate(turns) if role == Role.MEMORIZED)
        system = self._system(sequences[0]) if roles[0] == Role.SYSTEM else None
        return Conversation(tuple(interactions), system, unlearned)

    def interaction(self, encoded: Encoded) -> Interaction:
        """A sequence as text again."""
        template = self.template
        parts = {part.name: part.ids for part in template.markup.parts_of(encoded)}
        texts = {name: template.text_of(name, ids) for name, ids in parts.items()}
        return Interaction(
            texts.get("query", ""),
            texts.get("answer", ""),
            texts.get("think"),
            texts.get("tool_call"),
            texts.get("tool_use"),
            texts.get("internal"),
        )

    def _system(self, encoded: Encoded) -> str:
        system = self.template.markup.system
        if system is None:  # it is a message with an empty answer
            return self.interaction(encoded).query
        ids = encoded.ids[len(system.before.ids) : len(encoded.ids) - len(system.end)]
        return self.template.tokenizer.decode(ids).removeprefix(f"{self.index.plan.system_title}\n\n")

    def verify(self) -> list[str]:
        """The files whose checksums are not those of the index."""
        return [
            f"{self.path / file.name}: is not as it was written"
            for shard in self.index.shards
            for file in shard.files
            if file_sha256(self.path / file.name) != file.sha256
        ]
