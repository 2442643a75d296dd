"""The one training loop: step, accumulate, clip, log, validate, checkpoint. It knows no stage."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from rxt.training.checkpoint import Checkpoints, StageState
from rxt.training.config import RunConfig
from rxt.training.interrupt import Interrupt
from rxt.training.metrics import Metrics, MetricsLog, NoLog, StageProgress, say
from rxt.training.optim import Optimizer, learning_rate, make_optimizer, set_learning_rate
from rxt.training.stages.base import Batch, Collapse, Collects, Pupil, Stage, StageLoss
from rxt.training.team import ALONE, Team


@dataclass(frozen=True)
class LoopContext:
    """What every stage of a run shares."""

    run: RunConfig
    folder: Path
    console: Console
    progress: Progress
    interrupt: Interrupt
    team: Team = ALONE


def run_stage(stage: Stage[Pupil, Batch], trainee: Pupil, context: LoopContext) -> int:
    """Train a stage to its end, from its last checkpoint where there is one. The same steps give the same weights.

    A stage with a judge ends with its best weights, if the judge says so, and before its last update if it collapses.

    Returns:
        The step whose weights the trainee has now.
    """
    checkpoints = Checkpoints(context.folder / stage.name, context.run.keep_checkpoints)
    optimizer = make_optimizer(trainee, stage.optim)
    last = checkpoints.last()
    state = StageState(0) if last is None else checkpoints.load(last, trainee, optimizer)
    if state.stopped is None and not state.step >= stage.steps > 0:
        state = _go_on(stage, trainee, optimizer, checkpoints, state, last is None, context)
    judge = stage.judge
    if judge is None or (judge.keep == "last" and state.stopped is None):
        return state.step
    context.team.wait()
    best = checkpoints.state(state.step).best_step
    assert best is not None, "a judged stage begins with a judgement"
    checkpoints.load(best, trainee)
    return best


def _go_on(
    stage: Stage[Pupil, Batch],
    trainee: Pupil,
    optimizer: Optimizer,
    checkpoints: Checkpoints,
    state: StageState,
    fresh: bool,
    context: LoopContext,
) -> StageState:
    """Make the updates that are left; ``fresh`` where there is no checkpoint yet. The result is written in a
    checkpoint."""
    run, team, judge = context.run, context.team, stage.judge
    validate_every = run.validate_every if judge is None else judge.every
    log = MetricsLog(checkpoints.folder, -1 if fresh else state.step) if team.leads else NoLog()
    bar = StageProgress(context.progress, stage.name, stage.steps, state.step)
    try:
        if judge is not None and fresh and team.leads:
            state = _judged(stage, trainee, state, log, context)
            checkpoints.save(trainee, optimizer, state)
        while state.step < stage.steps and state.stopped is None:
            step = state.step
            try:
                losses = update(stage, trainee, optimizer, run.seed, step, team)
            except Collapse as error:
                if judge is None:
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
                if team.leads and (state.step % validate_every == 0 or state.step == stage.steps):
                    state = _judged(stage, trainee, state, log, context)
            interrupted, stopped = team.sum(
                torch.tensor([float(context.interrupt.requested), float(state.stopped is not None)])
            ).bool()
            if stopped and state.stopped is None:
                state = replace(state, stopped="by the process that leads")
            due = state.step % run.checkpoint_every == 0 or state.step in (stage.steps, state.best_step)
            if team.leads and (due or interrupted or stopped):
                checkpoints.save(trainee, optimizer, state)
            if stopped:
                say(
                    context.console,
                    f"{state.stopped}: {stage.name} ends with its best weights, those of step {state.best_step}",
                    "yellow",
                )
            elif interrupted:
                say(
                    context.console,
                    f"{stage.name}  stopped and saved after step {state.step}; the same command goes on from there",
                )
                raise KeyboardInterrupt
        if stage.steps == 0 and team.leads:
            checkpoints.save(trainee, optimizer, state)
    finally:
        log.close()
    return state


def _judged(
    stage: Stage[Pupil, Batch], trainee: Pupil, state: StageState, log: MetricsLog | NoLog, context: LoopContext
) -> StageState:
    """Validate, ask the judge where there is one, tell what they found; the best so far is remembered, a collapse ends
    the stage."""
    run, judge = context.run, stage.judge
    metrics = validate(stage, trainee, run.seed, run.validation_batches)
    if judge is not None:
        trainee.eval()
        metrics |= judge.measure(trainee)
    log.write(state.step, "validation", metrics)
    _report(context.console, stage, state.step, metrics)
    if judge is None:
        better = state.best_loss is None or metrics["loss"] < state.best_loss
        return replace(state, best_loss=metrics["loss"], best_step=state.step) if better else state
    worth = judge.worth(metrics)
    if state.best_worth is None or worth > state.best_worth:
        return replace(state, best_worth=worth, best_step=state.step)
    if not worth >= state.best_worth - judge.largest_fall:
        found = (
            f"{stage.name}: collapsed at step {state.step} (judged {worth:.3f}, its best was {state.best_worth:.3f})"
        )
        return replace(state, stopped=found)
    return state


class NotFinite(Collapse):
    """A loss or its gradient is not a number, or endless; no weight has moved."""


def update(
    stage: Stage[Pupil, Batch], trainee: Pupil, optimizer: Optimizer, seed: int, step: int, team: Team = ALONE
) -> list[StageLoss]:
    """One optimiser step over all micro-batches of ``step``, of which a team's processes each take some.

    A loss that is not finite stops before any weight moves: ``NotFinite``.
    """
    trainee.train()
    stage.unfreeze(trainee, step)
    set_learning_rate(optimizer, learning_rate(stage.optim, step, stage.steps))
    optimizer.zero_grad()
    if isinstance(stage, Collects):
        with autocast(trainee.device):
            stage.collect(trainee, step, step_generator(seed, stage.name, "collect", step, 0), team)
    batches = [batch.to(trainee.device) for batch in stage.batches("train", step)]
    losses: list[StageLoss] = []
    for index, batch in team.share(batches):
        generator = step_generator(seed, stage.name, "train", step, index)
        with autocast(trainee.device):
            loss = stage.loss(trainee, batch, batches, generator)
        torch.autograd.backward(loss.loss)
        losses.append(replace(loss, loss=loss.loss.detach()))
    team.sum_gradients(trainee.parameters())
    losses = _over_team(losses, team)
    trained = [parameter for parameter in trainee.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(trained, stage.optim.clip)
    if not math.isfinite(_total(losses)) or not math.isfinite(float(norm)):
        kept = "the last checkpoint is kept; start again with a lower learning rate and another --out"
        where = f"{stage.name}: the loss or its gradient is not finite at step {step + 1}"
        raise NotFinite(where if stage.judge is not None else f"{where}; {kept}")
    optimizer.step()
    return losses


@torch.no_grad()
def validate(stage: Stage[Pupil, Batch], trainee: Pupil, seed: int, batches: int) -> Metrics:
    """Mean loss and metrics over the first validation batches, always the same ones."""
    trainee.eval()
    sums: Metrics = {}
    for step in range(batches):
        parts = [part.to(trainee.device) for part in stage.batches("validation", step)]
        with autocast(trainee.device):
            losses = [
                stage.loss(trainee, part, parts, step_generator(seed, stage.name, "validation", step, index))
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


def _over_team(losses: list[StageLoss], team: Team) -> list[StageLoss]:
    """One loss for the whole update where several processes have computed parts of it."""
    if team.size == 1:
        return losses
    names = list(losses[0].metrics)
    mine = torch.tensor(
        [_total(losses), sum(loss.tokens for loss in losses), *_metrics(losses).values()], dtype=torch.float64
    )
    total, tokens, *metrics = team.sum(mine)
    return [StageLoss(total, dict(zip(names, metrics, strict=True)), int(tokens))]


def _total(losses: list[StageLoss]) -> float:
    return float(sum(loss.loss.detach() for loss in losses))


def _metrics(losses: list[StageLoss]) -> Metrics:
    return {name: float(sum(loss.metrics[name].detach() for loss in losses)) for name in losses[0].metrics}


def _report(console: Console, stage: Stage[Pupil, Batch], step: int, metrics: Metrics) -> None:
    numbers = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    say(console, f"{stage.name}  step {step}/{stage.steps}  validation {numbers}")
