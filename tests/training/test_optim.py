"""The learning rate by hand, and the optimiser's state as tensors."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import pytest
import torch
from micro import AWARE, MODEL, RUN, learner, stages

from rxt.config import GateConfig
from rxt.training.config_base import OptimConfig, RateFactor
from rxt.training.loop import update
from rxt.training.optim import (
    learning_rate,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    set_learning_rate,
)


def test_the_learning_rate_warms_up_and_falls_along_a_cosine() -> None:
    config = OptimConfig(learning_rate=0.8, warmup=4, min_lr_ratio=0.25)
    rates = [learning_rate(config, step, 13) for step in range(13)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4] == pytest.approx(0.8)
    assert rates[8] == pytest.approx(0.8 * (0.25 + 0.75 * 0.5)), "half way down"
    assert rates[6] == pytest.approx(0.8 * (0.25 + 0.75 * 0.5 * (1 + math.cos(math.pi / 4))))
    assert rates[12] == pytest.approx(0.2), "the last step has the final share"
    assert all(later < earlier for earlier, later in pairwise(rates[4:]))


@pytest.mark.parametrize(("warmup", "steps"), [(0, 1), (0, 5), (1, 1), (5, 5), (9, 5), (4, 6)])
def test_short_runs_have_a_rate_too(warmup: int, steps: int) -> None:
    config = OptimConfig(learning_rate=0.5, warmup=warmup)
    assert all(0 < learning_rate(config, step, steps) <= 0.5 for step in range(steps))


def test_norms_and_biases_do_not_decay() -> None:
    subject = learner()
    decayed, kept = make_optimizer(subject, OptimConfig(weight_decay=0.1)).param_groups
    assert decayed["weight_decay"] == 0.1
    assert kept["weight_decay"] == 0.0
    assert all(parameter.dim() >= 2 for parameter in decayed["params"])
    assert all(parameter.dim() < 2 for parameter in kept["params"])
    every = [*decayed["params"], *kept["params"]]
    assert len({id(parameter) for parameter in every}) == len(every) == len(list(subject.parameters()))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_gates_may_learn_by_adamw_at_their_own_rate(kind: Literal["adamw", "muon"]) -> None:
    model = replace(MODEL, memory_attention=replace(MODEL.memory_attention, gate=GateConfig("linear", status="linear")))
    subject = learner(model)
    names = {parameter: name for name, parameter in subject.unique_parameters()}
    optimizer = make_optimizer(subject, OptimConfig(kind=kind, rates=(RateFactor("memory_attention.*gate.*", 0.25),)))
    set_learning_rate(optimizer, 0.8)
    rates = {names[parameter]: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    assert rates.keys() == set(names.values())
    slow = {name for name, rate in rates.items() if rate == 0.2}
    assert slow == {name for name in rates if "gate." in name}
    assert set(rates.values()) == {0.2, 0.8}
    assert isinstance(optimizer.parts[-1], torch.optim.AdamW)


def test_muon_moves_inner_matrices_and_adamw_the_rest() -> None:
    subject = learner()
    names = {parameter: name for name, parameter in subject.unique_parameters()}
    optimizer = make_optimizer(subject, OptimConfig(kind="muon", weight_decay=0.1))
    adamw, muon = optimizer.parts
    assert isinstance(adamw, torch.optim.AdamW)
    assert isinstance(muon, torch.optim.Muon)
    by_muon = {names[parameter] for group in muon.param_groups for parameter in group["params"]}
    by_adamw = {names[parameter] for group in adamw.param_groups for parameter in group["params"]}
    assert by_muon | by_adamw == set(names.values())
    assert not by_muon & by_adamw
    assert any(name.endswith("memory_attention.layers.0.attention.q_proj.weight") for name in by_muon)
    assert {name for name in by_adamw if "embedding" in name or ".head." in name}, "as large as the vocabulary"
    assert not any("norm" in name or name.endswith("bias") or "embedding" in name for name in by_muon)


def test_a_step_of_muon_is_an_orthogonal_one() -> None:
    """With match_rms_adamw a step of a matrix (A, B) is 0.2·sqrt(max(A, B))·lr times a nearly orthogonal matrix."""
    subject = learner()
    config = OptimConfig(kind="muon", learning_rate=0.5, weight_decay=0.0)
    optimizer = make_optimizer(subject, config)
    matrix = dict(subject.unique_parameters())["model.memory_attention.layers.0.attention.q_proj.weight"]
    before = matrix.detach().clone()
    matrix.grad = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    step = (before - matrix.detach()) / (0.2 * max(matrix.shape) ** 0.5 * config.learning_rate)
    values = torch.linalg.svdvals(step)
    assert 0.5 < float(values.min()) <= float(values.max()) < 1.5


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_the_state_comes_back_bit_for_bit(kind: Literal["adamw", "muon"]) -> None:
    stage = stages(RUN.having(replace(AWARE, optim=replace(AWARE.optim, kind=kind))))[3]
    first = learner()
    optimizer = make_optimizer(first, stage.optim)
    for step in range(3):
        update(stage, first, optimizer, RUN.seed, step)
    tensors = {name: tensor.clone() for name, tensor in optimizer_tensors(first, optimizer).items()}
    assert {name.rpartition("/")[2] for name in tensors} == {"step", "exp_avg", "exp_avg_sq"} | (
        {"momentum_buffer"} if kind == "muon" else set()
    )
    assert not any(name.startswith(("model.encoder.", "mlm_head")) for name in tensors), "frozen so far"
    assert float(tensors["model.decoder.head.weight/step"]) == 3
    assert float(tensors["model.memory_attention.mean_norm.weight/step"]) == 1, "it learns from step 2 on"

    second = learner(seed=1)
    second.load_weights(first.weights())
    restored = make_optimizer(second, replace(stage.optim, learning_rate=9.0))
    load_optimizer_tensors(second, restored, tensors)
    for step in range(3, 6):
        update(stage, first, optimizer, RUN.seed, step)
        update(stage, second, restored, RUN.seed, step)
    for name, tensor in first.weights().items():
        assert torch.equal(tensor, second.weights()[name]), name
