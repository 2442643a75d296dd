"""Sources that read files whole: conversations, single interactions, and plain text."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

from rxt.data.fitting import Lengths, Long, fitted_conversation, fitted_turns, lengths_of, unlimited
from rxt.data.markup import Encoded
from rxt.data.readers import read_as_conversations, read_as_interactions, read_as_texts
from rxt.data.records import Conversation, Interaction, OnBad, Records, TextRecord, conversation_interactions
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.tasks.base import PIECE_TURNS, Source, Told, TrainingSplit
from rxt.training.data_config import FileSource

T = TypeVar("T")
HELD_OUT_EVERY = 50


@dataclass(frozen=True)
class Read:
    """The records of some files, by split."""

    records: Mapping[TrainingSplit, tuple[Any, ...]]
    sources: tuple[Records[Any], ...] = ()
    """What was read, and what was skipped or ignored in it."""

    @classmethod
    def of(
        cls,
        source: FileSource,
        on_bad: OnBad,
        reader: Callable[..., Records[Any]],
        noun: str,
        one: Callable[[Any], tuple[list[Any], list[Any]]] | None = None,
    ) -> Read:
        """Read them; where no files are set apart for validation, hold out one record in 50 of the others.

        Args:
            noun: what a record is called when there are too few.
            one: how a single record is divided between training and validation, where that can be.
        """
        read = {name: reader(name, on_bad) for name in (*source.files, *source.validation_files)}
        train = [record for name in source.files for record in read[name]]
        held = [record for name in source.validation_files for record in read[name]]
        if not held:
            train, held = held_out(train, noun) if one is None or len(train) > 1 else one(train[0])
        return cls({"train": tuple(train), "validation": tuple(held)}, tuple(read.values()))

    def told(self, noun: str) -> list[str]:
        """How many of each file, a line each."""
        return [f"{records.source}: {len(records):,} {noun}" for records in self.sources]

    def digests(self) -> dict[str, str]:
        """Of the records of each file."""
        return {records.source: records.digest for records in self.sources}

    def check(self) -> list[str]:
        """What was skipped and what was ignored, a line each."""
        return [line for records in self.sources for line in left_out(records)]


def left_out(records: Records[Any]) -> list[str]:
    """What of a source was skipped and what was ignored, a line each."""
    source = records.source
    skipped = [
        f"{source}: {records.skipped} bad records skipped, the first: {reason}" for reason in records.reasons[:1]
    ]
    return skipped + [
        f"{source}: the key {key} is not read; left out of {count} records"
        for key, count in records.ignored_keys.items()
    ]


def held_out(records: Sequence[T], noun: str = "conversation") -> tuple[list[T], list[T]]:
    """For training, and the one in 50 for validation.

    Raises:
        UserError: there is one record alone.
    """
    held = list(records[::HELD_OUT_EVERY])
    train = [record for index, record in enumerate(records) if index % HELD_OUT_EVERY]
    if not train:
        raise UserError(f"one {noun} is too little to train on: add more, or name --validation-data")
    return train, held


@dataclass(frozen=True)
class FileConversations(Source):
    """Conversations, in pieces of as many turns as a stage wants."""

    read: Read
    seed: int
    long: Long = "split"
    """What becomes of interactions that are longer than a template takes."""
    _pieces_by_turns: dict[tuple[TrainingSplit, int], list[Conversation]] = field(
        default_factory=dict, init=False, repr=False
    )
    _learned_by_split: dict[TrainingSplit, list[Conversation]] = field(default_factory=dict, init=False, repr=False)
    endless = False

    @classmethod
    def load(cls, source: FileSource, on_bad: OnBad, seed: int, long: Long = "split") -> FileConversations:
        """Read the files; as ``Read.of``."""
        return cls(Read.of(source, on_bad, read_as_conversations, "conversation"), seed, long)

    def conversations(self, split: TrainingSplit, step: int, size: int, turns: int, shortest: int = 1) -> list[Told]:
        """``size`` conversations for a step, of ``shortest`` to ``turns`` turns.

        Raises:
            UserError: no conversation has so many.
        """
        pieces = self._pieces(split, turns)
        if shortest > 1:
            pieces = [piece for piece in pieces if len(piece.interactions) >= shortest]
        if size and not pieces:
            raise UserError(
                f"no {split} conversation of the files has {shortest} turns or more: there is nothing to remember in "
                "them"
            )
        return [Told(piece) for piece in pick(pieces, step, size, f"{self.seed} {split} {turns}")]

    def interactions(self, split: TrainingSplit, step: int, size: int) -> list[Interaction]:
        """``size`` single interactions, or a few more, for a step; none that is nothing to learn from.

        Raises:
            UserError: there is none to learn from.
        """
        pieces = self._learned_pieces(split)
        if size and not pieces:
            raise UserError(f"no {split} conversation of the files has an answer to learn: all have the weight 0")
        chosen = pick(pieces, step, -(-size // PIECE_TURNS), f"{self.seed} {split} {PIECE_TURNS}")
        return [interaction for piece in chosen for interaction in piece.interactions]

    def encoded(
        self, template: Template, split: TrainingSplit, step: int, size: int, turns: int
    ) -> list[list[Encoded]]:
        """As tokens; a conversation with long interactions may give several pieces, or none."""
        return [
            piece
            for each in self.conversations(split, step, size, turns)
            for piece in fitted_conversation(each.conversation, template, self.long, turns)
        ]

    def encoded_interactions(self, template: Template, split: TrainingSplit, step: int, size: int) -> list[Encoded]:
        return encoded_alone(self.interactions(split, step, size), template, self.long)

    def all_conversations(self, generated: int) -> Iterator[Conversation]:
        yield from self.read.records["train"]

    def everything(self) -> Iterator[Conversation]:
        """Those of validation too."""
        yield from (*self.read.records["train"], *self.read.records["validation"])

    def told(self) -> list[str]:
        return self.read.told("conversations")

    def digests(self) -> dict[str, str]:
        return self.read.digests()

    def check(self) -> list[str]:
        short = sum(len(conversation.interactions) < 2 for conversation in self.read.records["train"])
        told = (
            [f"{short} training conversations have a single turn: they teach answering, not remembering"]
            if short
            else []
        )
        return self.read.check() + told

    def _pieces(self, split: TrainingSplit, turns: int) -> list[Conversation]:
        """The conversations, split into pieces of at most ``turns``; kept for the next step."""
        if (split, turns) not in self._pieces_by_turns:
            pieces = [piece for whole in self.read.records[split] for piece in split_turns(whole, turns)]
            self._pieces_by_turns[split, turns] = pieces
        return self._pieces_by_turns[split, turns]

    def _learned_pieces(self, split: TrainingSplit) -> list[Conversation]:
        """Pieces of what is learned alone; kept for the next step."""
        if split not in self._learned_by_split:
            learned = (Conversation(conversation_interactions(whole)) for whole in self.read.records[split])
            pieces = [piece for whole in learned for piece in split_turns(whole, PIECE_TURNS)]
            self._learned_by_split[split] = pieces
        return self._learned_by_split[split]


@dataclass(frozen=True)
class FileInteractions:
    """Single interactions."""

    read: Read
    seed: int
    long: Long = "split"
    """As that of conversations."""

    @classmethod
    def load(cls, source: FileSource, on_bad: OnBad, seed: int, long: Long = "split") -> FileInteractions:
        """Read the files; as ``Read.of``."""
        return cls(Read.of(source, on_bad, read_as_interactions, "interaction"), seed, long)

    def interactions(self, split: TrainingSplit, step: int, size: int) -> list[Interaction]:
        """``size`` of them for a step."""
        return pick(self.read.records[split], step, size, f"{self.seed} {split} interactions")

    def encoded_interactions(self, template: Template, split: TrainingSplit, step: int, size: int) -> list[Encoded]:
        """The same as tokens; a long one may give several, or none."""
        return encoded_alone(self.interactions(split, step, size), template, self.long)

    def lengths(self, template: Template) -> Lengths:
        """How many are longer than the template takes, those of validation too; errors as in ``lengths_of``."""
        every = (each for records in self.read.records.values() for each in records)
        return lengths_of((Conversation((interaction,)) for interaction in every), template)

    def all_conversations(self, generated: int) -> Iterator[Conversation]:
        """Those that are trained on."""
        yield from (Conversation((interaction,)) for interaction in self.read.records["train"])

    def told(self) -> list[str]:
        """How many were read."""
        return self.read.told("interactions")

    def digests(self) -> dict[str, str]:
        """Of the records of each file."""
        return self.read.digests()

    def check(self) -> list[str]:
        """What was skipped, and what ignored."""
        return self.read.check()


@dataclass(frozen=True)
class FileTexts:
    """Plain texts, packed to the model's length."""

    read: Read
    seed: int
    _rows: dict[TrainingSplit, list[Encoded]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def load(cls, source: FileSource, on_bad: OnBad, seed: int) -> FileTexts:
        """Read the files; of a single text, the last fiftieth is held out."""
        return cls(Read.of(source, on_bad, read_as_texts, "text", end_held_out), seed)

    def text(self, template: Template, split: TrainingSplit, step: int, size: int) -> list[Encoded]:
        """``size`` packed rows for a step. The template is always the run's."""
        if split not in self._rows:
            texts = [record.text for record in self.read.records[split]]
            self._rows[split] = pack(template, pick(texts, 0, len(texts), f"{self.seed} {split} packed"))
        return pick(self._rows[split], step, size, f"{self.seed} {split} text")

    def all_texts(self, generated: int) -> Iterator[str]:
        """Those that are trained on."""
        yield from (record.text for record in self.read.records["train"])

    def told(self) -> list[str]:
        """How many were read."""
        return self.read.told("texts")

    def digests(self) -> dict[str, str]:
        """Of the records of each file."""
        return self.read.digests()

    def check(self) -> list[str]:
        """What was skipped, and what ignored."""
        return self.read.check()


def encoded_alone(interactions: Sequence[Interaction], template: Template, long: Long) -> list[Encoded]:
    """Single interactions as tokens, the long ones as ``fitted_turns`` makes them."""
    whole = unlimited(template)
    return [turn for each in interactions for turn in fitted_turns(whole.interaction(each), template, long)]


def end_held_out(record: TextRecord) -> tuple[list[TextRecord], list[TextRecord]]:
    """A single text as a text for training and its last fiftieth, from a space on, for validation."""
    end = record.text.rfind(" ", 0, len(record.text) - len(record.text) // HELD_OUT_EVERY)
    if end < 1 or not record.text[end:].strip():
        raise UserError("one short text is too little to train on: add more")
    return [TextRecord(record.text[:end])], [TextRecord(record.text[end + 1 :])]


def pack(template: Template, texts: Sequence[str]) -> list[Encoded]:
    """Texts one after another in rows of at most the template's length, each between its [BOS] and its [EOS].

    A row ends where the next text does not fit. A text longer than a row becomes pieces, as ``Template.text`` makes
    them; no token is lost.
    """
    rows: list[Encoded] = []
    ids: list[int] = []
    loss: list[bool] = []
    for piece in (piece for text in texts for piece in template.text(text)):
        if ids and len(ids) + len(piece.ids) > template.max_length:
            rows.append(Encoded(ids, loss))
            ids, loss = [], []
        ids, loss = [*ids, *piece.ids], [*loss, *piece.loss]
    return [*rows, Encoded(ids, loss)] if ids else rows


def split_turns(conversation: Conversation, turns: int) -> list[Conversation]:
    """Consecutive pieces of at most ``turns`` interactions; each starts from a fresh memory, with the same system
    prompt."""
    interactions = conversation.interactions
    starts = range(0, len(interactions), turns)
    unlearned = [
        frozenset(index - start for index in conversation.unlearned if 0 <= index - start < turns) for start in starts
    ]
    return [
        Conversation(interactions[start : start + turns], conversation.system, without)
        for start, without in zip(starts, unlearned, strict=True)
    ]


def pick(items: Sequence[T], step: int, size: int, salt: str) -> list[T]:
    """Items ``step·size`` … of an endless sequence of shuffled epochs: each item once an epoch."""
    if size == 0:
        return []
    picked: list[T] = []
    position = step * size
    while len(picked) < size:
        epoch, offset = divmod(position + len(picked), len(items))
        order = _shuffled(len(items), f"{salt} {epoch}")
        picked.extend(items[index] for index in order[offset : offset + size - len(picked)])
    return picked


@lru_cache(maxsize=8)
def _shuffled(count: int, salt: str) -> list[int]:
    order = list(range(count))
    random.Random(salt).shuffle(order)
    return order
