"""This project's side of ``beside_llama.py``: a memory on a base, as a chat and a server run it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from worker_loop import Action, Sizes, clock, serve

import rxt
from rxt.bench.inference import random_ids
from rxt.generation.batch import BatchDecoder
from rxt.generation.generate import generate_tokens
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer, load_model

CPU = torch.device("cpu")


def load(config: dict[str, Any]) -> ReactiveTransformer:
    """The model in the form that is compared."""
    model, _ = load_model(config["model"], base=config["base"])
    match config["ours"]:
        case "int8":
            return rxt.quantize(model)
        case "int4":
            return rxt.quantize(model, bits=4)
        case "bfloat16":
            return model.bfloat16()
        case _:
            return model


@torch.no_grad()
def make(config: dict[str, Any], sizes: Sizes) -> dict[str, Action]:
    model, compiled, now = load(config).eval(), bool(config["compiled"]), clock(config["clock"])
    prompts = random_ids(model.config, sizes.rows, sizes.prompt_tokens, 1, CPU)
    interactions = random_ids(model.config, sizes.turns, sizes.tokens, 2, CPU)
    memories = {1: model.init_memory(1, seed=1)}

    def memory_at(turn: int) -> Memory:
        """What is kept of the turns before."""
        while (last := max(memories)) < turn:
            memories[last + 1] = memorized(memories[last], interactions[last - 1])
            if last not in config["turns"]:
                del memories[last]
        return memories[turn]

    @torch.no_grad()
    def memorized(memory: Memory, ids: Tensor) -> Memory:
        return model.memorize(memory, ids[None])

    def decode() -> float:
        """Tokens a second after the first one."""
        times = list[float]()
        for token in generate_tokens(
            model, prompts[:1], memory_at(1), sizes.new_tokens, stop_at_eos=False, compiled=compiled
        ):
            token.tolist()
            times.append(now())
        return (len(times) - 1) / (times[-1] - times[0])

    def first_token(turn: int) -> float:
        """Seconds, with the memory's keys and values to be projected: they are not, where a turn came just before."""
        memory, began = memory_at(turn), now()
        next(generate_tokens(model, prompts[:1], memory, 2, stop_at_eos=False)).tolist()
        return now() - began

    def update() -> float:
        """Seconds after an answer, until the next turn can begin."""
        began = now()
        memorized(memory_at(1), interactions[0])
        return now() - began

    def together() -> float:
        """Tokens a second of all conversations, after the first of each."""
        batch = BatchDecoder(model, sizes.rows)
        for prompt in prompts:
            batch.admit(prompt, memory_at(1), max_new_tokens=sizes.new_tokens, stop_at_eos=False)
        batch.step()
        began, said = now(), 0
        while len(batch):
            said += len(batch.step())
        return said / (now() - began)

    actions: dict[str, Action] = {"decode": decode, "update": update, "together": together}
    for turn in config["turns"]:
        actions[f"first {turn}"] = lambda turn=turn: first_token(turn)
        actions[f"kept {turn}"] = lambda turn=turn: memory_at(turn).nbytes
    return actions


if __name__ == "__main__":
    serve(make)
