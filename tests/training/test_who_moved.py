"""Each stage, and each phase of stage 4, changes exactly the parts it names."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from micro import AWARE, INTERACTION, JOINT, MODEL, PRETRAIN, RUN, learner, stages
from torch import Tensor

from rxt.config import MemoryNormConfig
from rxt.training.config_base import OptimConfig
from rxt.training.learner import ReactiveLearner
from rxt.training.loop import update
from rxt.training.optim import make_optimizer
from rxt.training.patterns import ALL_PARTS
from rxt.training.stages.memory_aware import Phase

OPTIM = OptimConfig(learning_rate=1e-2, warmup=0, weight_decay=0.0)
"""Without decay a weight moves only where a gradient is."""


def named(subject: ReactiveLearner, parts: tuple[str, ...], embedding: bool, mlm_head: bool) -> set[str]:
    """Names of the parameters of parts, and of the two that belong to no part alone."""
    found = {
        name for name, _ in subject.unique_parameters() if name.startswith(tuple(f"model.{part}." for part in parts))
    }
    found -= {"model.decoder.embedding.weight"}
    found |= {"model.decoder.embedding.weight"} if embedding else set()
    return found | (
        {name for name, _ in subject.unique_parameters() if name.startswith("mlm_head.")} if mlm_head else set()
    )


def copies(subject: ReactiveLearner) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in subject.unique_parameters()}


def moved(before: dict[str, Tensor], subject: ReactiveLearner) -> set[str]:
    return {name for name, parameter in subject.unique_parameters() if not torch.equal(before[name], parameter)}


RUNS = RUN.having(
    replace(JOINT, optim=OPTIM),
    replace(INTERACTION, optim=OPTIM),
    replace(PRETRAIN, optim=OPTIM),
    replace(AWARE, optim=OPTIM),
)
CASES = [
    (0, 0, ("decoder", "encoder"), True, True),
    (1, 0, ("decoder", "encoder"), True, True),
    (2, 0, ("memory_attention",), False, False),
    (3, 0, ("decoder",), False, False),
    (3, 2, ("decoder", "memory_attention"), False, False),
    (3, 4, ("decoder", "memory_attention", "encoder"), True, False),
]


@pytest.mark.parametrize(("stage", "step", "parts", "embedding", "mlm_head"), CASES)
def test_exactly_the_named_parts_move(
    stage: int, step: int, parts: tuple[str, ...], embedding: bool, mlm_head: bool
) -> None:
    subject = learner(replace(MODEL, decoder=replace(MODEL.decoder, head_norm="rms")))
    before = copies(subject)
    subject.requires_grad_(False)  # whatever an earlier stage left
    chosen = stages(RUNS)[stage]
    update(chosen, subject, make_optimizer(subject, OPTIM), RUNS.seed, step)
    assert moved(before, subject) == named(subject, parts, embedding, mlm_head)


@pytest.mark.parametrize(
    "parts", [("encoder",), ("memory_attention", "encoder"), ("memory_attention",), ("decoder", "encoder")]
)
def test_phases_may_name_any_parts(parts: tuple[str, ...]) -> None:
    config = replace(AWARE, optim=OPTIM, phases=(Phase(steps=2, turns=3, batch_size=2, trains=parts),))
    subject = learner()
    before = copies(subject)
    update(stages(RUNS.having(config))[3], subject, make_optimizer(subject, OPTIM), RUNS.seed, 0)
    assert moved(before, subject) == named(subject, parts, "decoder" in parts and "encoder" in parts, False)


def test_a_part_frozen_again_stays_although_the_optimizer_remembers_it() -> None:
    """Moments and weight decay of an earlier phase move nothing."""
    optim = replace(OPTIM, weight_decay=0.5)
    phases = (
        Phase(steps=2, turns=2, batch_size=2),
        Phase(steps=2, turns=2, batch_size=2, trains=("memory_attention",)),
    )
    stage = stages(RUNS.having(replace(AWARE, phases=phases, optim=optim)))[3]
    subject = learner()
    optimizer = make_optimizer(subject, optim)
    for step in range(2):
        update(stage, subject, optimizer, RUNS.seed, step)
    before = copies(subject)
    update(stage, subject, optimizer, RUNS.seed, 2)
    assert moved(before, subject) == named(subject, ("memory_attention",), False, False)


def test_both_parts_share_one_embedding_throughout() -> None:
    subject = learner()
    for index, stage in enumerate(stages(RUNS)):
        update(stage, subject, make_optimizer(subject, OPTIM), RUNS.seed, stage.steps - 1)
        assert subject.model.encoder.embedding is subject.model.decoder.embedding, index


def test_the_running_norms_move_with_every_stage_that_writes_memory() -> None:
    model = replace(MODEL, memory_attention=replace(MODEL.memory_attention, norm=MemoryNormConfig("ema-rms")))
    subject = learner(model)
    before = {name: buffer.clone() for name, buffer in subject.named_buffers()}
    assert before
    update(stages(RUNS)[0], subject, make_optimizer(subject, OPTIM), RUNS.seed, 0)
    assert all(torch.equal(before[name], buffer) for name, buffer in subject.named_buffers())
    update(stages(RUNS)[2], subject, make_optimizer(subject, OPTIM), RUNS.seed, 0)
    assert not any(torch.equal(before[name], buffer) for name, buffer in subject.named_buffers())


def test_every_part_is_part_of_the_model() -> None:
    subject = learner()
    assert named(subject, ALL_PARTS, True, True) == {name for name, _ in subject.unique_parameters()}
