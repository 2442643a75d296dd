"""The one training loop: step, accumulate, clip, log, validate, checkpoint. It knows no stage."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from rich.console import Console
from rich.progress import Progress

from rxt.training.checkpoint import Checkpoints, StageState
from rxt.training.interrupt import Interrupt
from rxt.training.metrics import Metrics, MetricsLog, NoLog, StageProgress, say
from rxt.training.optim import Optimizer, learning_rate, make_optimizer, set_learning_rate
from rxt.training.prefetch import batches_ahead
from rxt.training.process_group import SINGLE_PROCESS, ProcessGroup
from rxt.training.stages.base import Batch, EarlyStopping, LearnerT, Stage, StageLoss


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
    loader_processes: int = 0
    """Processes that make batches ahead."""


def run_stage(stage: Stage[LearnerT, Batch], learner: LearnerT, context: LoopContext) -> int:
    """Train a stage to its end, from its last checkpoint where there is one. The same steps give the same weights.

    A stage with an evaluator ends with its best weights, if the evaluator says so, and stops early if it collapses.

    Returns:
        The step whose weights the learner has now.
    """
    checkpoints = Checkpoints(context.folder / stage.name, context.run.keep_checkpoints)
    optimizer = make_optimizer(learner, stage.optim)
    last = checkpoints.last()
    state = StageState(0) if last is None else checkpoints.load(last, learner, optimizer)
    if state.stopped is None and not state.step >= stage.steps > 0:
        state = _go_on(stage, learner, optimizer, checkpoints, state, last is None, context)
    evaluator = stage.evaluator
    if evaluator is None or (evaluator.keep == "last" and state.stopped is None):
        return state.step
    context.process_group.barrier()
    best = checkpoints.state(state.step).best_step
    assert best is not None, "an evaluated stage begins with an evaluation"
    checkpoints.load(best, learner)
    return best


def _go_on(
    stage: Stage[LearnerT, Batch],
    learner: LearnerT,
    optimizer: Optimizer,
    checkpoints: Checkpoints,
    state: StageState,
    fresh: bool,
    context: LoopContext,
) -> StageState:
    """Make the updates that are left; ``fresh`` where there is no checkpoint yet. The result is written in a
    checkpoint."""
    run, process_group, evaluator = context.run, context.process_group, stage.evaluator
    validate_every = run.validate_every if evaluator is None else evaluator.every
    log = MetricsLog(checkpoints.folder, -1 if fresh else state.step) if process_group.is_main_process else NoLog()
    bar = StageProgress(context.progress, stage.name, stage.steps, state.step)
    try:
        if evaluator is not None and fresh and process_group.is_main_process:
            state = _evaluated(stage, learner, state, log, context)
            checkpoints.save(learner, optimizer, state)
        with batches_ahead(stage, state.step, context.loader_processes) as batches:
            while state.step < stage.steps and state.stopped is None:
                step = state.step
                try:
                    losses = update(stage, learner, optimizer, run.seed, step, process_group, batches)
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
                    if process_group.is_main_process and (
                        state.step % validate_every == 0 or state.step == stage.steps
                    ):
                        state = _evaluated(stage, learner, state, log, context)
                interrupted, stopped = process_group.sum(
                    torch.tensor([float(context.interrupt.requested), float(state.stopped is not None)])
                ).bool()
                if stopped and state.stopped is None:
                    state = replace(state, stopped="by the main process")
                due = state.step % run.checkpoint_every == 0 or state.step in (stage.steps, state.best_step)
                if process_group.is_main_process and (due or interrupted or stopped):
                    checkpoints.save(learner, optimizer, state)
                if stopped:
                    say(
                        context.console,
                        f"{state.stopped}: {stage.name} ends with its best weights, those of step {state.best_step}",
                        "yellow",
                    )
                elif interrupted:
                    process_group.barrier()  # whoever ends first would have the launcher end the one that still saves
                    say(
                        context.console,
                        f"{stage.name}  stopped and saved after step {state.step}; the same command goes on from there",
                    )
                    raise KeyboardInterrupt
        if stage.steps == 0 and process_group.is_main_process:
            checkpoints.save(learner, optimizer, state)
    finally:
        log.close()
    return state


def _evaluated(
    stage: Stage[LearnerT, Batch], learner: LearnerT, state: StageState, log: MetricsLog | NoLog, context: LoopContext
) -> StageState:
    """Validate, ask the evaluator where there is one, tell what they found; the best so far is remembered, a
    collapse ends the stage."""
    run, evaluator = context.run, stage.evaluator
    metrics = validate(stage, learner, run.seed, run.validation_batches)
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
    process_group: ProcessGroup = SINGLE_PROCESS,
    made: Callable[[int], list[Batch]] | None = None,
) -> list[StageLoss]:
    """One optimiser step over all micro-batches of ``step``, of which each process of the group takes some.

    A loss that is not finite stops before any weight moves: ``NotFinite``. ``made``: gives the micro-batches in the
    stage's place.
    """
    learner.train()
    stage.unfreeze(learner, step)
    set_learning_rate(optimizer, learning_rate(stage.optim, step, stage.steps))
    optimizer.zero_grad()
    with autocast(learner.device):
        stage.collect(learner, step, step_generator(seed, stage.name, "collect", step, 0), process_group)
    drawn = stage.batches("train", step) if made is None else made(step)
    batches = [batch.to(learner.device) for batch in drawn]
    losses: list[StageLoss] = []
    for index, batch in process_group.shard(batches):
        generator = step_generator(seed, stage.name, "train", step, index)
        with autocast(learner.device):
            loss = stage.loss(learner, batch, batches, generator)
        torch.autograd.backward(loss.loss)
        losses.append(replace(loss, loss=loss.loss.detach()))
    process_group.sum_gradients(learner.parameters())
    losses = _over_processes(losses, process_group)
    trained = [parameter for parameter in learner.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(trained, stage.optim.max_grad_norm)
    if not math.isfinite(_total(losses)) or not math.isfinite(float(norm)):
        kept = "the last checkpoint is kept; start again with a lower learning rate and another --out"
        where = f"{stage.name}: the loss or its gradient is not finite at step {step + 1}"
        raise NotFinite(where if stage.evaluator is not None else f"{where}; {kept}")
    optimizer.step()
    return losses


@torch.no_grad()
def validate(stage: Stage[LearnerT, Batch], learner: LearnerT, seed: int, batches: int) -> Metrics:
    """Mean loss and metrics over the first validation batches, always the same ones."""
    learner.eval()
    sums: Metrics = {}
    for step in range(batches):
        parts = [part.to(learner.device) for part in stage.batches("validation", step)]
        with autocast(learner.device):
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


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where the hardware has it, float32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" and torch.cuda.is_bf16_supported())


def _over_processes(losses: list[StageLoss], process_group: ProcessGroup) -> list[StageLoss]:
    """One loss for the whole update where several processes have computed parts of it."""
    if process_group.world_size == 1:
        return losses
    names = list(losses[0].metrics)
    mine = torch.tensor(
        [_total(losses), sum(loss.tokens for loss in losses), *_metrics(losses).values()], dtype=torch.float64
    )
    total, tokens, *metrics = process_group.sum(mine)
    return [StageLoss(total, dict(zip(names, metrics, strict=True)), int(tokens))]


def _total(losses: list[StageLoss]) -> float:
    return float(sum(loss.loss.detach() for loss in losses))


def _metrics(losses: list[StageLoss]) -> Metrics:
    return {name: float(sum(loss.metrics[name].detach() for loss in losses)) for name in losses[0].metrics}


def _report(console: Console, stage: Stage[LearnerT, Batch], step: int, metrics: Metrics) -> None:
    numbers = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    say(console, f"{stage.name}  step {step}/{stage.steps}  validation {numbers}")
