"""AdamW, its schedule, and its state as plain tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rxt.training.config import OptimConfig
from rxt.training.trainee import Trainee


def make_optimizer(trainee: Trainee, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over every parameter; those that a stage freezes get no gradient and do not move."""
    parameters = [parameter for _, parameter in trainee.unique_parameters()]
    groups = [
        {"params": [parameter for parameter in parameters if parameter.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [parameter for parameter in parameters if parameter.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to ``final_share`` of the peak at the last step."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, steps - 1 - config.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * (config.final_share + (1 - config.final_share) * cosine)


def optimizer_tensors(trainee: Trainee, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's moments and counts, by parameter name."""
    return {
        f"{name}/{key}": value
        for name, parameter in trainee.unique_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer_tensors(trainee: Trainee, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what :func:`optimizer_tensors` gave."""
    parameters = dict(trainee.unique_parameters())
    for key, tensor in tensors.items():
        name, _, field = key.rpartition("/")
        optimizer.state[parameters[name]][field] = tensor.to(parameters[name].device)
