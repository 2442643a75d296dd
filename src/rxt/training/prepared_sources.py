"""Sources that read prepared folders: conversations, single interactions, and plain text, without ever holding them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np

from rxt.data.fitting import Lengths, Long, fitted_pieces, fitted_turns
from rxt.data.markup import Encoded
from rxt.data.prepared.conversations import Piece, Pieces, Single, all_conversations
from rxt.data.prepared.folder import HELD_OUT_EVERY, PreparedFolder
from rxt.data.prepared.folder import Split as Part
from rxt.data.prepared.packing import PackedRows
from rxt.data.prepared.shard import Role
from rxt.data.records import Conversation, Interaction
from rxt.data.shuffle import shuffled
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.tasks.base import Source, Told, TrainingSplit
from rxt.training.data_config import PreparedSource

T = TypeVar("T", covariant=True)
Use = Literal["text", "interactions", "conversations"]
KINDS: dict[Use, tuple[str, ...]] = {
    "text": ("text",),
    "interactions": ("interactions", "conversations"),
    "conversations": ("conversations",),
}
"""What a folder must hold to be used so."""


class Numbered(Protocol[T]):
    """Items by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> T: ...


@dataclass(frozen=True)
class Joined(Generic[T]):
    """The items of several folders, one folder after another."""

    parts: Sequence[Numbered[T]]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, number: int, /) -> T:
        for part in self.parts:
            if number < len(part):
                return part[number]
            number -= len(part)
        raise IndexError(number)

    def drawn(self, step: int, size: int, salt: str) -> list[T]:
        """Items ``step·size`` … of an endless sequence of shuffled epochs, each item once an epoch."""
        return [self[number] for number in shuffled(len(self), step * size, size, salt)] if size else []


@dataclass(frozen=True)
class Opened:
    """The folders of a source, by split."""

    train: tuple[PreparedFolder, ...]
    validation: tuple[PreparedFolder, ...]
    """Without these, documents of ``train`` are held out."""

    @classmethod
    def of(cls, source: PreparedSource, use: Use) -> Opened:
        """Open them.

        Raises:
            UserError: a folder is not whole, or holds what cannot be used so.
        """
        names = source.folders, source.validation_folders
        train, validation = (tuple(_open(name, use) for name in each) for each in names)
        return cls(train, validation)

    def split(self, split: TrainingSplit) -> list[tuple[PreparedFolder, Part]]:
        """Which folders, and what of them, belong to a split."""
        if self.validation:
            return [(folder, "all") for folder in (self.train if split == "train" else self.validation)]
        return [(folder, split) for folder in self.train]

    @property
    def folders(self) -> tuple[PreparedFolder, ...]:
        return (*self.train, *self.validation)

    def digests(self) -> dict[str, str]:
        """Of each folder's index, which knows its files."""
        return {str(folder.path): folder.index.digest for folder in self.folders}

    def told(self) -> list[str]:
        """How much each folder holds, a line each."""
        counts = [(folder, folder.index) for folder in self.folders]
        return [f"{folder.path}: {i.documents:,} {i.plan.kind}, {i.tokens:,} tokens" for folder, i in counts]

    def check(self) -> list[str]:
        """What was skipped and what was ignored when they were prepared, a line each."""
        lines: list[str] = []
        for folder in self.folders:
            skipped = sum(note.skipped for note in folder.index.shards)
            if skipped:
                first = next(reason for note in folder.index.shards for reason in note.reasons)
                lines.append(f"{folder.path}: {skipped} bad records were skipped, the first: {first}")
        return lines


def _open(name: str, use: Use) -> PreparedFolder:
    folder = PreparedFolder.open(name)
    kind = folder.index.plan.kind
    if kind not in KINDS[use]:
        option = {"text": "--text", "interactions": "--interactions", "conversations": "--data"}[kind]
        raise UserError(
            f"{name}: holds {kind}, {use} are needed here: rxt train takes it with {option}, or prepare the sources "
            f"again with --as {use}"
        )
    return folder


@dataclass(frozen=True)
class PreparedConversations(Source):
    """Conversations, or single interactions as conversations of one turn."""

    opened: Opened
    seed: int
    long: Long = "split"
    """What becomes of interactions that are longer than a template takes."""
    _pieces: dict[tuple[TrainingSplit, int, int], Joined[Piece]] = field(default_factory=dict, init=False, repr=False)
    _single: dict[TrainingSplit, Joined[Encoded]] = field(default_factory=dict, init=False, repr=False)
    endless = False

    @classmethod
    def load(
        cls, source: PreparedSource, seed: int, use: Use = "conversations", long: Long = "split"
    ) -> PreparedConversations:
        """Open the folders; as ``Opened.of``."""
        return cls(Opened.of(source, use), seed, long)

    @property
    def folders(self) -> tuple[PreparedFolder, ...]:
        """All that it reads."""
        return self.opened.folders

    def conversations(self, split: TrainingSplit, step: int, size: int, turns: int, shortest: int = 1) -> list[Told]:
        """``size`` conversations for a step, of ``shortest`` to ``turns`` turns.

        Raises:
            UserError: no conversation has so many.
        """
        return [Told(piece.conversation) for piece in self._drawn(split, step, size, turns, shortest)]

    def encoded(
        self, template: Template, split: TrainingSplit, step: int, size: int, turns: int
    ) -> list[list[Encoded]]:
        """As tokens; a conversation with long interactions may give several pieces, or none."""
        return [
            fitted_piece
            for piece in self._drawn(split, step, size, turns)
            for fitted_piece in fitted_pieces(
                piece.sequences, piece.roles[0] == Role.SYSTEM, template, self.long, turns
            )
        ]

    def interactions(self, split: TrainingSplit, step: int, size: int) -> list[Interaction]:
        """``size`` single interactions for a step; none that is nothing to learn from."""
        folder = self.opened.train[0]
        return [folder.interaction(each) for each in self._drawn_single(split, step, size)]

    def encoded_interactions(self, template: Template, split: TrainingSplit, step: int, size: int) -> list[Encoded]:
        whole = self._drawn_single(split, step, size)
        return [turn for each in whole for turn in fitted_turns(each, template, self.long)]

    def all_conversations(self, generated: int) -> Iterator[Conversation]:
        for folder, part in self.opened.split("train"):
            pieces = all_conversations(folder, part)
            yield from (pieces[number].conversation for number in range(len(pieces)))

    def lengths(self, template: Template) -> Lengths:
        return sum((lengths_in(folder, template.max_length) for folder in self.folders), Lengths())

    def told(self) -> list[str]:
        return self.opened.told()

    def digests(self) -> dict[str, str]:
        return self.opened.digests()

    def check(self) -> list[str]:
        return self.opened.check()

    def _drawn(self, split: TrainingSplit, step: int, size: int, turns: int, shortest: int = 1) -> list[Piece]:
        key = split, turns, shortest
        if key not in self._pieces:
            self._pieces[key] = Joined(
                [Pieces.of(folder, part, turns, shortest) for folder, part in self.opened.split(split)]
            )
        pieces = self._pieces[key]
        if size and not len(pieces):
            raise UserError(
                f"no {split} conversation of {self.opened.train[0].path} has {shortest} turns or more"
                if shortest > 1
                else f"{self.opened.train[0].path}: too little for {split}: add more, or name --validation-data"
            )
        return pieces.drawn(step, size, f"{self.seed} {split} {turns}")

    def _drawn_single(self, split: TrainingSplit, step: int, size: int) -> list[Encoded]:
        if split not in self._single:
            self._single[split] = Joined([Single.of(folder, part) for folder, part in self.opened.split(split)])
        single = self._single[split]
        if size and not len(single):
            raise UserError(f"{self.opened.train[0].path}: no {split} interaction has an answer to learn")
        return single.drawn(step, size, f"{self.seed} {split} interactions")


@dataclass(frozen=True)
class PreparedTexts:
    """Plain texts, packed to the model's length."""

    opened: Opened
    seed: int
    _rows: dict[tuple[TrainingSplit, int], Joined[Encoded]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def load(cls, source: PreparedSource, seed: int) -> PreparedTexts:
        """Open the folders; as ``Opened.of``."""
        return cls(Opened.of(source, "text"), seed)

    @property
    def folders(self) -> tuple[PreparedFolder, ...]:
        """All that it reads."""
        return self.opened.folders

    def text(self, template: Template, split: TrainingSplit, step: int, size: int) -> list[Encoded]:
        """``size`` packed rows for a step."""
        key = split, template.max_length
        if key not in self._rows:
            self._rows[key] = Joined([rows_of(*each, template.max_length) for each in self.opened.split(split)])
        rows = self._rows[key]
        if size and not len(rows):
            raise UserError(f"{self.opened.train[0].path}: one text is too little: add more, or prepare it in pieces")
        return rows.drawn(step, size, f"{self.seed} {split} text")

    def all_texts(self, generated: int) -> Iterator[str]:
        """Every training text once."""
        for folder, part in self.opened.split("train"):
            for shard, note in enumerate(folder.notes):
                for text in folder.documents_between(shard, 0, note.documents, part):
                    yield folder.template.tokenizer.decode(folder.shard(shard).text(text))

    def told(self) -> list[str]:
        """How much there is."""
        return self.opened.told()

    def digests(self) -> dict[str, str]:
        """Of each folder."""
        return self.opened.digests()

    def check(self) -> list[str]:
        """What was skipped when they were prepared."""
        return self.opened.check()


@dataclass(frozen=True)
class Range(Generic[T]):
    """Items ``start`` … ``end`` − 1 of others."""

    of: Numbered[T]
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def __getitem__(self, number: int, /) -> T:
        return self.of[self.start + number]


def rows_of(folder: PreparedFolder, part: Part, max_length: int) -> Numbered[Encoded]:
    """The packed rows of a split; of a single text, the last fiftieth is held out."""
    if folder.index.documents > 1 or part == "all":
        return PackedRows.of(folder, part, max_length)
    rows = PackedRows.of(folder, "all", max_length)
    end = len(rows) - max(1, len(rows) // HELD_OUT_EVERY)
    return Range(rows, 0, end) if part == "train" else Range(rows, end, len(rows))


def lengths_in(folder: PreparedFolder, max_length: int) -> Lengths:
    """How many sequences of a folder have more than so many tokens."""
    longer = (number for number, note in enumerate(folder.notes) if note.longest > max_length)
    count = sum(int((np.diff(folder.shard(number).sequences) > max_length).sum()) for number in longer)
    return Lengths(folder.index.sequences, count, max(note.longest for note in folder.notes))


def check_tokenizer(folders: Sequence[PreparedFolder], template: Template, source: str) -> None:
    """See that folders were prepared for the model that is trained.

    Raises:
        UserError: one was prepared with another tokenizer or template.
    """
    for folder in folders:
        plan = folder.index.plan
        if plan.tokenizer != template.tokenizer.fingerprint:
            raise UserError(
                f"{folder.path}: was prepared with another tokenizer than {source} has; prepare the sources again with "
                f"--tokenizer {source}"
            )
        if folder.template.markup != template.markup:
            raise UserError(
                f"{folder.path}: was prepared for the {plan.template} template with other markers than the model "
                f"({template.name}) has; prepare the sources again with --tokenizer MODEL"
            )
