"""This project's side of ``compare_published.py``: the public ``generate``, ``memorize``, and the training loop's own
update, as ``rxt train --dtype auto`` makes it."""

from __future__ import annotations

from typing import Any

import torch
from rich.console import Console
from worker_loop import Action, Sizes, clock, serve

import rxt
from rxt.bench.inference import random_ids
from rxt.bench.training import OPTIM, UPDATES, SameBatch, random_rows
from rxt.data.collate import Conversations
from rxt.generation.generate import generate_tokens
from rxt.pretrained import ReactiveTransformer
from rxt.training.compiled import compile_layers
from rxt.training.faster_products import choose_products
from rxt.training.freed_memory import keep_freed_memory
from rxt.training.learner import ReactiveLearner
from rxt.training.loop import update
from rxt.training.optim import make_optimizer
from rxt.training.patterns import ALL_PARTS
from rxt.training.stages.base import Stage
from rxt.training.stages.joint import JointConfig, joint_loss
from rxt.training.stages.memory_aware import MemoryAwareConfig, Phase, memory_aware_loss
from rxt.training.together import Together


def make(size: dict[str, Any], sizes: Sizes) -> dict[str, Action]:
    config, now = rxt.RxTConfig.preset(size["preset"]), clock(size["clock"])
    model = ReactiveTransformer(config).eval()
    small, rounded = rxt.quantize(model), rxt.round_updates(model)
    prompt = random_ids(config, 1, sizes.prompt_tokens, 1, torch.device("cpu"))
    trained: dict[str, Action] = {}

    def decode(which: ReactiveTransformer, compiled: bool) -> float:
        """Tokens a second after the first one."""
        which.eval()
        memory, times = which.init_memory(1, seed=1), []
        for token in generate_tokens(which, prompt, memory, sizes.new_tokens, stop_at_eos=False, compiled=compiled):
            token.tolist()
            times.append(now())
        return (len(times) - 1) / (times[-1] - times[0])

    def memorize(which: ReactiveTransformer) -> float:
        """Seconds."""
        which.eval()
        memory, ids = which.init_memory(1, seed=1), random_ids(config, 1, sizes.tokens, 1, torch.device("cpu"))
        began = now()
        with torch.no_grad():
            which.memorize(memory, ids)
        return now() - began

    def training(stage: Stage, tokens: int) -> Action:
        subject = ReactiveTransformer(config)  # its own weights: training must not disturb what decodes
        learner = ReactiveLearner(subject)
        products = choose_products(stage, learner, 0, "auto", Console())
        if size["compiled"]:
            compile_layers(learner)
        optimizer, together = make_optimizer(learner, stage.optim), Together(learner, products=products)

        def step() -> float:
            began = now()
            update(stage, learner, optimizer, 0, 0, together)
            return tokens / (now() - began)

        return step

    def joint() -> float:
        """Tokens a second."""
        if "joint" not in trained:
            rows = random_rows(model, sizes.rows, sizes.tokens, 1, answers=False)
            joint = JointConfig(steps=UPDATES, batch_size=sizes.rows, optim=OPTIM)
            stage = SameBatch("joint", joint, rows, ("decoder", "encoder"), True, joint_loss)
            trained["joint"] = training(stage, rows.ids.numel())
        return trained["joint"]()

    def memory_aware() -> float:
        """Tokens a second; the gradient runs through the whole conversation."""
        if "memory_aware" not in trained:
            rows = random_rows(model, sizes.rows * sizes.turns, sizes.tokens, 1, answers=True)
            conversations = Conversations(rows, (sizes.rows,) * sizes.turns)
            aware = MemoryAwareConfig(
                phases=(Phase(steps=UPDATES, turns=sizes.turns, batch_size=sizes.rows),), optim=OPTIM
            )
            stage = SameBatch("memory-aware", aware, conversations, ALL_PARTS, False, memory_aware_loss)
            trained["memory_aware"] = training(stage, rows.ids.numel())
        return trained["memory_aware"]()

    return {
        "decode": lambda: decode(model, False),
        "decode_compiled": lambda: decode(model, True),
        "decode_int8": lambda: decode(small, False),
        "decode_int8_compiled": lambda: decode(small, True),
        "memorize": lambda: memorize(model),
        "memorize_bfloat16": lambda: memorize(rounded),
        "joint": joint,
        "memory_aware": memory_aware,
    }


if __name__ == "__main__":
    keep_freed_memory()
    serve(make)
