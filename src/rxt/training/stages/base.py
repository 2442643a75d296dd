"""The questions that a stage answers; the loop asks them and knows nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from rxt.data.template import Template
from rxt.errors import UserError
from rxt.training.config_base import OptimConfig
from rxt.training.corpus import Corpus, Split
from rxt.training.data_config import DataConfig
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
    def evaluator(self) -> Evaluator[LearnerT] | None:
        """What it is evaluated by during training; its validation loss alone when there is none."""
        ...

    @property
    def made_ahead(self) -> bool:
        """Whether its batches depend on nothing that training changes, so that they can be made before their turn."""
        ...

    def beside(self, learner: LearnerT) -> Sequence[nn.Module]:
        """The frozen models that its losses are computed with. Asked before the first update: processes that hold
        parts of the learner hold parts of these too."""
        ...

    def collects(self, step: int) -> bool:
        """Whether it makes its own data with the model as it is, before an update."""
        ...

    def collect(
        self, learner: LearnerT, step: int, generator: torch.Generator, process_group: ProcessGroup = SINGLE_PROCESS
    ) -> None:
        """Make that data. What it collects lies in the learner, so a checkpoint holds it. All processes collect the
        same."""
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


class CurriculumStage(Stage[Any, Any], Protocol):
    """A stage as a run needs it: beside what the loop asks, what it trains, and what a baseline has in its place."""

    def learner_for(self, learner: Any) -> Learner:
        """What the stage trains: the run's learner itself, or its model with what the stage needs beside it."""
        ...

    def curve(self) -> str:
        """The metric that is plotted when the run is over."""
        ...

    def trains_mlm_head(self) -> bool:
        """Whether the encoder learns to guess hidden words, so that the two are a pair when the stage ends."""
        ...

    def baseline(self) -> Stage[Any, Any] | None:
        """The stage that gives a baseline the same data; without one a baseline's run leaves the stage out."""
        ...


class Settings(Protocol):
    """What every stage's configuration can be asked."""

    @property
    def steps(self) -> int: ...

    @property
    def optim(self) -> OptimConfig: ...


ConfigT = TypeVar("ConfigT", bound=Settings)


@dataclass(frozen=True)
class StageContext:
    """What a stage is built with, beside its own configuration."""

    corpus: Corpus
    template: Template
    data: DataConfig
    seed: int
    folder: Path
    """Of the run; a stage may keep files in its own folder there."""
    warn: Callable[[str], None]
    """Tells the user a line."""


class BaseStage(Generic[ConfigT]):
    """What a stage of the curriculum has beside what the loop asks; most stages leave it at these answers."""

    config: ConfigT

    @property
    def steps(self) -> int:
        return self.config.steps

    @property
    def optim(self) -> OptimConfig:
        return self.config.optim

    @property
    def made_ahead(self) -> bool:
        """They are a function of data, seed and step."""
        return True

    def learner_for(self, learner: Any) -> Learner:
        """The run's learner itself."""
        return learner

    def curve(self) -> str:
        """Its loss."""
        return "loss"

    def trains_mlm_head(self) -> bool:
        """No."""
        return False

    def baseline(self) -> Stage[Any, Any] | None:
        """None: a baseline's run leaves the stage out."""
        return None

    def beside(self, learner: Any) -> Sequence[nn.Module]:
        """None: its losses are computed with the learner alone."""
        return ()

    def collects(self, step: int) -> bool:
        """No: the data is there already."""
        return False

    def collect(
        self, learner: Any, step: int, generator: torch.Generator, process_group: ProcessGroup = SINGLE_PROCESS
    ) -> None:
        """Nothing."""


@dataclass(frozen=True)
class CorpusStage(BaseStage[ConfigT]):
    """A stage that reads the run's corpus and trains a Reactive Transformer."""

    corpus: Corpus
    template: Template
    config: ConfigT
    evaluator: Evaluator[Any] | None = None

    @classmethod
    def build(cls, config: ConfigT, context: StageContext) -> Self:
        """The stage of a run."""
        return cls(context.corpus, context.template, config)
