"""A curriculum of phases inside a stage, one after another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, Self, TypeVar

from rxt.baselines.config import BaselineKind
from rxt.config import RxTConfig
from rxt.training.config_base import OptimConfig, PhaseSummary, StageConfig, require
from rxt.training.corpus import Split
from rxt.training.patterns import check_patterns


class PhaseConfig(Protocol):
    """What every phase has."""

    @property
    def steps(self) -> int:
        """Updates."""
        ...

    @property
    def turns(self) -> int:
        """Of its longest conversations."""
        ...

    @property
    def trains(self) -> tuple[str, ...]:
        """What learns, by patterns of names."""
        ...

    def summary(self) -> PhaseSummary: ...


Phase = TypeVar("Phase", bound=PhaseConfig)


@dataclass(frozen=True, kw_only=True)
class Phased(StageConfig, Generic[Phase]):
    """What the configuration of a stage with phases has. A subclass says of which class they are."""

    phases: tuple[Phase, ...]
    optim: OptimConfig = field(default_factory=OptimConfig)

    def __post_init__(self) -> None:
        require(bool(self.phases), f"{self.kind}.phases", "must be one at least")

    @property
    def steps(self) -> int:
        """Updates of all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def longest(self) -> int:
        """Turns of the longest conversations."""
        return max(phase.turns for phase in self.phases)

    def at(self, step: int) -> tuple[Phase, int]:
        """The phase of an update, and how many updates of that phase were done before it; the last one from there
        on."""
        for phase in self.phases:
            if step < phase.steps:
                return phase, step
            step -= phase.steps
        return self.phases[-1], self.phases[-1].steps + step

    def read_at(self, split: Split, step: int) -> Phase:
        """The phase whose data a step reads: the update's own, or for validation always the last one's."""
        return self.at(step)[0] if split == "train" else self.phases[-1]

    def check(self, model: RxTConfig, baseline: BaselineKind | None) -> None:
        """Refuse phases of which one would train what the model has not."""
        for index, phase in enumerate(self.phases):
            check_patterns(model, phase.trains, f"{self.kind}.phases.{index}.trains")

    def further(self) -> Self | None:
        """The last phase, of the longest conversations."""
        return replace(self, phases=self.phases[-1:])
