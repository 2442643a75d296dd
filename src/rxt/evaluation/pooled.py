"""A model with a pool under test: every conversation has its own fragments, and each question sees what it is routed
to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rxt.data.template import Template
from rxt.evaluation.subject import Reactive, Subject
from rxt.generation.pool_turn import PreparedPool, memorize_pools, routed_pools
from rxt.model.memory import Memory
from rxt.model.mixture_of_memory import router_of
from rxt.model.pool import Pool
from rxt.model.reactive import ReactiveTransformer
from rxt.model.replace import share_copy
from rxt.model.rounded_updates import Updates, with_updates
from rxt.pretrained import load_model

Pools = tuple[PreparedPool, ...]


class Pooled(Subject[Pools]):
    """A Reactive Transformer with a pool of fragments. The state of a conversation is its pool."""

    def __init__(self, model: ReactiveTransformer, template: Template) -> None:
        """Raises ``UserError`` if the model keeps no fragments."""
        super().__init__(template, model.config.trained_turns)
        self.config = router_of(model).config
        self.model = model
        self.plain = Reactive(model, template)
        """The same model with a memory that is not in fragments."""

    def start(self, batch_size: int, seed: int) -> Pools:
        memories = self.model.init_memory(batch_size, seed)
        pools = [Pool.split(memories.select(row), self.config) for row in range(batch_size)]
        return tuple(PreparedPool.of(self.model, pool) for pool in pools)

    def answer(self, prompts: Sequence[list[int]], state: Pools, max_new_tokens: int = 48) -> list[list[int]]:
        return self.answer_routed(prompts, self.route(prompts, state), max_new_tokens)

    def route(self, prompts: Sequence[list[int]], state: Pools) -> Pools:
        """What each prompt looks up."""
        return tuple(routed_pools(self.model, state, prompts))

    def answer_routed(self, prompts: Sequence[list[int]], routed: Pools, max_new_tokens: int = 48) -> list[list[int]]:
        """Greedy continuations out of what was chosen."""
        return self.plain.answer(prompts, Memory.stack([each.memory for each in routed]), max_new_tokens)

    def answer_whole(self, prompt: list[int], pool: Pool, max_new_tokens: int = 48) -> list[int]:
        """Greedy continuation out of all of a pool at once."""
        memory = replace(pool.active(range(len(pool.fragments))), fingerprint=None)
        wide = share_copy(self.model)
        attention = replace(self.model.config.memory_attention, slots=memory.slots.shape[2])
        wide.config = replace(self.model.config, memory_attention=attention, pool=None)
        return Reactive(wide, self.template).answer([prompt], memory, max_new_tokens)[0]

    @torch.no_grad()
    def remember(self, state: Pools, interactions: Sequence[list[int]]) -> Pools:
        """Each interaction sees what its prompt sees, that is all up to the answer."""
        return self.remember_routed(self.route([self._prompt(ids) for ids in interactions], state), interactions)

    def remember_routed(self, routed: Pools, interactions: Sequence[list[int]]) -> Pools:
        """The state after finished interactions whose prompts were routed."""
        return tuple(memorize_pools(self.model, routed, interactions))

    def take(self, state: Pools, rows: Sequence[int]) -> Pools:
        return tuple(state[row] for row in rows)

    def join(self, states: Sequence[Pools]) -> Pools:
        return tuple(each for state in states for each in state)

    def state_bytes(self, state: Pools) -> int:
        return sum(each.nbytes for each in state)

    def _prompt(self, interaction: list[int]) -> list[int]:
        marker = list(self.template.markup.parts["answer"].ids)
        starts = range(len(interaction) - len(marker) + 1)
        ends = (start + len(marker) for start in starts if interaction[start : start + len(marker)] == marker)
        return interaction[: next(ends, len(interaction))]


def load_subject(
    source: str | Path | None = None, base: str | Path | None = None, updates: Updates = "float32"
) -> Subject[Any]:
    """A model folder or hub id, ready to be measured, with its pool where it has one; the bundled model when not given.
    ``base``: where the model is that it is the memory of. ``updates``: the type that its memory updates multiply in."""
    model, tokenizer = load_model(source, base=base)
    model = with_updates(model, updates)
    template = Template.of_model(model.config, tokenizer)
    return Reactive(model, template) if model.config.pool is None else Pooled(model, template)
