"""What stage 5′ is told. This file needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict

from rxt.baselines.config import BaselineKind
from rxt.config import STRICT, RxTConfig
from rxt.tasks.rejected import RejectedMix
from rxt.training.config_base import (
    COUNTS_EVERY_PASS,
    OptimConfig,
    PhaseSummary,
    RecallConfig,
    StageConfig,
    StageSummary,
    parts_of_model,
    require,
    require_size,
)
from rxt.training.patterns import check_patterns


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(StageConfig):
    """Stage 5′, DMPO: of two ways to answer out of the same memory, prefer the accepted one."""

    needs_trained: ClassVar[bool] = True
    kind: Literal["preference"] = "preference"
    steps: int
    turns: int
    """Interactions of a conversation; longer ones are split into several."""
    batch_size: int
    """Conversations in an update."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    trains: tuple[str, ...] = ("decoder", "memory_attention", "encoder")
    beta: float = 0.1
    """β: how far the policy may leave the reference for a preference. Log-probabilities are means over an answer's
    tokens, so
    they are small numbers: a larger β weighs the hard pairs more."""
    label_smoothing: float = 0.0
    """Share of the pairs that are taken to be labelled the wrong way round."""
    anchor_weight: float = 0.1
    """λ: of |log π − log π_ref| of the neutral answers, where there are some."""
    accepted_weight: float = 0.0
    """Of the accepted answers' −log π, a mean over their tokens: preferences alone may make both answers less
    likely."""
    own_temperature: float | None = None
    """When given, the policy answers the generated questions at this temperature (0: its likeliest words), and what it
    says is the rejected answer where it is wrong."""
    own_longest: int = 32
    """Tokens of what it says then, thinking and a tool call among them."""
    rejected: RejectedMix = field(default_factory=RejectedMix)
    """What is wrong with the rejected answers of generated conversations."""
    neutral_rate: float = 0.0
    """Of the generated turns that ask nothing: their answers are neutral ones, so ``anchor_weight`` holds them as
    likely as they are."""
    window: int | None = None
    """Memory updates back that a turn's loss sends its gradient; all of them when not given."""
    recall: RecallConfig | None = field(default_factory=RecallConfig)
    """What the stage is evaluated by, where generated conversations are among its data; by its validation loss when not
    given."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require_size(self.steps, self.batch_size)
        require(
            self.turns >= 2, "preference.turns", f"must be at least 2, found {self.turns}: one turn needs no memory"
        )
        require(bool(self.trains), "preference.trains", "names no part of the model")
        require(self.beta > 0, "preference.beta", f"must be positive, found {self.beta}")
        require(
            0 <= self.label_smoothing < 0.5,
            "preference.label_smoothing",
            f"must lie in [0, 0.5), found {self.label_smoothing}",
        )
        for name in ("anchor_weight", "accepted_weight"):
            require(getattr(self, name) >= 0, f"preference.{name}", f"cannot be negative, found {getattr(self, name)}")
        require(
            0 <= self.neutral_rate <= 1, "preference.neutral_rate", f"must lie in [0, 1], found {self.neutral_rate}"
        )
        heat = self.own_temperature
        require(heat is None or 0 <= heat < math.inf, "preference.own_temperature", f"cannot be negative, found {heat}")
        require(self.own_longest >= 1, "preference.own_longest", f"must be at least 1, found {self.own_longest}")
        require(
            self.window is None or self.window >= 1, "preference.window", f"must be at least 1, found {self.window}"
        )

    @property
    def longest(self) -> int:
        return self.turns

    def check(self, model: RxTConfig, baseline: BaselineKind | None) -> None:
        require(baseline is None, "preference", "is for Reactive Transformers, not for a baseline")
        windowed = model.memory_attention.norm.kind == "ema-rms" and self.window is not None
        require(not windowed, "preference", f"cannot have window with {COUNTS_EVERY_PASS}")
        check_patterns(model, self.trains, "preference.trains")

    def summary(self) -> StageSummary:
        data, trains = "conversations with accepted and rejected answers", parts_of_model(self.trains)
        phase = PhaseSummary(self.steps, self.batch_size, data, trains, self.turns)
        return StageSummary(f"DMPO, β = {self.beta:g}: the accepted answer before the rejected one", (phase,))

    def further(self) -> Self:
        return self
