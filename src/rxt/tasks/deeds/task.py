"""Conversations about deeds as a task."""

from __future__ import annotations

from rxt.tasks.base import GeneratingTask, Split, Told
from rxt.tasks.deeds.config import DeedsConfig
from rxt.tasks.deeds.talks import USUAL, DeedsConversation, generate, told


class Deeds(GeneratingTask[DeedsConfig]):
    """Who did, does or will do what, told by the way and asked for by any of its parts."""

    name = "deeds"
    settings_type = DeedsConfig

    def conversation(self, split: Split, turns: int, seed: int, index: int) -> Told:
        mix = self.settings if split == "train" else USUAL
        return _told(generate(split, turns, seed, index, mix)).with_replies(mix.reply_rate, seed, index)

    def probe(self, split: Split, distance: int, seed: int, index: int, kind: str = "told") -> Told:
        return _told(told(split, distance, seed, index, self.settings))

    def as_evaluated(self) -> Deeds:
        return Deeds(USUAL)

    def describe(self, share: float) -> str:
        return f"conversations about what people do from the generator ({share:.0%} of every batch)"


def _told(case: DeedsConversation) -> Told:
    """What the protocol knows of a conversation."""
    return Told(case.conversation, {question.turn: question for question in case.questions})
