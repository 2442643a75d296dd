"""What a plan says that updates hold, beside what real ones allocate; and what it makes of that."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from grown import grown
from micro import (
    OPTIM,
    PREFERENCE,
    RUN,
    learner,
    preference_stage,
    stages,
    tokenizer,
)
from planned import MUON, TOKENS, counted
from pydantic import TypeAdapter
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from rxt.cli.train import TrainOptions, resolve
from rxt.config import parse
from rxt.errors import UserError
from rxt.model.parameters import parameter_counts
from rxt.presets import preset, preset_names
from rxt.training.config import RunConfig
from rxt.training.config_base import OptimConfig
from rxt.training.learner import GrownLearner, Learner
from rxt.training.loop import update
from rxt.training.optim import Optimizer, make_optimizer
from rxt.training.plan.counting import BFLOAT16, FLOAT32
from rxt.training.plan.learners import new_learner
from rxt.training.plan.plan import CountedRun, Hardware, Plan, count_run
from rxt.training.plan.state import State, states, weight_bytes
from rxt.training.plan.updates import updates_of
from rxt.training.recipes import recipe, recipe_names
from rxt.training.recipes_on_base import MEMORY
from rxt.training.recipes_on_base import OPTIM as BASE_OPTIM
from rxt.training.reinforcement.config import EpisodePhase, ReinforcementConfig
from rxt.training.reinforcement.learner import ReinforcementLearner
from rxt.training.stages.adaptation import AdaptationConfig
from rxt.training.stages.memory_aware import Phase

# --- Weights, gradients and moments: exactly what updates allocate. ---


def held(subject: nn.Module, optimizer: Optimizer, also: nn.Module | None = None) -> State:
    """What a learner and its optimiser hold after an update."""
    modules = [subject] if also is None else [subject, also]
    weights = [each for module in modules for each in (*module.parameters(), *module.buffers())]
    kept = [value for part in optimizer.parts for state in part.state.values() for value in state.values()]
    gradients = [parameter.grad for parameter in subject.parameters() if parameter.grad is not None]
    return State(*(sum(tensor.nbytes for tensor in tensors) for tensors in (weights, gradients, kept)))


@pytest.mark.parametrize("optim", [OPTIM, MUON], ids=["adamw", "muon"])
@pytest.mark.parametrize("config", RUN.stages, ids=[stage.kind for stage in RUN.stages])
def test_what_is_held_is_what_updates_allocate(config: Any, optim: Any) -> None:
    config = replace(config, optim=optim)
    found, planned = counted(config)
    (stage,) = (each for each in stages(replace(RUN, stages=(config,))))
    subject, step = learner(), 0
    optimizer = make_optimizer(subject, optim)
    for part, state in zip(found, planned, strict=True):
        update(stage, subject, optimizer, 0, step)
        assert held(subject, optimizer) == state, part.name
        step += part.steps
    assert planned[0].gradients


def test_a_frozen_reference_is_held_too(tmp_path: Path) -> None:
    _, (planned,) = counted(PREFERENCE)
    stage, subject = preference_stage(tmp_path), learner()
    optimizer = make_optimizer(subject, PREFERENCE.optim)
    update(stage, subject, optimizer, 0, 0)
    assert held(subject, optimizer, stage.reference.of(subject)) == planned


@pytest.mark.parametrize("algorithm", ["group", "ppo"])
def test_a_policy_is_held_with_its_critic_and_what_it_began_as(algorithm: Any) -> None:
    config = ReinforcementConfig(phases=(EpisodePhase(2, 3, 2),), optim=OPTIM, algorithm=algorithm)
    _, (planned,) = counted(config)
    subject = ReinforcementLearner(learner(), config.has_critic)
    subject.learn_only(config.phases[0].trains)
    optimizer = step_on_zeros(subject, config.optim)
    assert held(subject, optimizer, subject.reference) == planned


def step_on_zeros(subject: Learner, optim: OptimConfig) -> Optimizer:
    """A step of the optimiser, all gradients being zeros."""
    optimizer = make_optimizer(subject, optim)
    for parameter in subject.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    return optimizer


@pytest.mark.parametrize(("rank", "tokens"), [(0, False), (2, False), (2, True)])
def test_of_a_base_only_the_memory_has_gradients(rank: int, tokens: bool) -> None:
    config = AdaptationConfig(phases=(Phase(2, 2, 2, MEMORY),), optim=BASE_OPTIM, precision="bfloat16")
    model = grown(tokenizer().vocab_size, rank=rank, tokens=tokens)
    run = replace(recipe("adapt"), model=model.config, stages=(config,))
    with FakeTensorMode():
        fake = new_learner(run)
        (planned,) = states(config, config.optim, fake, updates_of(config, fake, TOKENS))
    subject = GrownLearner(model)
    subject.learn_only(MEMORY)
    optimizer = step_on_zeros(subject, config.optim)
    subject.round_base()
    assert held(subject, optimizer) == planned


@pytest.mark.parametrize("name", preset_names())
def test_the_weights_of_every_preset_are_counted(name: str) -> None:
    run = recipe(name)
    words = run.model.with_vocabulary(run.tokenizer.vocab_size, run.model.tokens)
    assert words.decoder.width == preset(name).decoder.width
    counts = parameter_counts(words)
    with FakeTensorMode():
        assert weight_bytes(run.stages[0], new_learner(run)) == FLOAT32 * (counts.total + counts.mlm_head)


# --- What is made of that. ---


@cache
def smoke(settings: tuple[str, ...] = ()) -> CountedRun:
    """The recipe with these settings, in interactions of 32 tokens."""
    values = resolve(TrainOptions("smoke", set=settings))
    return count_run(parse(TypeAdapter(RunConfig), values, "recipe"), tokens=32)


def on(gpus: int = 1, memory: float = 80e9, settings: tuple[str, ...] = ()) -> Plan:
    return smoke(settings).on(Hardware(gpus, memory))


def test_what_fits_needs_no_change() -> None:
    assert on().fits
    assert not any(stage.settings for stage in on().stages)
    phase = on().stages[-1].phases[-1]
    assert phase.tokens == 60 * 16 * 4 * 32
    assert phase.seconds == pytest.approx(phase.flops / (0.4 * 989e12))


def test_the_settings_that_a_plan_names_make_it_fit() -> None:
    memory = 0.3 * on().stages[-1].largest.held.together
    tight = on(memory=memory)
    settings = tuple(setting for stage in tight.stages for setting in stage.settings)
    assert tight.fits
    assert any(setting.startswith("memory_aware.optim.accumulate=") for setting in settings)
    again = on(memory=memory, settings=settings)
    assert again.fits
    assert not any(stage.settings for stage in again.stages)
    assert [stage.phases for stage in again.stages] == [stage.phases for stage in tight.stages]


def test_every_gpu_gets_a_part_and_where_that_is_too_much_a_share_of_the_weights() -> None:
    whole = on(gpus=4)
    aware = whole.stages[-1]
    assert aware.settings == ("memory_aware.optim.accumulate=4",)
    assert aware.phases[0].micro_batch == 4
    assert aware.phases[0].seconds == pytest.approx(on().stages[-1].phases[0].seconds / 4)
    state = aware.phases[-1].held
    memory = (state.weights + state.gradients + state.optimiser) * 0.9
    shared = on(gpus=4, memory=memory)
    assert all(stage.layout.sharded for stage in shared.stages if stage.kind == "joint")
    held_now = shared.stages[0].phases[0].held
    assert held_now.weights == whole.stages[0].phases[0].held.weights / 4
    assert held_now.gathered < BFLOAT16 * whole.stages[0].phases[0].held.weights / FLOAT32 * 4


def test_a_batch_smaller_than_the_gpus_is_made_larger() -> None:
    joint = on(gpus=16).stages[0]
    assert joint.settings == ("joint.optim.accumulate=16", "joint.batch_size=16")


def test_what_cannot_fit_says_what_would() -> None:
    tiny = on(memory=1e5)
    assert not tiny.fits
    assert "shorter interactions" in tiny.stages[-1].trouble


def test_every_preset_and_recipe_has_a_name_that_can_be_planned() -> None:
    assert set(preset_names()) <= set(recipe_names())


def test_a_baseline_is_refused() -> None:
    with pytest.raises(UserError, match="baseline history"):
        count_run(replace(recipe("smoke"), baseline="history"))
    with pytest.raises(UserError, match="2 to 64 tokens"):
        count_run(recipe("smoke"), tokens=65)
