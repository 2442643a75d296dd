"""An update's gradient does not depend on how many micro-batches it is computed in.

Exactly so, experts' balance loss included: every term is a sum over tokens, conversations or updates of the whole
batch. What a micro-batch draws for itself (fresh memories, noise, hidden tokens) is fixed here: accumulating draws
other numbers.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from micro import AWARE, INTERACTION, JOINT, MODEL, MOE_MODEL, PRETRAIN, RUN, assert_same_gradients, learner
from micro import stages as make_stages
from torch import Tensor

from rxt.config import RxTConfig
from rxt.training.config import RunConfig
from rxt.training.learner import ReactiveLearner
from rxt.training.stages import joint
from rxt.training.stages.base import Stage

PARTS = [1, 2, 3, 7]
CALM = RUN.having(
    replace(JOINT, noise=0.0),
    replace(INTERACTION, noise=0.0),
    replace(PRETRAIN, noise=0.0, jitter=0.0, difference_penalty=0.3, batch_size=5),
    replace(AWARE, phases=tuple(replace(phase, batch_size=5) for phase in AWARE.phases)),
)


def accumulating(run: RunConfig, parts: int) -> list[Stage]:
    def with_parts(config):
        return replace(config, optim=replace(config.optim, accumulate=parts))

    return make_stages(run.having(*map(with_parts, run.stages)))


def gradient_of(
    stage: Stage, subject: ReactiveLearner, step: int
) -> tuple[float, dict[str, Tensor], list[dict[str, float]]]:
    subject.zero_grad()
    stage.unfreeze(subject, step)
    batches = stage.batches("train", step)
    generator = torch.Generator().manual_seed(0)
    losses = [stage.loss(subject, batch, batches, generator) for batch in batches]
    torch.stack([loss.loss for loss in losses]).sum().backward()
    gradients = {
        name: parameter.grad.clone() for name, parameter in subject.named_parameters() if parameter.grad is not None
    }
    metrics = [{name: float(value.detach()) for name, value in loss.metrics.items()} for loss in losses]
    return sum(float(loss.loss.detach()) for loss in losses), gradients, metrics


@pytest.fixture
def _not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are hidden by where they are, not by chance; rows are not sorted into groups of their own accord."""
    monkeypatch.setattr(joint, "choose", lambda mask, share, generator: mask & (torch.arange(mask.shape[1]) % 5 == 2))
    monkeypatch.setattr(joint, "LENGTH_GROUPS", 1)


@pytest.mark.usefixtures("_not_drawn")
@pytest.mark.parametrize("model", [MODEL, MOE_MODEL], ids=["dense", "moe"])
@pytest.mark.parametrize("index", range(4), ids=["joint", "interaction", "memory-pretrain", "memory-aware"])
def test_the_gradient_is_that_of_the_whole_batch(index: int, model: RxTConfig) -> None:
    subject = learner(replace(model, memory_seed=1), double=True)
    step = 5  # stage 4: its last phase, of conversations of different lengths
    whole = None
    for parts in PARTS:
        stage = accumulating(CALM, parts)[index]
        assert len(stage.batches("train", step)) == min(parts, 5) if index > 1 else parts
        loss, gradients, metrics = gradient_of(stage, subject, step)
        summed = {name: sum(each[name] for each in metrics) for name in metrics[0]}
        if whole is None:
            whole = loss, gradients, summed
            assert any(gradient.abs().sum() > 1e-3 for gradient in gradients.values())
        assert loss == pytest.approx(whole[0], rel=1e-10)
        assert summed == pytest.approx(whole[2], rel=1e-6)
        assert_same_gradients(gradients, whole[1], atol=1e-10)


@pytest.mark.parametrize("index", [0, 1], ids=["joint", "interaction"])
def test_up_to_two_parts_are_the_very_same_computation(index: int) -> None:
    """Rows go through in LENGTH_GROUPS groups anyway, so accumulating in as many parts changes not a bit."""
    subject = learner()
    losses = {gradient_of(accumulating(RUN, parts)[index], subject, 1)[0] for parts in (1, 2)}
    assert len(losses) == 1
