"""Stage 4, memory-aware training: answer every turn of a conversation from the memory of the turns before it.

The gradient runs through the whole conversation unless a window says otherwise; parts are unfrozen phase by phase.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from pydantic import ConfigDict

from rxt.baselines.config import BaselineKind
from rxt.config import STRICT, RxTConfig
from rxt.data.collate import Conversations, collate_conversations
from rxt.data.template import Encoded, Template
from rxt.training.config_base import (
    COUNTS_EVERY_PASS,
    PhaseSummary,
    StageSummary,
    parts_of_model,
    require,
    require_size,
)
from rxt.training.corpus import Corpus, Split
from rxt.training.learner import ReactiveLearner, fresh_slots
from rxt.training.phases import Phased
from rxt.training.recitation import SHORTEST_STRING, recitation, recitation_within
from rxt.training.stages.base import StageLoss
from rxt.training.stages.baseline import BaselineConversationStage
from rxt.training.stages.conversations import (
    MeanOver,
    PhasedStage,
    conversation_loss,
    mean_in_words,
    split_evenly,
    spread,
    turns_at,
)
from rxt.training.unroll import conversation_scores


@dataclass(frozen=True)
class Phase:
    """A step of stage 4's curriculum."""

    steps: int
    turns: int
    """Interactions of a conversation; longer ones are split into several."""
    batch_size: int
    """Conversations in an update."""
    trains: tuple[str, ...] = ("decoder", "memory_attention", "encoder")
    echo: bool = False
    """Instead of holding a conversation, say each single interaction again, word by word, from the memory of it."""
    random_pieces: int | None = None
    """Instead of conversations, strings of up to so many random pieces of the vocabulary, told and recited: see
    :mod:`rxt.training.recitation`. Nothing but memory can go on in them, so they teach sooner what it is for than words
    do."""
    random_share: float = 1.0
    """Of a batch's conversations, those of random pieces, where there are such. A share of them beside words keeps what
    they have taught; without them, learning the words unlearns it."""
    within_share: float = 0.0
    """Of the conversations of random pieces, those that ask in the message that tells."""
    shortest: int | None = None
    """When given, each batch of generated conversations has its own length, drawn between this and ``turns``."""
    paraphrase_rate: float | None = None
    """When given, of the generated conversations of this phase, in place of the data's own."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require_size(self.steps, self.batch_size)
        require(self.turns >= 2, "phase.turns", f"must be at least 2, found {self.turns}: one turn needs no memory")
        require(bool(self.trains), "phase.trains", "names no part of the model")
        rate = self.paraphrase_rate
        require(rate is None or 0 <= rate <= 1, "phase.paraphrase_rate", f"must lie in [0, 1], found {rate}")
        pieces = self.random_pieces
        least = SHORTEST_STRING
        require(pieces is None or pieces >= least, "phase.random_pieces", f"must be at least {least}, found {pieces}")
        require(pieces is None or not self.echo, "phase.echo", "goes without random_pieces, so leave one of them out")
        share = self.random_share
        require(0 < share <= 1, "phase.random_share", f"must be above 0 and at most 1, found {share}")
        require(pieces is not None or share == 1, "phase.random_share", "is for phases with random_pieces")
        within = self.within_share
        require(0 <= within <= 1, "phase.within_share", f"must lie in [0, 1], found {within}")
        require(pieces is not None or not within, "phase.within_share", "is for phases with random_pieces")
        if self.shortest is not None:
            require(
                1 <= self.shortest <= self.turns,
                "phase.shortest",
                f"must lie in 1 … turns={self.turns}, found {self.shortest}",
            )

    def summary(self) -> PhaseSummary:
        """The phase for people."""
        data = "interactions, echoed" if self.echo else "conversations"
        if self.random_pieces is not None:
            data = "random strings, recited" + ("" if self.random_share == 1 else f", beside {data}")
        turns = None if self.echo else self.turns
        return PhaseSummary(self.steps, self.batch_size, data, parts_of_model(self.trains), turns)


@dataclass(frozen=True, kw_only=True)
class MemoryAwareConfig(Phased[Phase]):
    """Stage 4: the whole model learns to remember, turn after turn."""

    needs_trained: ClassVar[bool] = True
    kind: Literal["memory_aware"] = "memory_aware"
    phases: tuple[Phase, ...]
    window: int | None = None
    """Memory updates back that a turn's loss sends its gradient; all of them when not given."""
    checkpointing: bool = False
    """Keep one turn's activations at a time: less memory, more time, the same gradient."""
    mean_over: MeanOver = "turns"
    """``turns``: the mean over the answer tokens of a turn, summed over turns. ``answers``: the mean over all answer
    tokens, so that late turns, which few conversations of uneven length reach, count no more than others."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.window is None or self.window >= 1, "window", f"must be at least 1, found {self.window}")

    def check(self, model: RxTConfig, baseline: BaselineKind | None) -> None:
        if model.memory_attention.norm.kind == "ema-rms":
            recomputes = self.window is not None or self.checkpointing
            require(not recomputes, "memory_aware", f"cannot have window or checkpointing with {COUNTS_EVERY_PASS}")
        super().check(model, baseline)

    def summary(self) -> StageSummary:
        mean = mean_in_words(self.mean_over)
        phases = tuple(phase.summary() for phase in self.phases)
        return StageSummary(f"answer cross-entropy, mean over {mean}", phases)


@dataclass(frozen=True)
class MemoryAwareStage(PhasedStage[MemoryAwareConfig]):
    """Data: conversations, longer in every phase. Trains: what the phase says."""

    name: str = "4-memory-aware"

    def baseline(self) -> BaselineConversationStage:
        return BaselineConversationStage(self, self.config.mean_over)

    def batches(self, split: Split, step: int) -> list[Conversations]:
        phase = self.config.read_at(split, step)
        return phase_batches(phase, self.corpus, self.template, split, step, self.optim.accumulate)

    def loss(
        self,
        learner: ReactiveLearner,
        batch: Conversations,
        all_batches: list[Conversations],
        generator: torch.Generator,
    ) -> StageLoss:
        return memory_aware_loss(learner, batch, all_batches, self.config, generator)


def phase_batches(
    phase: Phase, corpus: Corpus, template: Template, split: Split, step: int, accumulate: int
) -> list[Conversations]:
    """The conversations of a step of a phase, in at most ``accumulate`` micro-batches."""
    if phase.echo:
        return echoes(corpus.encoded_interactions(template, split, step, phase.batch_size), template, accumulate)
    turns = turns_at(corpus, split, step, phase.turns, phase.shortest)
    recited: list[list[Encoded]] = []
    if phase.random_pieces is not None:
        rng = random.Random(f"{corpus.seed} {split} {step}")
        many = range(int(phase.batch_size * phase.random_share + rng.random()))
        within = round(len(many) * phase.within_share)
        recited = [
            (recitation_within if number < within else recitation)(template, turns, phase.random_pieces, rng)
            for number in many
        ]
    size, rate = phase.batch_size - len(recited), phase.paraphrase_rate
    held = corpus.encoded(template, split, step, size, turns, rate) if size else []
    parts = split_evenly(spread(recited, held), accumulate)
    return [collate_conversations(part, template.tokens.pad) for part in parts]


def memory_aware_loss(
    learner: ReactiveLearner,
    batch: Conversations,
    all_batches: list[Conversations],
    config: MemoryAwareConfig,
    generator: torch.Generator,
) -> StageLoss:
    """The answers of every turn, from the memory of the turns before it, which begins fresh."""
    slots = fresh_slots(learner, batch.size, generator)
    scores = conversation_scores(learner.model, batch, slots, config.window, config.checkpointing)
    return conversation_loss(scores, batch, all_batches, config.mean_over)


def echoes(said: Sequence[Encoded], template: Template, accumulate: int) -> list[Conversations]:
    """Conversations of two turns: an interaction, and the same one again with every token a target.

    The decoder has learned in stages 1 and 2 to read a text from its encoded tokens; here it reads the same text from
    the slots that the memory attention has written. Every word of the text tells the memory attention what to keep.
    """
    pairs = [[once, replace(once, loss=[False] + [True] * (len(once.ids) - 1))] for once in said]
    return [collate_conversations(part, template.tokens.pad) for part in split_evenly(pairs, accumulate)]
