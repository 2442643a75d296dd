"""Open conversations as a task."""

from __future__ import annotations

from dataclasses import replace

from rxt.tasks.base import PreferringTask, Split, Told, TrainingSplit
from rxt.tasks.open.config import OpenConfig
from rxt.tasks.open.preferences import generate_preferences
from rxt.tasks.open.probes import changed, crowded, long_range, never_told, told
from rxt.tasks.open.talks import USUAL, OpenConversation, generate
from rxt.tasks.rejected import RejectedMix

PROBES = {"told": told, "changed": changed, "never_told": never_told}


class Open(PreferringTask[OpenConfig]):
    """Facts of an open world, told, changed and asked for by the way, in people's own words."""

    name = "open"
    settings_type = OpenConfig
    special = ("changed", "never_told")

    def conversation(self, split: Split, turns: int, seed: int, index: int) -> Told:
        mix = self._mix(split)
        return _told(generate(split, turns, seed, index, mix)).with_replies(mix.reply_rate, seed, index)

    def long_range(self, split: Split, turns: int, seed: int, index: int) -> Told:
        mix = self._mix(split)
        return _told(long_range(split, turns, seed, index, mix)).with_replies(mix.reply_rate, seed, index)

    def probe(self, split: Split, distance: int, seed: int, index: int, kind: str = "told") -> Told:
        return _told(PROBES[kind](split, distance, seed, index, self.settings))

    def crowded_probe(self, split: Split, facts: int, distance: int, seed: int, index: int) -> Told:
        return _told(crowded(split, facts, distance, seed, index, self.settings))

    def preferred(
        self, split: TrainingSplit, turns: int, seed: int, index: int, rejected: RejectedMix, neutral_rate: float
    ) -> Told:
        """Those for validation are of what is trained on, in the usual mix."""
        mix = self.settings if split == "train" else self.as_evaluated().settings
        made = generate_preferences(split, turns, seed, index, mix, rejected, neutral_rate)
        return replace(_told(made.case), preferences=made.preferences)

    def as_evaluated(self) -> Open:
        """The relations that are trained on; everything else is as usual."""
        return Open(OpenConfig(relations=self.settings.relations))

    def describe(self, share: float) -> str:
        return f"open conversations from the generator ({share:.0%} of every batch)"

    def _mix(self, split: Split) -> OpenConfig:
        """How conversations are mixed may differ in training alone."""
        return self.settings if split == "train" else USUAL


def _told(case: OpenConversation) -> Told:
    """What the protocol knows of an open conversation."""
    asked = case.questions[-1]
    return Told(
        case.conversation,
        {question.turn: question for question in case.questions},
        distracted=any(fact.relation.name == asked.kind and fact.value != asked.value for fact in case.facts),
    )
