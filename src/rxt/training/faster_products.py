"""``--dtype auto``: a stage's loss is timed with products in float32 and in bfloat16 before the stage begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from rxt.config import read_json
from rxt.training.learner import Learner
from rxt.training.loop import step_generator
from rxt.training.metrics import say
from rxt.training.precision import Dtype, Products, autocast, products_of
from rxt.training.stages.base import Stage

FASTER = 1.1
"""So many times as fast loss and gradient must be in bfloat16, at least, to be worth its rounding."""


def choose_products(
    stage: Stage[Any, Any], learner: Learner, seed: int, asked: Dtype | None, console: Console
) -> Products:
    """The type that a stage computes its products in.

    ``auto``, on a processor, is what is faster for the stage's first micro-batch, with its gradient; a stage that makes
    its own data is not timed. The learner stays as it is.

    Args:
        asked: None is as the device does by itself.
    """
    if asked not in (None, "auto"):
        return asked
    if asked is None or learner.device.type != "cpu" or not stage.steps or stage.collects(0):
        return products_of(learner.device)
    batches = stage.batches("train", 0)
    buffers = {name: buffer.clone() for name, buffer in learner.named_buffers()}
    learner.train()
    stage.unfreeze(learner, 0)

    def loss() -> Tensor:
        return stage.loss(learner, batches[0], batches, step_generator(seed, stage.name, "train", 0, 0)).loss

    exact, rounded = (_seconds(loss, learner, products) for products in ("float32", "bfloat16"))
    for name, buffer in learner.named_buffers():
        buffer.copy_(buffers[name])
    found = faster(exact, rounded)
    times = f"loss and gradient take {exact:.2g} s in float32, {rounded:.2g} s in bfloat16"
    say(console, f"{stage.name}  products in {found}: {times}")
    return found


def noted_products(note: Path, asked: Dtype | None) -> Products | None:
    """What a stage that goes on was found to be faster in when it began, if it was asked then and is asked now."""
    found = read_json(note).get("products") if asked == "auto" and note.exists() else None
    return found if found in ("float32", "bfloat16") else None


def faster(exact: float, rounded: float) -> Products:
    """From the seconds in float32 and in bfloat16."""
    return "bfloat16" if rounded * FASTER < exact else "float32"


def _seconds(loss: Callable[[], Tensor], learner: Learner, products: Products) -> float:
    """Of the second of two calls: the first finds memory and kernels."""
    took = 0.0
    for _ in range(2):
        began = time.perf_counter()
        with autocast(learner.device, products):
            found = loss()
        found.backward()
        took = time.perf_counter() - began
        learner.zero_grad(set_to_none=True)
    return took
