"""Hybrid conversations as a task."""

from __future__ import annotations

from dataclasses import replace

from rxt.data.asked import Asked
from rxt.tasks.base import PreferringTask, Split, Told, TrainingSplit
from rxt.tasks.hybrid.config import HybridConfig
from rxt.tasks.hybrid.preferences import generate_preferences
from rxt.tasks.hybrid.probes import ProbeKind, probe
from rxt.tasks.hybrid.questions import HybridQuestion
from rxt.tasks.hybrid.talks import HybridConversation, generate
from rxt.tasks.rejected import RejectedMix

PROBES: dict[str, ProbeKind] = {"told": "recall", "steps": "steps"}
"""Those that an answer in words can be right to; ``rxt.evaluation.hybrid`` asks the others too."""
USUAL = HybridConfig()


class Hybrid(PreferringTask[HybridConfig]):
    """Questions that need steps or a tool, over what was told turns ago; for models of the Beta template."""

    name = "hybrid"
    settings_type = HybridConfig
    special = ("steps",)

    def conversation(self, split: Split, turns: int, seed: int, index: int) -> Told:
        mix = self.settings if split == "train" else USUAL
        return told(generate(split, turns, seed, index, mix)).with_replies(mix.reply_rate, seed, index)

    def probe(self, split: Split, distance: int, seed: int, index: int, kind: str = "told") -> Told:
        return told(probe(split, distance, seed, index, self.settings, PROBES[kind]))

    def preferred(
        self, split: TrainingSplit, turns: int, seed: int, index: int, rejected: RejectedMix, neutral_rate: float
    ) -> Told:
        """Those for validation are in the usual mix."""
        mix = self.settings if split == "train" else USUAL
        made = generate_preferences(split, turns, seed, index, mix, rejected, neutral_rate)
        return replace(told(made.case), preferences=made.preferences)

    def chance(self, question: Asked) -> float:
        return question.chance if isinstance(question, HybridQuestion) else 0.0

    def as_evaluated(self) -> Hybrid:
        return Hybrid(USUAL)

    def describe(self, share: float) -> str:
        return f"hybrid conversations from the generator ({share:.0%} of every batch)"


def told(case: HybridConversation) -> Told:
    """What the protocol knows of a hybrid conversation."""
    return Told(case.conversation, {question.turn: question for question in case.questions})
