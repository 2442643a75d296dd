"""The questions that a stage answers; the loop asks them and knows nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor

from rxt.errors import UserError
from rxt.training.config_base import OptimConfig
from rxt.training.corpus import Split
from rxt.training.learner import Learner
from rxt.training.metrics import Metrics
from rxt.training.process_group import SINGLE_PROCESS, ProcessGroup


class OnDevice(Protocol):
    """Something that can be moved to a device."""

    def to(self, device: torch.device) -> Self: ...


Batch = TypeVar("Batch", bound=OnDevice)
LearnerT = TypeVar("LearnerT", bound=Learner, contravariant=True)
"""What a stage trains."""


@dataclass(frozen=True)
class StageLoss:
    """What one micro-batch contributes to an update."""

    loss: Tensor
    """Scalar; summed over the micro-batches of an update it is the update's loss."""
    metrics: dict[str, Tensor]
    """Scalars to log, summed over micro-batches likewise."""
    tokens: int
    """Real tokens read."""


class Evaluator(Protocol[LearnerT]):
    """What a stage is evaluated by where a lower loss does not mean a better model."""

    @property
    def every(self) -> int:
        """Updates between two evaluations; a validation comes with each."""
        ...

    @property
    def max_score_drop(self) -> float:
        """When the score lies below the best so far by more than this, the stage has collapsed."""
        ...

    @property
    def keep(self) -> Literal["best", "last"]:
        """The weights that the stage ends with; one that has collapsed ends with the best."""
        ...

    def measure(self, learner: LearnerT) -> Metrics:
        """Numbers to log beside those of the validation; always of the same questions."""
        ...

    def score(self, metrics: Metrics) -> float:
        """What counts of them, the more the better."""
        ...


class EarlyStopping(UserError):
    """Nothing more can be learned from here; no weight has moved. An evaluated stage ends with its best weights."""


class Stage(Protocol, Generic[LearnerT, Batch]):
    """One stage of the curriculum. Everything is a function of the step, so a resumed stage needs nothing restored."""

    @property
    def name(self) -> str:
        """Of its folder in the run."""
        ...

    @property
    def steps(self) -> int:
        """Updates in all."""
        ...

    @property
    def optim(self) -> OptimConfig: ...

    @property
    def config(self) -> object:
        """Its part of the run's configuration, recorded in the stage's folder."""
        ...

    @property
    def evaluator(self) -> Evaluator[LearnerT] | None:
        """What it is evaluated by during training; its validation loss alone when there is none."""
        ...

    def batches(self, split: Split, step: int) -> list[Batch]:
        """Which data: the micro-batches of a step."""
        ...

    def unfreeze(self, learner: LearnerT, step: int) -> None:
        """Which parameters learn at a step."""
        ...

    def loss(self, learner: LearnerT, batch: Batch, all_batches: list[Batch], generator: torch.Generator) -> StageLoss:
        """Which loss and which metrics. ``all_batches`` are the step's, for normalising over the whole update."""
        ...


@runtime_checkable
class Collects(Protocol[LearnerT]):
    """A stage that makes its own data with the model as it is. What it collects lies in the learner, so a checkpoint
    holds it."""

    def collect(
        self, learner: LearnerT, step: int, generator: torch.Generator, process_group: ProcessGroup = SINGLE_PROCESS
    ) -> None:
        """Called before every update; whether there is something to collect is for the stage to know. All processes
        collect the same."""
        ...
