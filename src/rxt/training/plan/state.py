"""What a rank holds from update to update: weights, gradients and what the optimiser keeps, in bytes.

The model is built of fake tensors, and the stage's own optimiser makes a step on them: what it then has is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rxt.training.config_base import OptimConfig, StageConfig
from rxt.training.learner import GrownLearner, Learner, ReactiveLearner
from rxt.training.optim import make_optimizer
from rxt.training.plan.learners import PolicyLearner, learn_only
from rxt.training.plan.updates import Updates
from rxt.training.preference.config import PreferenceConfig
from rxt.training.stages.adaptation import AdaptationConfig


@dataclass(frozen=True)
class State:
    """Bytes of a whole model in training."""

    weights: int
    """Parameters and buffers, those that do not learn and those of a frozen reference too."""
    gradients: int
    """Of what learns."""
    optimiser: int
    """Moments and counts of all that has learned in the stage so far."""


def states(stage: StageConfig, optim: OptimConfig, learner: Learner, updates: Sequence[Updates]) -> list[State]:
    """What is held in each part of a stage, one after another: what has learned keeps its moments to the stage's
    end."""
    weights, optimizer, found = weight_bytes(stage, learner), make_optimizer(learner, optim), list[State]()
    for part in updates:
        learn_only(stage, part.trains, learner)
        for parameter in learner.parameters():
            parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None
        optimizer.step()
        gradients = [parameter.grad for parameter in learner.parameters() if parameter.grad is not None]
        kept = [
            tensor for each in optimizer.parts for state in each.state.values() for tensor in _tensors(state.values())
        ]
        found.append(State(weights, _bytes(gradients), _bytes(kept)))
    learner.zero_grad(set_to_none=True)
    return found


def weight_bytes(stage: StageConfig, learner: Learner) -> int:
    """Of parameters and buffers, and of the frozen model that a stage compares with."""
    own = _bytes([*learner.parameters(), *learner.buffers()])
    if isinstance(learner, PolicyLearner) or (
        isinstance(stage, PreferenceConfig) and isinstance(learner, ReactiveLearner)
    ):
        return own + _bytes([*learner.model.parameters(), *learner.model.buffers()])
    if isinstance(stage, AdaptationConfig) and stage.precision == "bfloat16" and isinstance(learner, GrownLearner):
        return own - sum(matrix.nbytes - matrix.numel() * torch.bfloat16.itemsize for matrix in learner.rounded())
    return own


def _tensors(values: Iterable[object]) -> list[Tensor]:
    return [value for value in values if isinstance(value, Tensor)]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
