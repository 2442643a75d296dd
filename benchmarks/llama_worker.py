"""llama.cpp's side of ``beside_llama.py``, by llama-cpp-python: the base alone, which keeps its history or reads it
again.

Started with the Python of an environment that has llama-cpp-python. Weights in another form than the base's file are
written beside ``forms`` by llama.cpp's own quantization.
"""

from __future__ import annotations

import ctypes
import random
from pathlib import Path
from typing import Any

import llama_cpp  # type: ignore[import-not-found]
from llama_cpp import _internals as internals  # type: ignore[import-not-found]
from worker_loop import Action, Sizes, clock, serve

FORMS = {"Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, "BF16": 32, "F32": 0}
"""What llama.cpp calls them, and their numbers in its interface; "file" is the base's file as it is."""
BATCH = 512
"""Tokens of a prompt that are read together, as by default."""


def in_form(config: dict[str, Any]) -> str:
    """The file of the base in the form that is compared."""
    base, form = config["base"], config["theirs"]
    if form == "file":
        return base
    path = Path(config["forms"]) / f"{Path(base).stem}.{form}.gguf"
    if not path.exists():
        options = llama_cpp.llama_model_quantize_default_params()
        options.ftype, options.allow_requantize = FORMS[form], True
        if llama_cpp.llama_model_quantize(base.encode(), str(path).encode(), ctypes.byref(options)):
            raise SystemExit(f"{base}: llama.cpp could not write it as {form}")
    return str(path)


class Together:
    """Conversations that take every step together: a context of llama.cpp's with as many sequences."""

    def __init__(self, model: Any, rows: int, length: int, threads: int) -> None:
        options = llama_cpp.llama_context_default_params()
        options.n_ctx, options.n_seq_max, options.n_batch, options.n_ubatch = rows * length, rows, BATCH, BATCH
        options.n_threads, options.n_threads_batch, options.kv_unified = threads, threads, False
        self._context = internals.LlamaContext(model=model, params=options, verbose=False)
        self._batch = internals.LlamaBatch(n_tokens=BATCH, embd=0, n_seq_max=rows, verbose=False)
        self._sampler = internals.LlamaSampler()
        self._sampler.add_greedy()
        self._rows = rows

    def forget(self) -> None:
        """Begin anew."""
        self._context.kv_cache_clear()

    def step(self, tokens: list[list[int]], position: int) -> list[list[int]]:
        """Read some tokens of each, the first of them at ``position``, and choose the next one of each."""
        batch, ends = self._batch.batch, list[int]()
        batch.n_tokens = 0
        for row, added in enumerate(tokens):
            for offset, token in enumerate(added):
                place = batch.n_tokens
                batch.token[place], batch.pos[place], batch.n_seq_id[place] = token, position + offset, 1
                batch.seq_id[place][0], batch.logits[place] = row, offset == len(added) - 1
                batch.n_tokens += 1
            ends.append(batch.n_tokens - 1)
        self._context.decode(self._batch)
        return [[self._sampler.sample(self._context, end)] for end in ends]


def make(config: dict[str, Any], sizes: Sizes) -> dict[str, Action]:
    threads, now = config["threads"], clock(config["clock"])
    length = max(sizes.turns * sizes.tokens, sizes.prompt_tokens) + sizes.new_tokens
    model = llama_cpp.Llama(in_form(config), n_ctx=length, n_threads=threads, n_threads_batch=threads, verbose=False)
    draw = random.Random(1)
    words = [draw.randrange(1_000, model.n_vocab()) for _ in range(length)]
    prompt = words[: sizes.prompt_tokens]

    def decode() -> float:
        """Tokens a second after the first one."""
        model.reset()
        model.eval(prompt)
        token, began = model.sample(temp=0.0), now()
        for _ in range(sizes.new_tokens - 1):
            model.eval([token])
            token = model.sample(temp=0.0)
        return (sizes.new_tokens - 1) / (now() - began)

    def keep(tokens: int) -> None:
        """Have so much of the history read already, and no more."""
        if model.n_tokens < tokens:
            model.eval(words[model.n_tokens : tokens])
        model.n_tokens = tokens

    def first_token(turn: int, kept: bool) -> float:
        """Seconds."""
        history = (turn - 1) * sizes.tokens
        keep(history if kept else 0)
        began = now()
        model.eval(words[model.n_tokens : history + sizes.prompt_tokens])
        model.sample(temp=0.0)
        return now() - began

    def kept_bytes(turn: int) -> float:
        keep(turn * sizes.tokens)
        llama_cpp.llama_memory_seq_rm(llama_cpp.llama_get_memory(model.ctx), 0, model.n_tokens, -1)
        return llama_cpp.llama_state_seq_get_size(model.ctx, 0)

    conversations = list[Together]()

    def together() -> float:
        """Tokens a second of all conversations, after the first of each."""
        if not conversations:
            room = sizes.prompt_tokens + sizes.new_tokens
            conversations.append(Together(model._model, sizes.rows, room, threads))
        all_of_them = conversations[0]
        all_of_them.forget()
        tokens = all_of_them.step([prompt] * sizes.rows, 0)
        began = now()
        for step in range(sizes.new_tokens - 1):
            tokens = all_of_them.step(tokens, sizes.prompt_tokens + step)
        return sizes.rows * (sizes.new_tokens - 1) / (now() - began)

    actions: dict[str, Action] = {"decode": decode, "together": together}
    for turn in config["turns"]:
        actions[f"first {turn}"] = lambda turn=turn: first_token(turn, kept=True)
        actions[f"first {turn} again"] = lambda turn=turn: first_token(turn, kept=False)
        actions[f"kept {turn}"] = lambda turn=turn: kept_bytes(turn)
    return actions


if __name__ == "__main__":
    serve(make)
