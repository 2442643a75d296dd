"""Pairs of answers to learn from: from files of preferences and from the generator, mixed in a fixed share of every
batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from rxt.data.asked import Asked
from rxt.data.collate import Ways
from rxt.data.readers import holds_preferences, read_preferences
from rxt.data.records import Interaction, PreferenceConversation, PreferenceTurn, Records
from rxt.data.template import Encoded, Template
from rxt.errors import UserError
from rxt.tasks.everyday import EverydayConfig
from rxt.tasks.everyday.preferences import RejectedMix, generate_preferences
from rxt.training.corpus import HELD_OUT_EVERY, Split, pick
from rxt.training.data_config import DataConfig


class Pairs(NamedTuple):
    """A conversation with pairs, and what is known of their right answers."""

    conversation: PreferenceConversation
    questions: Mapping[int, Asked]
    """By turn."""


@dataclass(frozen=True)
class PreferenceCorpus:
    """Every batch is a function of (split, step), as with ``Corpus``."""

    files: dict[Split, tuple[PreferenceConversation, ...]]
    everyday_share: float
    seed: int
    everyday: EverydayConfig
    rejected: RejectedMix
    neutral_rate: float = 0.0
    """Of the generated turns without a pair: their answers are neutral ones."""
    _pieces_by_turns: dict[tuple[Split, int], list[PreferenceConversation]] = field(
        default_factory=dict, init=False, repr=False
    )

    @classmethod
    def load(cls, config: DataConfig, rejected: RejectedMix, seed: int, neutral_rate: float = 0.0) -> PreferenceCorpus:
        """Read those of the files that hold preferences; validation files likewise, or one conversation in 50 of the
        others.

        Raises:
            UserError: there are files, and none of them holds preferences; or too few to hold one out; a bad record.
        """
        if config.babi is not None:
            raise UserError("preferences: the bAbI tasks have none; leave preference out of the recipe")
        read: dict[str, Records[PreferenceConversation]] = {
            source: read_preferences(source, config.on_bad)
            for source in (*config.files, *config.validation_files)
            if holds_preferences(source)
        }
        if config.everyday_share < 1 and not any(source in read for source in config.files):
            raise UserError(
                f"{config.files[0]}: holds conversations without rejected answers; preference training needs a file of preferences "  # noqa: E501
                "beside them (docs/reinforcement.md has the format), or --everyday-share 1"
            )
        train = [each for source in config.files for each in read.get(source, ())]
        held = [each for source in config.validation_files for each in read.get(source, ())]
        if train and not held:
            held, train = train[::HELD_OUT_EVERY], [each for index, each in enumerate(train) if index % HELD_OUT_EVERY]
            if not train:
                raise UserError("one conversation is too little to train on: add more, or name --validation-data")
        share = config.everyday_share if train else 1.0
        return cls(
            {"train": tuple(train), "validation": tuple(held)}, share, seed, config.everyday, rejected, neutral_rate
        )

    def conversations(self, split: Split, step: int, size: int, turns: int) -> list[Pairs]:
        """``size`` conversations of at most ``turns`` turns for a step, each with a pair at least.

        Those for validation are of the kinds that are trained on, in the usual mix.
        """
        generated = round(size * self.everyday_share)
        mix = (
            self.everyday
            if split == "train"
            else EverydayConfig(kinds=self.everyday.kinds, values=self.everyday.values)
        )
        made = [
            generate_preferences(
                split, turns, self.seed, step * generated + index, mix, self.rejected, self.neutral_rate
            )
            for index in range(generated)
        ]
        everyday = [
            Pairs(each.preferences, {question.turn: question for question in each.case.questions}) for each in made
        ]
        pieces = pick(self._pieces(split, turns), step, size - generated, f"preferences {self.seed} {split} {turns}")
        return everyday + [Pairs(piece, {}) for piece in pieces]

    def differing(self, template: Template) -> tuple[PreferenceCorpus, int]:
        """The corpus without the files' pairs whose answers are alike in the model's tokens, all of them or those that
        fit; their number.

        Raises:
            UserError: a conversation has a part that the template has not; no pair is left.
        """
        alike = 0
        files: dict[Split, tuple[PreferenceConversation, ...]] = {}
        for split, conversations in self.files.items():
            kept: list[PreferenceConversation] = []
            for conversation in conversations:
                found = different_pairs(conversation, template)
                alike += pairs_of(conversation) - pairs_of(found)
                kept += [found] if pairs_of(found) else []
            if conversations and not kept:
                raise UserError(
                    "preferences: in every pair the accepted and the rejected answer are alike in the model's tokens"
                )
            files[split] = tuple(kept)
        return replace(self, files=files), alike

    def _pieces(self, split: Split, turns: int) -> list[PreferenceConversation]:
        """The files' conversations, split into pieces of at most ``turns``; kept for the next step."""
        if (split, turns) not in self._pieces_by_turns:
            pieces = [piece for conversation in self.files[split] for piece in split_turns(conversation, turns)]
            self._pieces_by_turns[split, turns] = pieces
        return self._pieces_by_turns[split, turns]


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
    system = [Ways(template.system(conversation.system))] if conversation.system else []
    return system + [
        Ways(template.interaction(turn.accepted), encoded(turn.rejected), encoded(turn.neutral), questions.get(index))
        for index, turn in enumerate(conversation.turns)
    ]
