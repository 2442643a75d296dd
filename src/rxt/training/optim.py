"""The optimiser, its schedule, and its state as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rxt.training.config_base import OptimConfig
from rxt.training.learner import Learner
from rxt.training.muon import Muon
from rxt.training.patterns import chosen_names


class Optimizer:
    """One or two of PyTorch's optimisers, each with its own parameters, that step as one."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = tuple(parts)
        self._part_of = {
            parameter: part for part in parts for group in part.param_groups for parameter in group["params"]
        }

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all parts; a value set in one is used by the next step."""
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state_of(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """What is kept of one parameter, by name; it may be written to."""
        return self._part_of[parameter].state[parameter]


def make_optimizer(learner: Learner, config: OptimConfig) -> Optimizer:
    """The optimiser of every parameter; those that a stage freezes get no gradient and do not move."""
    named = {name.removeprefix("model."): parameter for name, parameter in learner.unique_parameters()}
    factors = _factors(named, config)
    own = set(factors)
    inner: set[nn.Parameter] = set()
    if config.kind == "muon":
        matrices = [parameter for parameter in named.values() if parameter.dim() == 2 and min(parameter.shape) > 1]
        inner = {matrix for matrix in matrices if learner.vocab_size not in matrix.shape} - own
    parts: list[torch.optim.Optimizer] = [_adamw([each for each in named.values() if each not in own | inner], config)]
    if inner:
        group = {"params": [each for each in named.values() if each in inner], "share": 1.0}
        parts.append(Muon([group], config.learning_rate, config.weight_decay))
    for factor in dict.fromkeys(factors.values()):
        parts.append(_adamw([each for each in named.values() if factors.get(each) == factor], config, factor))
    return Optimizer(parts)


def _factors(named: Mapping[str, nn.Parameter], config: OptimConfig) -> dict[nn.Parameter, float]:
    """What the rates of some parameters are multiplied by."""
    factors: dict[nn.Parameter, float] = {}
    for rate in config.rates:
        for name in chosen_names(named, (rate.pattern,)):
            factors.setdefault(named[name], rate.factor)
    return factors


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the rate of every group: ``rate`` times the group's own share of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]


def _adamw(parameters: Iterable[nn.Parameter], config: OptimConfig, share: float = 1.0) -> torch.optim.AdamW:
    """``share``: of the learning rate, for these parameters."""
    parameters = list(parameters)
    groups = [
        {
            "params": [parameter for parameter in parameters if parameter.dim() >= 2],
            "weight_decay": config.weight_decay,
            "share": share,
        },
        {"params": [parameter for parameter in parameters if parameter.dim() < 2], "weight_decay": 0.0, "share": share},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to ``min_lr_ratio`` of the peak at the last step."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, steps - 1 - config.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * (config.min_lr_ratio + (1 - config.min_lr_ratio) * cosine)


def optimizer_tensors(learner: Learner, optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimiser's moments and counts, by parameter name."""
    return {
        f"{name}/{key}": value
        for name, parameter in learner.unique_parameters()
        for key, value in optimizer.state_of(parameter).items()
    }


def load_optimizer_tensors(learner: Learner, optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what :func:`optimizer_tensors` gave."""
    parameters = dict(learner.unique_parameters())
    for key, tensor in tensors.items():
        name, _, field = key.rpartition("/")
        optimizer.state_of(parameters[name])[field] = tensor.to(parameters[name].device)
