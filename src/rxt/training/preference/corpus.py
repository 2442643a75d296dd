"""Pairs of answers to learn from: from files of preferences and from the generator, mixed in a fixed share of every
batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, NoReturn

from rxt.data.asked import Asked
from rxt.data.collate import Ways
from rxt.data.pieces import opening
from rxt.data.readers import holds_preferences, read_preferences
from rxt.data.records import Interaction, PreferenceConversation, PreferenceTurn
from rxt.data.template import Encoded, Template
from rxt.errors import UserError
from rxt.tasks.base import Prefers, Told
from rxt.tasks.rejected import RejectedMix
from rxt.training.corpus import Mixture, Split
from rxt.training.data_config import DataConfig, PreparedSource, SourceConfig, TaskSource
from rxt.training.file_sources import Read, pick


class Pairs(NamedTuple):
    """A conversation with pairs, and what is known of their right answers."""

    conversation: PreferenceConversation
    questions: Mapping[int, Asked]
    """By turn."""


@dataclass(frozen=True)
class PreferenceFiles(Prefers):
    """Conversations with pairs, read from files."""

    read: Read
    seed: int
    _pieces_by_turns: dict[tuple[Split, int], list[PreferenceConversation]] = field(
        default_factory=dict, init=False, repr=False
    )

    def preferences(
        self, split: Split, step: int, size: int, turns: int, rejected: RejectedMix, neutral_rate: float
    ) -> list[Told]:
        """Pieces of at most ``turns`` turns, with the answers that the files have."""
        pieces = pick(self._pieces(split, turns), step, size, f"preferences {self.seed} {split} {turns}")
        return [Told(piece.accepted, preferences=piece) for piece in pieces]

    def differing(self, template: Template) -> tuple[PreferenceFiles, int]:
        """A pair whose answers differ beyond what fits is alike too."""
        alike = 0
        records: dict[Split, tuple[PreferenceConversation, ...]] = {}
        for split, conversations in self.read.records.items():
            kept: list[PreferenceConversation] = []
            for conversation in conversations:
                found = different_pairs(conversation, template)
                alike += pairs_of(conversation) - pairs_of(found)
                kept += [found] if pairs_of(found) else []
            if conversations and not kept:
                raise UserError(
                    "preferences: in every pair the accepted and the rejected answer are alike in the model's tokens"
                )
            records[split] = tuple(kept)
        return PreferenceFiles(replace(self.read, records=records), self.seed), alike

    def _pieces(self, split: Split, turns: int) -> list[PreferenceConversation]:
        """The conversations, split into pieces of at most ``turns``; kept for the next step."""
        if (split, turns) not in self._pieces_by_turns:
            pieces = [piece for whole in self.read.records[split] for piece in split_turns(whole, turns)]
            self._pieces_by_turns[split, turns] = pieces
        return self._pieces_by_turns[split, turns]


@dataclass(frozen=True)
class PreferenceCorpus:
    """Every batch is a function of (split, step), as with ``Corpus``."""

    made: Mixture[Prefers]
    rejected: RejectedMix
    neutral_rate: float = 0.0
    """Of the generated turns without a pair: their answers are neutral ones."""

    @classmethod
    def load(cls, config: DataConfig, rejected: RejectedMix, seed: int, neutral_rate: float = 0.0) -> PreferenceCorpus:
        """Open the sources of preferences; where there are none of their own, those of the conversations that hold
        rejected answers.

        Raises:
            UserError: there are files, and none of them holds preferences; or too few to hold one out; a bad record.
        """
        configs = config.preferences or tuple(
            found for found in map(holding_preferences, config.conversations) if found is not None
        )
        opened = Mixture[Prefers].of(
            configs,
            lambda source: PreferenceFiles(Read.of(source, config.on_bad, read_preferences, "conversation"), seed),
            _refused,
            lambda source: source.task.wrong_answers(seed),
        )
        return cls(opened, rejected, neutral_rate)

    def conversations(self, split: Split, step: int, size: int, turns: int) -> list[Pairs]:
        """``size`` conversations of at most ``turns`` turns for a step, each with a pair at least."""
        return [
            Pairs(told.preferences, told.questions or {})
            for source, count in self.made.divide(size, step)
            for told in source.preferences(split, step, count, turns, self.rejected, self.neutral_rate)
            if told.preferences is not None
        ]

    def differing(self, template: Template) -> tuple[PreferenceCorpus, int]:
        """As ``Prefers.differing``, of all sources."""
        found = [(weight, source.differing(template)) for weight, source in self.made.parts]
        made = Mixture(tuple((weight, source) for weight, (source, _) in found))
        return replace(self, made=made), sum(alike for _, (_, alike) in found)


def holding_preferences(source: SourceConfig) -> SourceConfig | None:
    """The source with those of its files alone that hold rejected answers; None when nothing is taken from it anyway.

    Raises:
        UserError: none of the files does.
    """
    if isinstance(source, TaskSource):
        return source
    if isinstance(source, PreparedSource):
        return _refused(source)
    found = tuple(name for name in source.files if holds_preferences(name))
    if found:
        held = tuple(name for name in source.validation_files if holds_preferences(name))
        return replace(source, files=found, validation_files=held)
    if not source.weight:
        return None
    raise UserError(
        f"{source.files[0]}: holds conversations without rejected answers; preference training needs a file of "
        "preferences beside them (docs/reinforcement.md has the format), or --everyday-share 1"
    )


def _refused(source: PreparedSource) -> NoReturn:
    raise UserError(f"{source.folders[0]}: is prepared, and holds no rejected answers; name the files of preferences")


def pairs_of(conversation: PreferenceConversation) -> int:
    """How many of its turns have a pair."""
    return sum(turn.rejected is not None for turn in conversation.turns)


def split_turns(conversation: PreferenceConversation, turns: int) -> list[PreferenceConversation]:
    """Consecutive pieces of at most ``turns`` turns that have a pair; each starts from a fresh memory, with the same
    system prompt."""
    starts = range(0, len(conversation.turns), turns)
    pieces = [
        PreferenceConversation(conversation.turns[start : start + turns], conversation.system) for start in starts
    ]
    return [piece for piece in pieces if pairs_of(piece)]


def different_pairs(conversation: PreferenceConversation, template: Template) -> PreferenceConversation:
    """The conversation, in which a turn whose two answers are alike in tokens is only memorized."""
    try:
        encoded = encode_ways(Pairs(conversation, {}), template)[
            -len(conversation.turns) :
        ]  # without the system prompt
    except UserError as error:
        raise UserError(f"the conversation that begins {conversation.turns[0].query[:40]!r}: {error}") from None
    turns = [
        turn if ways.rejected is None or ways.rejected.ids != ways.accepted.ids else PreferenceTurn(turn.accepted)
        for turn, ways in zip(conversation.turns, encoded, strict=True)
    ]
    return PreferenceConversation(tuple(turns), conversation.system)


def encode_ways(pairs: Pairs, template: Template) -> list[Ways]:
    """The turns as tokens; a system prompt comes first, without a pair."""

    def encoded(interaction: Interaction | None) -> Encoded | None:
        return None if interaction is None else template.interaction(interaction)

    conversation, questions = pairs
    system = [Ways(opening(template, conversation.system))] if conversation.system else []
    return system + [
        Ways(template.interaction(turn.accepted), encoded(turn.rejected), encoded(turn.neutral), questions.get(index))
        for index, turn in enumerate(conversation.turns)
    ]
