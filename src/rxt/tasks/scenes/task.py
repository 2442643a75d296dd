"""Conversations about scenes as a task."""

from __future__ import annotations

from rxt.tasks.base import GeneratingTask, Split, Told
from rxt.tasks.scenes.config import ScenesConfig
from rxt.tasks.scenes.talks import USUAL, ScenesConversation, changed, generate, never_told, told

PROBES = {"told": told, "changed": changed, "never_told": never_told}


class Scenes(GeneratingTask[ScenesConfig]):
    """What people tell, written by hand with places for values, and asked for by any of its parts."""

    name = "scenes"
    settings_type = ScenesConfig
    special = ("changed", "never_told")

    def conversation(self, split: Split, turns: int, seed: int, index: int) -> Told:
        mix = self.settings if split == "train" else USUAL
        return _told(generate(split, turns, seed, index, mix)).with_replies(mix.reply_rate, seed, index)

    def probe(self, split: Split, distance: int, seed: int, index: int, kind: str = "told") -> Told:
        return _told(PROBES[kind](split, distance, seed, index, self.settings))

    def as_evaluated(self) -> Scenes:
        return Scenes(USUAL)

    def describe(self, share: float) -> str:
        return f"conversations about scenes written by hand, with generated values ({share:.0%} of every batch)"


def _told(case: ScenesConversation) -> Told:
    """What the protocol knows of a conversation."""
    return Told(case.conversation, {question.turn: question for question in case.questions})
