"""Stage 4 with a pool: answer every turn out of the fragments that its query is about, and learn to find them.

Whoever made the conversations knows in which turn that was told which a later one asks for, so the router has exact
targets. The first phases have one fragment, a plain memory; later ones open more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch
from pydantic import ConfigDict

from rxt.baselines.config import BaselineKind
from rxt.config import STRICT, PoolConfig, RxTConfig
from rxt.errors import UserError
from rxt.model.mixture_of_memory import init_pool
from rxt.training.config_base import (
    COUNTS_EVERY_PASS,
    SLOW_GATES,
    PhaseSummary,
    StageSummary,
    parts_of_model,
    require,
    require_size,
)
from rxt.training.corpus import Split
from rxt.training.learner import GrownLearner, ReactiveLearner
from rxt.training.phases import Phased
from rxt.training.reading import keeping_reader
from rxt.training.routing import TEMPERATURE, Sourced, collate_sourced, pool_scores
from rxt.training.stages.base import StageContext, StageLoss
from rxt.training.stages.conversations import (
    MeanOver,
    PhasedStage,
    conversation_loss,
    mean_in_words,
    split_evenly,
    turns_at,
)

CACHE = "texts"
"""In the stage's folder: what a base makes of texts."""


@dataclass(frozen=True)
class FragmentsPhase:
    """A step of the curriculum from one fragment to many."""

    steps: int
    turns: int
    """Interactions of a conversation."""
    batch_size: int
    """Conversations in an update."""
    trains: tuple[str, ...] = ("decoder", "memory_attention", "encoder", "router")
    most_writes: int | None = None
    """Interactions after which a fragment is full in this phase, in place of the model's own number."""
    shortest: int | None = None
    """When given, each batch of generated conversations has its own length, drawn between this and ``turns``."""
    guided: bool = True
    """A turn that asks sees what holds the answer, wherever it was routed; without it, what the router chose."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require_size(self.steps, self.batch_size)
        require(self.turns >= 2, "phase.turns", f"must be at least 2, found {self.turns}: one turn needs no memory")
        require(bool(self.trains), "phase.trains", "names no part of the model")
        writes, shortest = self.most_writes, self.shortest
        require(writes is None or writes >= 1, "phase.most_writes", f"must be at least 1, found {writes}")
        fits = shortest is None or 2 <= shortest <= self.turns
        require(fits, "phase.shortest", f"must lie in 2 … turns={self.turns}, found {shortest}")

    def summary(self) -> PhaseSummary:
        """The phase for people."""
        full = "" if self.most_writes is None else f", a fragment full after {self.most_writes}"
        return PhaseSummary(
            self.steps, self.batch_size, f"conversations{full}", parts_of_model(self.trains), self.turns
        )

    def opening(self, config: PoolConfig) -> PoolConfig:
        """When this phase opens fragments."""
        return config if self.most_writes is None else replace(config, most_writes=self.most_writes)


@dataclass(frozen=True, kw_only=True)
class FragmentsConfig(Phased[FragmentsPhase]):
    """Stage 4 of models with a pool."""

    needs_trained: ClassVar[bool] = True
    kind: Literal["fragments"] = "fragments"
    phases: tuple[FragmentsPhase, ...]
    routing_weight: float = 1.0
    """Of the routing loss beside that of the answers; 0 leaves the router as it is."""
    temperature: float = TEMPERATURE
    """Similarities are divided by it in the routing loss."""
    mean_over: MeanOver = "answers"
    """As in ``memory_aware``."""
    cache_gigabytes: float = 0.0
    """As in ``adaptation``, of a model on a base: disk for what it makes of texts that come again."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        super().__post_init__()
        weight, temperature = self.routing_weight, self.temperature
        require(weight >= 0, "fragments.routing_weight", f"cannot be negative, found {weight}")
        require(self.cache_gigabytes >= 0, "cache_gigabytes", f"cannot be negative, found {self.cache_gigabytes}")
        require(temperature > 0, "fragments.temperature", f"must be positive, found {temperature}")

    def check(self, model: RxTConfig, baseline: BaselineKind | None) -> None:
        require(model.pool is not None, "fragments", "is for models with a pool, so set model.pool")
        parts = model.markers is not None and model.template == "beta"
        require(not parts, "fragments", "memorizes whole interactions, but tools told on a pre-trained base are not")
        counts = model.memory_attention.norm.kind == "ema-rms"
        require(not counts, "fragments", f"cannot train {COUNTS_EVERY_PASS}")
        super().check(model, baseline)

    def summary(self) -> StageSummary:
        mean = mean_in_words(self.mean_over)
        loss = f"answer cross-entropy, mean over {mean}; + {self.routing_weight:g} × routing"
        return StageSummary(loss, tuple(phase.summary() for phase in self.phases))

    def fitting(self, model: RxTConfig) -> Self:
        """On a base, whose encoder is the base itself and stays as it is, the fresh memory learns in its place, where
        it is learned. Rates of gates are left out where there are none."""
        if model.base is None:
            return self
        gated = model.memory_attention.variant != "tokens"
        rates = tuple(each for each in self.optim.rates if gated or each not in SLOW_GATES)
        instead = ("fresh_memory",) if model.memory_init == "learned" else ()

        def fitted(phase: FragmentsPhase) -> FragmentsPhase:
            others = tuple(part for part in phase.trains if part != "encoder")
            return replace(phase, trains=others if others == phase.trains else others + instead)

        return replace(self, phases=tuple(map(fitted, self.phases)), optim=replace(self.optim, rates=rates))


@dataclass(frozen=True)
class PhaseBatch:
    """Conversations, and the phase that they are trained in."""

    sourced: Sourced
    phase: FragmentsPhase

    def to(self, device: torch.device) -> PhaseBatch:
        """The same on a device."""
        return replace(self, sourced=self.sourced.to(device))


@dataclass(frozen=True)
class FragmentsStage(PhasedStage[FragmentsConfig]):
    """Data: conversations whose questions are known. Trains: what the phase says."""

    folder: Path = Path()
    """For what is kept of texts."""
    name: str = "4-fragments"

    @classmethod
    def build(cls, config: FragmentsConfig, context: StageContext) -> Self:
        """What is kept lies in the stage's folder."""
        return cls(context.corpus, context.template, config, folder=context.folder / cls.name)

    def learner_for(self, learner: ReactiveLearner | GrownLearner) -> ReactiveLearner | GrownLearner:
        """The run's learner; on a base, with room for what that makes of texts."""
        if isinstance(learner, GrownLearner):
            learner.reader = keeping_reader(learner.model, self.folder / CACHE, self.config.cache_gigabytes, "float32")
        return learner

    def batches(self, split: Split, step: int) -> list[PhaseBatch]:
        phase = self.config.read_at(split, step)
        turns = turns_at(self.corpus, split, step, phase.turns, phase.shortest)
        told = self.corpus.questioned(split, step, phase.batch_size, turns, long_range=False)
        parts = [collate_sourced(part, self.template) for part in split_evenly(told, self.optim.accumulate)]
        if not any(part.asked for part in parts):
            raise UserError(
                "fragments: no conversation of a batch asks for what is known to have been told in it, so the router "
                "would learn nothing; train on generated conversations, or on a share of them (--everyday-share)"
            )
        return [PhaseBatch(part, phase) for part in parts]

    def loss(
        self,
        learner: ReactiveLearner | GrownLearner,
        batch: PhaseBatch,
        all_batches: list[PhaseBatch],
        generator: torch.Generator,
    ) -> StageLoss:
        return fragments_loss(learner, batch, all_batches, self.config, generator)


def fragments_loss(
    learner: ReactiveLearner | GrownLearner,
    batch: PhaseBatch,
    all_batches: list[PhaseBatch],
    config: FragmentsConfig,
    generator: torch.Generator,
) -> StageLoss:
    """The answers of every turn out of what it sees of its conversation's pool, which begins fresh, and how well that
    was found: the mean of the routing loss over all questions of the update."""
    model, sourced, conversations = learner.model, batch.sourced, batch.sourced.conversations
    assert model.config.pool is not None
    seeds = torch.randint(2**62, (conversations.size,), generator=generator).tolist()
    pools = [init_pool(model, seed) for seed in seeds]
    opening = batch.phase.opening(model.config.pool)
    scores, routed = pool_scores(
        model,
        conversations,
        pools,
        sourced.told,
        batch.phase.guided,
        config.temperature,
        opening,
        learner.reader if isinstance(learner, GrownLearner) else None,
    )
    every = [each.sourced for each in all_batches]
    answers = conversation_loss(scores, conversations, [each.conversations for each in every], config.mean_over)
    asked = sum(each.asked for each in every)
    routing, found = routed.nll.sum() / asked, routed.correct.sum() / asked
    metrics = {**answers.metrics, "routing": routing.detach(), "routed": found.to(routing.device)}
    return StageLoss(answers.loss + config.routing_weight * routing, metrics, answers.tokens)
