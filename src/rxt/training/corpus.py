"""The data of a run: every batch is a function of (split, step), so a resumed run needs no position to be restored."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, TypeVar

from rxt.data.readers import read_as_conversations
from rxt.data.records import Conversation, Interaction, Records
from rxt.data.template import Encoded, Template
from rxt.errors import UserError
from rxt.tasks.everyday import EverydayConfig, generate
from rxt.training.data_config import DataConfig

Split = Literal["train", "validation"]
T = TypeVar("T")

HELD_OUT_EVERY = 50
EVERYDAY_TURNS = 12
"""Turns of the generated conversations that stages 0 to 2 read."""
PIECE_TURNS = 4
"""Turns of the pieces that single interactions are taken from."""


@dataclass(frozen=True)
class Corpus:
    """Conversations from files and from the generator, mixed in a fixed share of every batch."""

    files: dict[Split, tuple[Conversation, ...]]
    everyday_share: float
    seed: int
    everyday: EverydayConfig = field(default_factory=EverydayConfig)
    """The mix of the generated conversations that are trained on."""
    sources: tuple[Records[Conversation], ...] = ()
    """What was read, and what was skipped or ignored in it."""
    _pieces_by_turns: dict[tuple[Split, int], list[Conversation]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def load(cls, config: DataConfig, seed: int) -> Corpus:
        """Read the files; where none is set apart for validation, hold out one conversation in 50 of the others."""
        read = {
            source: read_as_conversations(source, config.on_bad) for source in (*config.files, *config.validation_files)
        }
        train = [conversation for source in config.files for conversation in read[source]]
        held = [conversation for source in config.validation_files for conversation in read[source]]
        if train and not held:
            held = train[::HELD_OUT_EVERY]
            train = [conversation for index, conversation in enumerate(train) if index % HELD_OUT_EVERY]
            if not train:
                raise UserError("one conversation is too little to train on: add more, or name --validation-data")
        return cls(
            {"train": tuple(train), "validation": tuple(held)},
            config.everyday_share,
            seed,
            config.everyday,
            tuple(read.values()),
        )

    def conversations(
        self, split: Split, step: int, size: int, turns: int, paraphrase_rate: float | None = None
    ) -> list[Conversation]:
        """``size`` conversations of at most ``turns`` turns for a step; ``paraphrase_rate`` stands in for the mix's
        own."""
        generated = round(size * self.everyday_share)
        mix = self.everyday if paraphrase_rate is None else replace(self.everyday, paraphrase_rate=paraphrase_rate)
        mix = mix if split == "train" else EverydayConfig()
        everyday = [
            generate(split, turns, self.seed, step * generated + index, mix).conversation for index in range(generated)
        ]
        return everyday + self.from_files(split, step, size - generated, turns)

    def from_files(self, split: Split, step: int, size: int, turns: int, shortest: int = 1) -> list[Conversation]:
        """``size`` conversations of the files for a step, of ``shortest`` to ``turns`` turns.

        Raises:
            UserError: no conversation has so many.
        """
        pieces = self._pieces(split, turns)
        if shortest > 1:
            pieces = [piece for piece in pieces if len(piece.interactions) >= shortest]
        if size and not pieces:
            raise UserError(
                f"no {split} conversation of the files has {shortest} turns or more: there is nothing to remember in them"  # noqa: E501
            )
        return pick(pieces, step, size, f"{self.seed} {split} {turns}")

    def interactions(self, split: Split, step: int, size: int) -> list[Interaction]:
        """``size`` single interactions, or a few more, for a step. They come from short pieces, so that many
        conversations mix."""
        pieces = self.conversations(split, step, -(-size // PIECE_TURNS), PIECE_TURNS)
        return [interaction for piece in pieces for interaction in piece.interactions]

    def count_cut(self, template: Template) -> int:
        """How many interactions of the files are longer than the template takes, and will be cut.

        Raises:
            UserError: a conversation has a part that the template has not, such as a system prompt.
        """
        cut = 0
        for conversation in (*self.files["train"], *self.files["validation"]):
            try:
                cut += sum(encoded.cut for encoded in encode_conversation(conversation, template))
            except UserError as error:
                raise UserError(
                    f"the conversation that begins {conversation.interactions[0].query[:40]!r}: {error}"
                ) from None
        return cut

    def warnings(self) -> list[str]:
        """What a person should know of the data before training on it, a line each."""
        lines: list[str] = []
        for records in self.sources:
            if records.skipped:
                lines.append(
                    f"{records.source}: {records.skipped} bad records skipped, the first: {records.reasons[0]}"
                )
            lines += [
                f"{records.source}: the key {key} is not known; ignored in {count} records"
                for key, count in records.ignored_keys.items()
            ]
        short = sum(len(conversation.interactions) < 2 for conversation in self.files["train"])
        if short:
            lines.append(f"{short} training conversations have a single turn: they teach answering, not remembering")
        return lines

    def all_text(self, generated: int) -> Iterator[str]:
        """Every training text once, for the tokenizer; ``generated`` conversations of the generator if it is used."""
        for conversation in self._train(generated):
            yield from texts_of(conversation)

    def _train(self, generated: int) -> Iterator[Conversation]:
        yield from self.files["train"]
        if self.everyday_share > 0:
            yield from (
                generate("train", EVERYDAY_TURNS, self.seed, index, self.everyday).conversation
                for index in range(generated)
            )

    def _pieces(self, split: Split, turns: int) -> list[Conversation]:
        """The files' conversations, split into pieces of at most ``turns``; kept for the next step."""
        if (split, turns) not in self._pieces_by_turns:
            pieces = [piece for conversation in self.files[split] for piece in split_turns(conversation, turns)]
            self._pieces_by_turns[split, turns] = pieces
        return self._pieces_by_turns[split, turns]


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


def texts_of(conversation: Conversation) -> Iterator[str]:
    """All that is said in a conversation, piece by piece."""
    if conversation.system:
        yield conversation.system
    for interaction in conversation.interactions:
        yield from (part for part in vars(interaction).values() if part)


def encode_conversation(conversation: Conversation, template: Template) -> list[Encoded]:
    """The interactions as tokens; a system prompt comes first, and has no targets, nor have the interactions not to
    learn from."""
    system = [template.system(conversation.system)] if conversation.system else []
    turns = [template.interaction(interaction) for interaction in conversation.interactions]
    return system + [
        without_targets(turn) if index in conversation.unlearned else turn for index, turn in enumerate(turns)
    ]


def without_targets(encoded: Encoded) -> Encoded:
    """The same tokens, none of them to be learned."""
    return replace(encoded, loss=[False] * len(encoded.ids))


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
