"""The one training loop: step, accumulate, clip, log, validate, checkpoint. It knows no stage."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from rxt.training.checkpoint import Checkpoints, StageState
from rxt.training.compiled import as_written, compile_layers
from rxt.training.interrupt import Interrupt
from rxt.training.metrics import Metrics, MetricsLog, NoLog, StageProgress, say
from rxt.training.optim import Optimizer, learning_rate, make_optimizer, set_learning_rate
from rxt.training.precision import Products, autocast, products_of
from rxt.training.prefetch import batches_ahead
from rxt.training.process_group import SINGLE_PROCESS, ProcessGroup
from rxt.training.stages.base import Batch, EarlyStopping, LearnerT, Stage, StageLoss
from rxt.training.together import Parallel, Together, training_together


class LoopConfig(Protocol):
    """What the loop is told beside the stage; ``RunConfig`` says what each is."""

    @property
    def seed(self) -> int: ...
    @property
    def log_every(self) -> int: ...
    @property
    def validate_every(self) -> int: ...
    @property
    def validation_batches(self) -> int: ...
    @property
    def checkpoint_every(self) -> int: ...
    @property
    def keep_checkpoints(self) -> int: ...


@dataclass(frozen=True)
class LoopContext:
    """What every stage of a run shares."""

    run: LoopConfig
    folder: Path
    console: Console
    progress: Progress
    interrupt: Interrupt
    process_group: ProcessGroup = SINGLE_PROCESS
    parallel: Parallel = "replicate"
    compiled: bool = False
    """Whether updates run compiled layers."""
    device: torch.device | None = None
    """What is trained on; where the learner is by default."""
    loader_processes: int = 0
    """Processes that make batches ahead."""
    products: Products | None = None
    """The type that products are computed in; as the device does by itself when not given."""


def run_stage(stage: Stage[LearnerT, Batch], learner: LearnerT, context: LoopContext) -> int:
    """Train a stage to its end, from its last checkpoint where there is one. The same steps give the same weights.

    A stage with an evaluator ends with its best weights, if the evaluator says so, and stops early if it collapses.

    Returns:
        The step whose weights the learner has now.
    """
    process_group, evaluator = context.process_group, stage.evaluator
    device = context.device or learner.device
    together = training_together(learner, process_group, context.parallel, device, stage.beside, context.products)
    if context.compiled:
        compile_layers(together.learner)
    writing = process_group.once_more() if together.sharded else process_group
    checkpoints = Checkpoints(context.folder / stage.name, context.run.keep_checkpoints, writing, together.sharded)
    optimizer = make_optimizer(together.learner, stage.optim)
    last = process_group.from_main(checkpoints.last())
    state = StageState(0) if last is None else checkpoints.load(last, together.learner, optimizer)
    if state.stopped is None and not state.step >= stage.steps > 0:
        state = _go_on(stage, together, optimizer, checkpoints, state, last is None, context)
    ends = state.step
    if evaluator is not None and (evaluator.keep == "best" or state.stopped is not None):
        assert state.best_step is not None, "an evaluated stage begins with an evaluation"
        ends = state.best_step
        process_group.barrier()  # until it is written
        checkpoints.load(ends, together.learner)
    together.give_back(learner)
    checkpoints.convert(ends, learner)
    return ends


def _go_on(
    stage: Stage[LearnerT, Batch],
    together: Together[LearnerT],
    optimizer: Optimizer,
    checkpoints: Checkpoints,
    state: StageState,
    fresh: bool,
    context: LoopContext,
) -> StageState:
    """Make the updates that are left; ``fresh`` where there is no checkpoint yet. The result is written in a
    checkpoint."""
    run, process_group, evaluator, learner = context.run, context.process_group, stage.evaluator, together.learner
    validate_every = run.validate_every if evaluator is None else evaluator.every
    log = MetricsLog(checkpoints.folder, -1 if fresh else state.step) if process_group.is_main_process else NoLog()
    bar = StageProgress(context.progress, stage.name, stage.steps, state.step)
    if not fresh and process_group.is_main_process:
        say(context.console, f"{stage.name}  goes on from step {state.step}/{stage.steps}")
    try:
        if evaluator is not None and fresh:
            state = _evaluated(stage, together, state, log, context)
            checkpoints.save(learner, optimizer, state)
        with batches_ahead(stage, state.step, context.loader_processes) as batches:
            while state.step < stage.steps and state.stopped is None:
                step = state.step
                try:
                    losses = update(stage, learner, optimizer, run.seed, step, together, batches)
                except EarlyStopping as error:
                    if evaluator is None:
                        raise
                    state = replace(state, stopped=str(error))
                else:
                    state = replace(state, step=step + 1)
                    bar.advance(sum(loss.tokens for loss in losses))
                    if state.step % run.log_every == 0 or state.step == stage.steps:
                        metrics = {
                            "loss": _total(losses),
                            **_metrics(losses),
                            "learning_rate": optimizer.param_groups[0]["lr"],
                        }
                        bar.show_loss(metrics["loss"])
                        log.write(
                            state.step,
                            "train",
                            {**metrics, "tokens_per_second": bar.tokens_per_second(), "seconds": bar.lap()},
                        )
                    if state.step % validate_every == 0 or state.step == stage.steps:
                        state = _evaluated(stage, together, state, log, context)
                flags = torch.tensor([float(context.interrupt.requested), float(checkpoints.failed)])
                interrupted, failed = process_group.sum(flags).tolist()
                if failed:
                    checkpoints.finish()
                due = state.step % run.checkpoint_every == 0 or state.step in (stage.steps, state.best_step)
                if due or interrupted or state.stopped is not None:
                    checkpoints.begin(learner, optimizer, state)
                if state.stopped is not None:
                    say(
                        context.console,
                        f"{state.stopped}: {stage.name} ends with its best weights, those of step {state.best_step}",
                        "yellow",
                    )
                elif interrupted:
                    checkpoints.finish()
                    process_group.barrier()  # whoever ends first would have the launcher end the one that still saves
                    say(
                        context.console,
                        f"{stage.name}  stopped and saved after step {state.step}; the same command goes on from there",
                    )
                    raise KeyboardInterrupt
        if stage.steps == 0:
            checkpoints.begin(learner, optimizer, state)
        checkpoints.finish()
    except Exception:  # not what a second Ctrl-C raises, which waits for nothing
        checkpoints.abandon()
        raise
    finally:
        log.close()
    return state


def _evaluated(
    stage: Stage[LearnerT, Batch],
    together: Together[LearnerT],
    state: StageState,
    log: MetricsLog | NoLog,
    context: LoopContext,
) -> StageState:
    """Where the stage stands after an evaluation, which the main process makes while the others wait."""
    with together.whole(), as_written():
        if context.process_group.is_main_process:
            state = _weighed(stage, together.learner, state, log, context)
        return context.process_group.from_main(state)


def _weighed(
    stage: Stage[LearnerT, Batch], learner: LearnerT, state: StageState, log: MetricsLog | NoLog, context: LoopContext
) -> StageState:
    """Validate, ask the evaluator where there is one, tell what they found; the best so far is remembered, a
    collapse ends the stage."""
    run, evaluator = context.run, stage.evaluator
    metrics = validate(stage, learner, run.seed, run.validation_batches, context.products)
    if evaluator is not None:
        learner.eval()
        metrics |= evaluator.measure(learner)
    log.write(state.step, "validation", metrics)
    _report(context.console, stage, state.step, metrics)
    if evaluator is None:
        better = state.best_loss is None or metrics["loss"] < state.best_loss
        return replace(state, best_loss=metrics["loss"], best_step=state.step) if better else state
    score = evaluator.score(metrics)
    if state.best_score is None or score > state.best_score:
        return replace(state, best_score=score, best_step=state.step)
    if not score >= state.best_score - evaluator.max_score_drop:
        scores = f"its score is {score:.3f}, its best was {state.best_score:.3f}"
        found = f"{stage.name}: collapsed at step {state.step} ({scores})"
        return replace(state, stopped=found)
    return state


class NotFinite(EarlyStopping):
    """A loss or its gradient is not a number, or endless; no weight has moved."""


def update(
    stage: Stage[LearnerT, Batch],
    learner: LearnerT,
    optimizer: Optimizer,
    seed: int,
    step: int,
    together: Together[LearnerT] | None = None,
    made: Callable[[int], list[Batch]] | None = None,
) -> list[StageLoss]:
    """One optimiser step over all micro-batches of ``step``, of which each process of several takes some.

    A loss that is not finite stops before any weight moves: ``NotFinite``. ``together``: how several processes train
    this learner. ``made``: gives the micro-batches in the stage's place.
    """
    together = together or Together(learner)
    process_group = together.process_group
    learner.train()
    stage.unfreeze(learner, step)
    set_learning_rate(optimizer, learning_rate(stage.optim, step, stage.steps))
    optimizer.zero_grad()
    if stage.collects(step):
        with together.whole(), as_written(), autocast(learner.device, together.products):
            stage.collect(learner, step, step_generator(seed, stage.name, "collect", step, 0), process_group)
    drawn = stage.batches("train", step) if made is None else made(step)
    batches = [batch.to(learner.device) for batch in drawn]
    losses: list[StageLoss] = []

    def compute(index: int, batch: Batch) -> Tensor:
        generator = step_generator(seed, stage.name, "train", step, index)
        with autocast(learner.device, together.products):
            loss = stage.loss(learner, batch, batches, generator)
        losses.append(replace(loss, loss=loss.loss.detach()))
        return loss.loss

    mine = [partial(compute, index, batch) for index, batch in process_group.shard(batches)]
    process_group.meet()
    together.backward(mine, passes=math.ceil(len(batches) / process_group.world_size))
    losses = _over_processes(losses, process_group)
    trained = [parameter for parameter in learner.parameters() if parameter.grad is not None]
    own_norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in trained if parameter.grad is not None])
    norm = together.total(own_norm)
    if not float(stage.optim.max_grad_norm / (norm + 1e-6)) >= 1:  # else they would all be multiplied by one
        torch.nn.utils.clip_grads_with_norm_(trained, stage.optim.max_grad_norm, own_norm)
    if not math.isfinite(_total(losses)) or not math.isfinite(float(norm)):
        kept = "the last checkpoint is kept; start again with a lower learning rate and another --out"
        where = f"{stage.name}: the loss or its gradient is not finite at step {step + 1}"
        raise NotFinite(where if stage.evaluator is not None else f"{where}; {kept}")
    optimizer.step()
    return losses


@torch.no_grad()
def validate(
    stage: Stage[LearnerT, Batch], learner: LearnerT, seed: int, batches: int, products: Products | None = None
) -> Metrics:
    """Mean loss and metrics over the first validation batches, always the same ones; ``products`` as in training."""
    learner.eval()
    computed = products_of(learner.device) if products is None else products
    sums: Metrics = {}
    for step in range(batches):
        parts = [part.to(learner.device) for part in stage.batches("validation", step)]
        with autocast(learner.device, computed):
            losses = [
                stage.loss(learner, part, parts, step_generator(seed, stage.name, "validation", step, index))
                for index, part in enumerate(parts)
            ]
        for name, value in {"loss": _total(losses), **_metrics(losses)}.items():
            sums[name] = sums.get(name, 0.0) + value / batches
    return sums


def step_generator(seed: int, stage: str, split: str, step: int, index: int) -> torch.Generator:
    """All randomness of a micro-batch, as a function of where it stands: nothing to save, nothing to restore."""
    digest = hashlib.sha256(f"{seed} {stage} {split} {step} {index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _over_processes(losses: list[StageLoss], process_group: ProcessGroup) -> list[StageLoss]:
    """One loss for the whole update where several processes have computed parts of it."""
    if process_group.world_size == 1:
        return losses
    mine = [(_total([loss]), _metrics([loss]), loss.tokens) for loss in losses]
    found = [each for part in process_group.every(mine) for each in part]
    metrics = {name: _exact(sum(each[name] for _, each, _ in found)) for name in found[0][1]}
    return [StageLoss(_exact(sum(total for total, _, _ in found)), metrics, sum(tokens for _, _, tokens in found))]


def _exact(number: float) -> Tensor:
    return torch.tensor(number, dtype=torch.float64)


def _total(losses: list[StageLoss]) -> float:
    return float(sum(loss.loss.detach() for loss in losses))


def _metrics(losses: list[StageLoss]) -> Metrics:
    return {name: float(sum(loss.metrics[name].detach() for loss in losses)) for name in losses[0].metrics}


def _report(console: Console, stage: Stage[LearnerT, Batch], step: int, metrics: Metrics) -> None:
    numbers = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    say(console, f"{stage.name}  step {step}/{stage.steps}  validation {numbers}")
