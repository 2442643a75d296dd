"""Timing of training steps: the loop's own update, with the stages' own losses, on random tokens."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch

from rxt.bench.cost import Work, joint_step, memory_aware_step
from rxt.bench.inference import Report, Setting, check_fits, random_ids
from rxt.bench.machine import Limits, MemoryPeak, measure_limits, wait_for
from rxt.bench.parts import CLIPPING, MarkedTogether, Part, heads_of, marked, parts_of
from rxt.data.collate import Conversations, Rows
from rxt.evaluation.latency import Seconds
from rxt.model.reactive import ReactiveTransformer
from rxt.training.compiled import compile_layers
from rxt.training.config_base import OptimConfig
from rxt.training.corpus import Split
from rxt.training.learner import ReactiveLearner
from rxt.training.loop import update
from rxt.training.optim import make_optimizer
from rxt.training.patterns import ALL_PARTS
from rxt.training.precision import Products, products_of
from rxt.training.stages.base import BaseStage, Settings, Stage, StageLoss
from rxt.training.stages.joint import JointConfig, joint_loss
from rxt.training.stages.memory_aware import MemoryAwareConfig, Phase, memory_aware_loss

OPTIM = OptimConfig(learning_rate=1e-5)
"""Small: random tokens are nothing to learn from, and the cost is the same."""


@dataclass(frozen=True)
class StepTimes:
    """One kind of update, measured."""

    tokens: int
    """Read by one update."""
    tokens_per_second: float
    step: Seconds
    first_use_seconds: float
    flops: float
    """Of one update, from the configuration."""
    bytes: float
    """That gradients and optimiser move at least, from the configuration."""
    bound_tokens_per_second: float
    share: float
    utilisation: float
    """Model FLOPs utilisation: ``flops`` a second, as a share of what the device can do at best."""
    peak_bytes: int | None
    """The process's or the device's highest use of memory, weights and optimiser included; None where it cannot be
    known."""
    parts: tuple[Part, ...]
    """Where the time of one more update goes, on a processor; none on a GPU."""


@dataclass(frozen=True)
class TrainResult:
    """The JSON of ``rxt bench train``."""

    batch_size: int
    turns: int
    """Of every conversation of the memory-aware step; the joint step reads as many rows as there are conversations."""
    tokens: int
    """Of every row; the second half of an interaction is its answer."""
    checkpointing: bool
    compiled: bool
    joint_tokens_per_second: float
    memory_aware_tokens_per_second: float
    joint: StepTimes
    memory_aware: StepTimes
    limits: Limits


UPDATES = 1_000_000
"""More than are ever timed: the learning rate stays as it is."""


Config = TypeVar("Config", bound=Settings)
B = TypeVar("B", Rows, Conversations)
Loss = Callable[[ReactiveLearner, B, list[B], Config, torch.Generator], StageLoss]


@dataclass(frozen=True)
class SameBatch(BaseStage[Config], Generic[Config, B]):
    """A stage's own loss on the same batch in every step."""

    name: str
    config: Config
    batch: B
    parts: tuple[str, ...]
    """Of the model: they learn, the head that guesses masked tokens with them where the loss has need of it."""
    mlm_head: bool
    loss_of: Loss[B, Config]
    evaluator: None = None

    def batches(self, split: Split, step: int) -> list[B]:
        return [self.batch]

    def unfreeze(self, learner: ReactiveLearner, step: int) -> None:
        learner.learn_only(self.parts, self.mlm_head)

    def loss(self, learner: ReactiveLearner, batch: B, all_batches: list[B], generator: torch.Generator) -> StageLoss:
        return self.loss_of(learner, batch, all_batches, self.config, generator)


def bench_train(
    model: ReactiveTransformer,
    batch_size: int,
    turns: int,
    tokens: int,
    checkpointing: bool,
    setting: Setting,
    report: Report = lambda: None,
    best_flops: float | None = None,
    products: Products | None = None,
    compiled: bool = False,
) -> TrainResult:
    """Time updates of joint and of memory-aware training: loss, gradient, clipping and optimiser. The model's weights
    change.

    Args:
        best_flops: operations a second of the device, of which the utilisation is a share; what it makes of a large
            product now when not given.
        products: the type that products are computed in; as the device does by itself when not given.
        compiled: with compiled layers, which the first use of each update makes.
    """
    config, device = model.config, model.decoder.embedding.weight.device
    check_fits("--tokens", tokens, 0, config)
    products = products_of(device) if products is None else products
    limits = measure_limits(model.decoder.embedding.weight.dtype, device)
    if products == "bfloat16":  # weights and optimiser are read as they are
        limits = replace(limits, matmul_gflops=measure_limits(torch.bfloat16, device).matmul_gflops)
    best = best_flops or 1e9 * limits.matmul_gflops
    joint = JointConfig(steps=UPDATES, batch_size=batch_size, optim=OPTIM)
    aware = MemoryAwareConfig(
        phases=(Phase(steps=UPDATES, turns=turns, batch_size=batch_size),), optim=OPTIM, checkpointing=checkpointing
    )
    conversations = Conversations(
        random_rows(model, turns * batch_size, tokens, setting.seed, answers=True), (batch_size,) * turns
    )
    rows = random_rows(model, batch_size, tokens, setting.seed, answers=False)
    joint_stage = SameBatch("joint", joint, rows, ("decoder", "encoder"), True, joint_loss)
    aware_stage = SameBatch("memory-aware", aware, conversations, ALL_PARTS, False, memory_aware_loss)
    joint_work = joint_step(config, batch_size, tokens, tokens * joint.masked_share)
    aware_work = memory_aware_step(config, batch_size, turns, tokens, tokens - tokens // 2)
    read = batch_size * tokens

    def measured(stage: Stage, read: int, work: Work) -> StepTimes:
        return _measure(stage, model, read, work, limits, best, compiled, setting, report, products)

    joint_times = measured(joint_stage, read, joint_work)
    aware_times = measured(aware_stage, turns * read, aware_work)
    return TrainResult(
        batch_size,
        turns,
        tokens,
        checkpointing,
        compiled,
        joint_times.tokens_per_second,
        aware_times.tokens_per_second,
        joint_times,
        aware_times,
        limits,
    )


def random_rows(model: ReactiveTransformer, rows: int, tokens: int, seed: int, answers: bool) -> Rows:
    """Rows of one length; with ``answers`` the second half of each is to be produced, otherwise all of it."""
    ids = random_ids(model.config, rows, tokens, seed, model.decoder.embedding.weight.device)
    targets = torch.arange(tokens, device=ids.device).expand(rows, -1) >= (tokens // 2 if answers else 0)
    return Rows(ids, torch.ones_like(ids, dtype=torch.bool), targets)


def _measure(
    stage: Stage,
    model: ReactiveTransformer,
    tokens: int,
    work: Work,
    limits: Limits,
    best_flops: float,
    compiled: bool,
    setting: Setting,
    report: Report,
    products: Products,
) -> StepTimes:
    learner = ReactiveLearner(model).to(model.decoder.embedding.weight.device)
    if compiled:
        compile_layers(learner)
    optimizer = make_optimizer(learner, stage.optim)
    together, peak = MarkedTogether(learner, products=products), MemoryPeak(learner.device)

    def step(number: int) -> float:
        wait_for(learner.device)
        began = time.perf_counter()
        update(stage, learner, optimizer, setting.seed, number, together)
        wait_for(learner.device)
        report()
        return time.perf_counter() - began

    times = [step(number) for number in range(1 + setting.warm_up + setting.repeats)]
    parts: tuple[Part, ...] = ()
    if learner.device.type == "cpu":
        with marked(learner, heads_of(learner)):
            parts = parts_of(lambda: update(stage, learner, optimizer, setting.seed, len(times), together), CLIPPING)
    found, bound = Seconds.of(times[1 + setting.warm_up :]), limits.update_seconds(work)
    return StepTimes(
        tokens,
        tokens / found.median,
        found,
        times[0],
        work.flops,
        work.bytes,
        tokens / bound,
        bound / found.median,
        work.flops / found.median / best_flops,
        peak.bytes(),
        parts,
    )
