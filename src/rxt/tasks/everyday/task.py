"""Everyday conversations as a task."""

from __future__ import annotations

from dataclasses import replace

from rxt.data.asked import Asked
from rxt.tasks.base import PreferringTask, Split, Told, TrainingSplit
from rxt.tasks.everyday.generate import EverydayConfig, EverydayConversation, generate
from rxt.tasks.everyday.phrases import values_of
from rxt.tasks.everyday.preferences import generate_preferences
from rxt.tasks.everyday.probes import (
    capacity_conversation,
    changed_conversation,
    long_range_conversation,
    never_told_conversation,
    retention_conversation,
)
from rxt.tasks.rejected import RejectedMix

PROBES = {
    "told": retention_conversation,
    "changed": changed_conversation,
    "never_told": never_told_conversation,
}
USUAL = EverydayConfig()


class Everyday(PreferringTask[EverydayConfig]):
    """Facts about people, told and asked for by the way."""

    name = "everyday"
    settings_type = EverydayConfig
    special = ("changed", "never_told")

    def conversation(self, split: Split, turns: int, seed: int, index: int) -> Told:
        return told(generate(split, turns, seed, index, self._mix(split)))

    def long_range(self, split: Split, turns: int, seed: int, index: int) -> Told:
        return told(long_range_conversation(split, turns, seed, index, self._mix(split)))

    def preferred(
        self, split: TrainingSplit, turns: int, seed: int, index: int, rejected: RejectedMix, neutral_rate: float
    ) -> Told:
        """Those for validation are of what is trained on, in the usual mix."""
        mix = self.settings if split == "train" else self.as_evaluated().settings
        made = generate_preferences(split, turns, seed, index, mix, rejected, neutral_rate)
        return replace(told(made.case), preferences=made.preferences)

    def rephrased(self, rate: float) -> Everyday:
        return Everyday(replace(self.settings, paraphrase_rate=rate))

    def probe(self, split: Split, distance: int, seed: int, index: int, kind: str = "told") -> Told:
        return told(PROBES[kind](split, distance, seed, index, self.settings))

    def crowded_probe(self, split: Split, facts: int, distance: int, seed: int, index: int) -> Told:
        return told(capacity_conversation(split, facts, distance, seed, index, self.settings))

    def chance(self, question: Asked) -> float:
        return 1 / min(self.settings.values, len(values_of(question.kind)))

    def as_evaluated(self) -> Everyday:
        """Kinds and values of the mix that is trained on; everything else is as usual."""
        return Everyday(EverydayConfig(kinds=self.settings.kinds, values=self.settings.values))

    def describe(self, share: float) -> str:
        return f"everyday conversations from the generator ({share:.0%} of every batch)"

    def _mix(self, split: Split) -> EverydayConfig:
        """How conversations are mixed may differ in training alone."""
        return self.settings if split == "train" else USUAL


def told(case: EverydayConversation) -> Told:
    """What the protocol knows of an everyday conversation."""
    questions = {question.turn: question for question in case.questions}
    return Told(case.conversation, questions, has_distractor(case))


def has_distractor(case: EverydayConversation) -> bool:
    """Whether somebody else's fact of the kind asked for last was told too."""
    asked = case.questions[-1]
    return any(fact.kind == asked.kind and fact.subject != asked.subject for fact in case.facts)
