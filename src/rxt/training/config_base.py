"""What the configurations of all stages share. This file needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Self

from pydantic import ConfigDict

from rxt.baselines.config import BaselineKind
from rxt.config import STRICT, RxTConfig
from rxt.errors import UserError

COUNTS_EVERY_PASS = "ema-rms norms: they count every pass"


def require(condition: bool, field_name: str, problem: str) -> None:
    """Refuse a field of a recipe in one line."""
    if not condition:
        raise UserError(f"recipe: {field_name} {problem}")


def require_size(steps: int, batch_size: int) -> None:
    """Refuse numbers of updates and batch sizes that cannot be."""
    require(steps >= 0, "steps", f"cannot be negative, found {steps}")
    require(batch_size >= 1, "batch_size", f"must be at least 1, found {batch_size}")


class PhaseSummary(NamedTuple):
    """A phase of a stage's curriculum, for people; a stage without phases is one."""

    steps: int
    batch_size: int
    data: str
    trains: str
    turns: int | None = None
    """Of the longest conversations; None where each sequence stands alone."""


class StageSummary(NamedTuple):
    """A stage for people, as in the table of docs/training.md."""

    loss: str
    phases: tuple[PhaseSummary, ...]


def parts_of_model(patterns: Sequence[str]) -> str:
    """What ``trains`` names, in words: "decoder, memory attention"."""
    if {*patterns} - {"router"} == {"decoder", "memory_attention", "encoder"}:
        return "all"
    return ", ".join("memory attention" if pattern == "memory_attention" else pattern for pattern in patterns)


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What every stage's configuration has. A subclass gives its ``kind`` a value, and has ``steps`` and ``optim``."""

    kind: str
    """The name that ``rxt.training.stages.registry`` knows the stage by, and ``--set`` addresses it by."""
    needs_trained: ClassVar[bool] = False
    """Whether the stage can only follow others, or go on from a trained model."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    @property
    def longest(self) -> int:
        """Turns of the longest conversations that the stage trains on; 0 where there is no memory between turns."""
        return 0

    def check(self, model: RxTConfig, baseline: BaselineKind | None) -> None:
        """Refuse what cannot go together with the model, or with a baseline in its place."""

    def summary(self) -> StageSummary:
        """What the stage does, for ``rxt train --show``."""
        return StageSummary("", ())

    def further(self) -> Self | None:
        """What is left of the stage in a run that goes on from a model which has been through the whole curriculum."""
        return None

    def fitting(self, model: RxTConfig) -> Self:
        """The same for a model that the run goes on with, where that has other parts than the recipe's."""
        return self


@dataclass(frozen=True)
class RateFactor:
    """Parameters by a pattern of their names, and what their learning rate is multiplied by."""

    pattern: str
    factor: float

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require(0 < self.factor < math.inf, "optim.rates.factor", f"must be positive, found {self.factor}")


SLOW_GATES = (RateFactor("memory_attention.*gate.*", 0.1),)
"""The memory's residual gates at a tenth of the learning rate: a gate sums over all slots, and steps that are right
for other matrices can throw it open for good."""


@dataclass(frozen=True)
class OptimConfig:
    """AdamW, or Muon for the inner matrices, with a linear warm-up and a cosine to ``min_lr_ratio`` of the peak."""

    learning_rate: float = 1e-3
    warmup: int = 50
    """Updates until the peak."""
    min_lr_ratio: float = 0.05
    weight_decay: float = 0.01
    """On matrices alone, never on norms and biases."""
    beta1: float = 0.9
    beta2: float = 0.98
    max_grad_norm: float = 1.0
    """Largest norm of all gradients together."""
    accumulate: int = 1
    """Micro-batches that an update's batch is split into; the gradient is that of the whole batch. What is drawn at
    random (masks, noise, fresh memories) is drawn for each micro-batch, so it differs with their number."""
    kind: Literal["adamw", "muon"] = "adamw"
    """``muon``: orthogonalised momentum (PyTorch's Muon, scaled to AdamW's step) for every matrix that is neither
    embedding nor head; AdamW for the rest."""
    rates: tuple[RateFactor, ...] = ()
    """Parameters that learn at rates of their own, by AdamW whatever the ``kind``; of several that fit, the first."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        for name in ("learning_rate", "max_grad_norm"):
            require(
                0 < getattr(self, name) < math.inf, f"optim.{name}", f"must be positive, found {getattr(self, name)}"
            )
        for name in ("warmup", "weight_decay"):
            require(getattr(self, name) >= 0, f"optim.{name}", f"cannot be negative, found {getattr(self, name)}")
        for name in ("beta1", "beta2"):
            require(0 <= getattr(self, name) < 1, f"optim.{name}", f"must lie in [0, 1), found {getattr(self, name)}")
        require(0 <= self.min_lr_ratio <= 1, "optim.min_lr_ratio", f"must lie in [0, 1], found {self.min_lr_ratio}")
        require(self.accumulate >= 1, "optim.accumulate", f"must be at least 1, found {self.accumulate}")


@dataclass(frozen=True)
class RecallConfig:
    """How a stage is evaluated whose loss does not tell how good the model is: by what it recalls in validation
    conversations."""

    every: int = 50
    """Updates between two evaluations, each with a validation; the model that the stage begins with is evaluated
    too."""
    distances: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16)
    """Turns from the telling of a fact to its question."""
    questions: int = 12
    """At every distance."""
    special: int = 32
    """Questions about facts that were changed, and as many about facts that were never told; with none they are left
    out."""
    max_score_drop: float = 0.15
    """When the share of right answers lies below the best so far by more than this, the stage has collapsed and
    stops."""
    keep: Literal["best", "last"] = "best"
    """The weights that the stage ends with: those that recalled most, or the last. One that has collapsed ends with the
    best."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        for name in ("every", "questions"):
            require(getattr(self, name) >= 1, f"recall.{name}", f"must be at least 1, found {getattr(self, name)}")
        require(
            bool(self.distances) and min(self.distances) >= 1, "recall.distances", "must be some, of one turn at least"
        )
        require(self.special >= 0, "recall.special", f"cannot be negative, found {self.special}")
        require(
            0 < self.max_score_drop <= 1, "recall.max_score_drop", f"must lie in (0, 1], found {self.max_score_drop}"
        )
