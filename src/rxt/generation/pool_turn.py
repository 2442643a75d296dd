"""What a turn of a conversation starts from whose memory is a pool of fragments; :class:`rxt.generation.turn.Prepared`
is the same for a plain memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rxt.generation.turn import MemoryUpdated
from rxt.model.memory import Memory
from rxt.model.mixture_of_memory import PoolTurn, check_pool, init_pool, memorize, route, router_of
from rxt.model.pool import Pool
from rxt.model.reactive import ReactiveTransformer


@dataclass(frozen=True)
class PreparedPool:
    """The pool of one conversation, and the fragments that were last chosen or written."""

    turn: PoolTurn
    update: MemoryUpdated | None = None
    """What made this pool; None where no turn did."""
    memory_kv: None = None
    """Nothing is projected before a query has chosen."""

    @classmethod
    def fresh(cls, model: ReactiveTransformer, seed: int | None) -> PreparedPool:
        """For a conversation that has not begun."""
        return cls.of(model, init_pool(model, seed))

    @classmethod
    def of(cls, model: ReactiveTransformer, pool: Pool) -> PreparedPool:
        """To go on from a pool, wherever the model is.

        Raises:
            UserError: it is another model's.
        """
        check_pool(model, pool)
        weight, chosen = model.decoder.embedding.weight, router_of(model).config.chosen
        pool = pool.to(weight.device, weight.dtype)
        latest = sorted(range(len(pool.fragments)), key=lambda index: -pool.fragments[index].turn)[:chosen]
        return cls(PoolTurn(pool, tuple(latest), pool.keys.new_zeros(len(pool.fragments))))

    @property
    def pool(self) -> Pool:
        """All of the memory."""
        return self.turn.pool

    @property
    def memory(self) -> Memory:
        """What is active of it."""
        return self.turn.memory

    @torch.no_grad()
    def for_query(self, model: ReactiveTransformer, prompt: Sequence[int]) -> PreparedPool:
        """What the turn looks up that begins with ``prompt`` (token ids): the fragments that are most like it."""
        ids = torch.tensor([prompt], device=self.pool.keys.device)
        return replace(self, turn=route(model, [self.pool], ids)[0])

    @torch.no_grad()
    def after(self, model: ReactiveTransformer, interaction: Sequence[int]) -> PreparedPool:
        """With one more interaction (token ids) memorized."""
        began = time.perf_counter()
        ids = torch.tensor([interaction], device=self.pool.keys.device)
        written = memorize(model, [self.turn], ids)[0]
        before, after = self.pool.active(written.chosen), written.memory
        change = (after.slots - before.slots).abs().float().mean(dim=(1, 2, 3)).tolist()  # (L,)
        seconds = time.perf_counter() - began
        return PreparedPool(written, MemoryUpdated(written.pool.turns, seconds, tuple(change)))

    def uncounted(self) -> PreparedPool:
        """The same, where what was memorized last is no turn of its own."""
        return PreparedPool(replace(self.turn, pool=self.pool.uncounted()))

    def save(self, path: str | Path) -> None:
        """Write the pool to a file, whole or not at all."""
        self.pool.save(path)
