"""The questions that a stage answers; the loop asks them and knows nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor

from rxt.errors import UserError
from rxt.training.config_base import OptimConfig
from rxt.training.corpus import Split
from rxt.training.metrics import Metrics
from rxt.training.team import ALONE, Team
from rxt.training.trainee import Learner


class OnDevice(Protocol):
    """Something that can be moved to a device."""

    def to(self, device: torch.device) -> Self: ...


Batch = TypeVar("Batch", bound=OnDevice)
Pupil = TypeVar("Pupil", bound=Learner, contravariant=True)
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


class Judge(Protocol[Pupil]):
    """What a stage is judged by where a lower loss does not mean a better model."""

    @property
    def every(self) -> int:
        """Updates between two judgements; a validation comes with each."""
        ...

    @property
    def largest_fall(self) -> float:
        """When the worth lies below the best so far by more than this, the stage has collapsed."""
        ...

    @property
    def keep(self) -> Literal["best", "last"]:
        """The weights that the stage ends with; one that has collapsed ends with the best."""
        ...

    def measure(self, trainee: Pupil) -> Metrics:
        """Numbers to log beside those of the validation; always of the same questions."""
        ...

    def worth(self, metrics: Metrics) -> float:
        """What counts of them, the more the better."""
        ...


class Collapse(UserError):
    """Nothing more can be learned from here; no weight has moved. A judged stage ends with its best weights."""


class Stage(Protocol, Generic[Pupil, Batch]):
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
    def judge(self) -> Judge[Pupil] | None:
        """What it is judged by during training; its validation loss alone when there is none."""
        ...

    def batches(self, split: Split, step: int) -> list[Batch]:
        """Which data: the micro-batches of a step."""
        ...

    def unfreeze(self, trainee: Pupil, step: int) -> None:
        """Which parameters learn at a step."""
        ...

    def loss(self, trainee: Pupil, batch: Batch, all_batches: list[Batch], generator: torch.Generator) -> StageLoss:
        """Which loss and which metrics. ``all_batches`` are the step's, for normalising over the whole update."""
        ...


@runtime_checkable
class Collects(Protocol[Pupil]):
    """A stage that makes its own data with the model as it is. What it collects lies in the trainee, so a checkpoint
    holds it."""

    def collect(self, trainee: Pupil, step: int, generator: torch.Generator, team: Team = ALONE) -> None:
        """Called before every update; whether there is something to collect is for the stage to know. All of a team
        collect the same."""
        ...
