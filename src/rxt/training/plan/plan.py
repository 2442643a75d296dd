"""What fits where: for every stage of a run what a rank holds, how long it takes, and what to change where it does not
fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

from torch._subclasses.fake_tensor import FakeTensorMode

from rxt.errors import UserError
from rxt.training.config import RunConfig
from rxt.training.config_base import StageConfig
from rxt.training.learner import Learner
from rxt.training.plan.counting import BFLOAT16, FLOAT32, Cost
from rxt.training.plan.learners import learner_of, new_learner
from rxt.training.plan.state import State, states
from rxt.training.plan.updates import Updates, updates_of
from rxt.training.stages.base import Settings

USABLE = 0.9
"""Of a GPU's memory; the rest is for CUDA itself, passing tensors and what lies unused between others."""
MOST_GPUS = 4_096
GB = 1e9


@dataclass(frozen=True)
class Hardware:
    """What a run is planned for."""

    gpus: int = 1
    memory: float = 80e9
    """Bytes of one."""
    flops: float = 989e12
    """Operations a second of one at best."""
    utilisation: float = 0.4
    """The share of them that training makes."""

    @property
    def usable(self) -> float:
        """Bytes of one GPU that a plan may fill."""
        return USABLE * self.memory

    @property
    def speed(self) -> float:
        """Operations a second of one GPU."""
        return self.flops * self.utilisation


@dataclass(frozen=True)
class Layout:
    """How the model lies on the GPUs, and how a batch is divided."""

    sharded: bool
    """Every rank holds its share of weights, gradients and moments (FSDP2), and gathers the weights for an update;
    otherwise every rank holds all of them."""
    micro_batches: int
    """That an update's batch is divided into, at most."""
    checkpointing: bool = False


@dataclass(frozen=True)
class Held:
    """Bytes of one rank at the moment when it holds the most."""

    weights: float
    """In float32."""
    gradients: float
    optimiser: float
    gathered: float
    """Weights in bfloat16 (whole ones of a stage on a base as they are held), and where they are sharded the gradients
    of a micro-batch before they are shared out."""
    activations: float
    """What is kept of a micro-batch for the backward pass, and the gradients of its logits. Or the gradients once more,
    while they are summed over the ranks, where that is more."""

    @property
    def together(self) -> float:
        return self.weights + self.gradients + self.optimiser + self.gathered + self.activations


@dataclass(frozen=True)
class PhasePlan:
    """One phase of a stage."""

    name: str
    steps: int
    turns: int | None
    batch_size: int
    micro_batch: int
    """Rows or conversations that a GPU computes at once."""
    held: Held
    tokens: int
    """Of all its updates."""
    flops: float
    """The same."""
    seconds: float


@dataclass(frozen=True)
class StagePlan:
    """One stage, as it is to be run so that it fits, or as far as it can be made smaller."""

    kind: str
    layout: Layout
    phases: tuple[PhasePlan, ...]
    fits: bool
    settings: tuple[str, ...]
    """What must be set for that; nothing where the recipe is right as it is."""
    trouble: str = ""
    """What must be changed besides where it does not fit, in words."""

    @property
    def largest(self) -> PhasePlan:
        """The phase that holds the most."""
        return max(self.phases, key=lambda phase: phase.held.together)


@dataclass(frozen=True)
class Plan:
    """A run on some hardware."""

    name: str
    hardware: Hardware
    tokens: int
    """Of every interaction."""
    stages: tuple[StagePlan, ...]

    @property
    def fits(self) -> bool:
        return all(stage.fits for stage in self.stages)

    @property
    def seconds(self) -> float:
        return sum(phase.seconds for stage in self.stages for phase in stage.phases)


@dataclass(frozen=True)
class CountedStage:
    """What is known of a stage, whatever it runs on."""

    kind: str
    accumulate: int
    updates: list[Updates]
    states: list[State]
    """Of each of the ``updates``."""
    gathered_in_bfloat16: bool
    """Where the weights are sharded, how whole ones are gathered: else as they are held."""


@dataclass(frozen=True)
class CountedRun:
    """What is known of a run, whatever it runs on."""

    name: str
    tokens: int
    """Of every interaction and row."""
    stages: tuple[CountedStage, ...]

    def on(self, hardware: Hardware) -> Plan:
        """Every stage in the first layout that fits: whole on every GPU before sharded, more micro-batches before
        checkpointing."""
        return Plan(self.name, hardware, self.tokens, tuple(_plan(stage, hardware) for stage in self.stages))


def count_run(run: RunConfig, tokens: int | None = None) -> CountedRun:
    """Count every stage of a run that makes updates. Nothing is computed, and no weights are needed.

    Args:
        tokens: of every interaction and row; the model's longest when not given.

    Raises:
        UserError: it trains a baseline, has a stage that is not known, or ``tokens`` is more than the model takes.
    """
    if run.baseline is not None:
        raise UserError(f"--plan: counts Reactive Transformers, not the baseline {run.baseline}; leave one of them out")
    longest = run.model.max_length
    if tokens is not None and not 2 <= tokens <= longest:
        raise UserError(f"--tokens {tokens}: an interaction of this model has 2 to {longest:,} tokens")
    with FakeTensorMode():
        learner = new_learner(run)
        stages = [_count(stage, learner_of(stage, learner), tokens or longest) for stage in run.stages]
    return CountedRun(run.name, tokens or longest, tuple(stage for stage in stages if stage.updates))


def _count(stage: StageConfig, learner: Learner, tokens: int) -> CountedStage:
    optim = cast(Settings, stage).optim
    updates = [each for each in updates_of(stage, learner, tokens) if each.steps]
    held = states(stage, optim, learner, updates)
    return CountedStage(stage.kind, optim.accumulate, updates, held, learner.gathered_in_bfloat16)


def _plan(stage: CountedStage, hardware: Hardware) -> StagePlan:
    """The first layout in which all of a stage fits, or else the one that needs the least."""
    plans = [_in_layout(stage, layout, hardware) for layout in _layouts(stage, hardware)]
    for plan in plans:
        if plan.fits:
            return plan
    return replace(plans[-1], trouble=_trouble(stage, plans[-1], hardware))


def _layouts(stage: CountedStage, hardware: Hardware) -> Iterator[Layout]:
    """Those that may be chosen, the most wanted first."""
    most = max(hardware.gpus, *(part.batch_size for part in stage.updates))
    counts = [max(stage.accumulate, hardware.gpus)]
    while counts[-1] < most:
        counts.append(min(2 * counts[-1], most))
    cheaper = any(part.cheaper is not None for part in stage.updates)
    for sharded in (False, True) if hardware.gpus > 1 else (False,):
        for checkpointing in (False, True) if cheaper else (False,):
            yield from (Layout(sharded, count, checkpointing) for count in counts)


def _in_layout(stage: CountedStage, layout: Layout, hardware: Hardware) -> StagePlan:
    parts = zip(stage.updates, stage.states, strict=True)
    phases = tuple(_phase(part, state, layout, hardware, stage.gathered_in_bfloat16) for part, state in parts)
    settings = (
        [] if layout.micro_batches <= stage.accumulate else [f"{stage.kind}.optim.accumulate={layout.micro_batches}"]
    )
    if layout.checkpointing:
        settings.append(f"{stage.kind}.checkpointing=true")
    settings += [
        f"{phase.name}.batch_size={phase.batch_size}"
        for phase, part in zip(phases, stage.updates, strict=True)
        if phase.batch_size > part.batch_size
    ]
    fits = all(phase.held.together <= hardware.usable for phase in phases)
    return StagePlan(stage.kind, layout, phases, fits, tuple(settings))


def _phase(part: Updates, state: State, layout: Layout, hardware: Hardware, rounded: bool) -> PhasePlan:
    batch = max(part.batch_size, hardware.gpus)  # every rank needs one of them
    micro_batch = math.ceil(batch / min(batch, max(layout.micro_batches, part.least_parts)))
    cost = part.cheaper if layout.checkpointing and part.cheaper is not None else part.cost
    seconds = part.steps * math.ceil(batch / hardware.gpus) * cost.flops / hardware.speed
    return PhasePlan(
        part.name,
        part.steps,
        part.turns,
        batch,
        micro_batch,
        _held(cost, micro_batch, state, layout, hardware.gpus, rounded),
        part.steps * batch * part.tokens,
        part.steps * batch * cost.flops,
        seconds,
    )


def _held(cost: Cost, micro_batch: int, state: State, layout: Layout, gpus: int, rounded: bool) -> Held:
    """``rounded``: whole weights are gathered in bfloat16."""
    ranks = gpus if layout.sharded else 1
    activations = micro_batch * cost.most(BFLOAT16)
    gathered = BFLOAT16 * state.weights / FLOAT32
    if layout.sharded:
        gathered = (state.weights + state.gradients) * (BFLOAT16 / FLOAT32 if rounded else 1)
    if gpus > 1:
        activations = max(activations, state.gradients)
    return Held(state.weights / ranks, state.gradients / ranks, state.optimiser / ranks, gathered, activations)


def _trouble(stage: CountedStage, smallest: StagePlan, hardware: Hardware) -> str:
    """What would help where nothing on this hardware does."""
    gpus = max(2, 2 * hardware.gpus)
    while gpus <= MOST_GPUS:
        more = replace(hardware, gpus=gpus)
        layout = replace(smallest.layout, sharded=True, micro_batches=max(gpus, smallest.layout.micro_batches))
        if _in_layout(stage, layout, more).fits:
            return f"{gpus} such GPUs would do, sharded"
        gpus *= 2
    activations = smallest.largest.held.activations / GB
    what = "row" if smallest.largest.turns is None else "conversation"
    return (
        f"a single {what} keeps {activations:,.1f} GB: shorter interactions (--tokens), fewer turns, or GPUs with more "
        "memory"
    )
