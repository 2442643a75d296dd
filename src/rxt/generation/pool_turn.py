"""What a turn of a conversation starts from whose memory is a pool of fragments; :class:`rxt.generation.turn.Prepared`
is the same for a plain memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from pathlib import Path

import torch

from rxt.generation.remember import by_length, padded
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
    def fresh(cls, model: ReactiveTransformer, seed: int | None, knowledge: Pool | None = None) -> PreparedPool:
        """For a conversation that has not begun, and may know something already."""
        return cls.of(model, init_pool(model, seed, knowledge))

    @classmethod
    def of(cls, model: ReactiveTransformer, pool: Pool) -> PreparedPool:
        """To go on from a pool, wherever the model is.

        Raises:
            UserError: it is another model's.
        """
        check_pool(model, pool)
        weight, chosen = model.decoder.embedding.weight, router_of(model).config.chosen
        return cls._at_rest(pool.to(weight.device, weight.dtype), chosen)

    @staticmethod
    def _at_rest(pool: Pool, chosen: int) -> PreparedPool:
        """Before a query has come, the fragments that were written last are what is chosen."""
        own = range(pool.sealed, len(pool.fragments))
        latest = nlargest(chosen, own, key=lambda index: pool.fragments[index].turn)
        return PreparedPool(PoolTurn(pool, tuple(latest), pool.resident.new_zeros(len(pool.fragments))))

    def sharing(self, other: PreparedPool) -> PreparedPool:
        """The same conversation, with the fragments as another one of the same user has left them. Raises ``UserError``
        if other weights made one of the two."""
        return self._at_rest(self.pool.sharing(other.pool), len(self.chosen))

    @property
    def pool(self) -> Pool:
        """All of the memory."""
        return self.turn.pool

    @property
    def memory(self) -> Memory:
        """What is active of it."""
        return self.turn.memory

    @property
    def chosen(self) -> tuple[int, ...]:
        """The fragments that the turn sees, the one most like its query first; of what no query has come to yet, those
        that were written last."""
        return self.turn.chosen

    @property
    def written(self) -> tuple[int, ...]:
        """The fragments that were written last, in their order."""
        pool = self.pool
        own = range(pool.sealed, len(pool.fragments))
        return tuple(index for index in own if pool.fragments[index].turn == pool.turns)

    @property
    def nbytes(self) -> int:
        """Of all of the memory."""
        return self.pool.nbytes

    def for_query(self, model: ReactiveTransformer, prompt: Sequence[int]) -> PreparedPool:
        """What the turn looks up that begins with ``prompt`` (token ids): the fragments that are most like it."""
        return routed_pools(model, [self], [prompt])[0]

    def choosing(self, chosen: Sequence[int]) -> PreparedPool:
        """What the turn looks up that saw these fragments."""
        return replace(self, turn=replace(self.turn, chosen=tuple(chosen)))

    def after(self, model: ReactiveTransformer, interaction: Sequence[int]) -> PreparedPool:
        """With one more interaction (token ids) memorized."""
        return memorize_pools(model, [self], [interaction])[0]

    def uncounted(self) -> PreparedPool:
        """The same, where what was memorized last is no turn of its own."""
        return PreparedPool(replace(self.turn, pool=self.pool.uncounted()))

    def save(self, path: str | Path) -> None:
        """Write the pool to a file, whole or not at all."""
        self.pool.save(path)


@torch.no_grad()
def routed_pools(
    model: ReactiveTransformer, prepared: Sequence[PreparedPool], prompts: Sequence[Sequence[int]]
) -> list[PreparedPool]:
    """What turns look up that begin with these prompts (token ids), in order; prompts of like length are encoded
    together."""
    routed: dict[int, PreparedPool] = {}
    for group in by_length([len(prompt) for prompt in prompts]):
        ids, mask = padded(model, [prompts[index] for index in group])
        turns = route(model, [prepared[index].pool for index in group], ids, mask)
        routed |= {index: replace(prepared[index], turn=turn) for index, turn in zip(group, turns, strict=True)}
    return [routed[index] for index in range(len(prepared))]


@torch.no_grad()
def memorize_pools(
    model: ReactiveTransformer,
    before: Sequence[PreparedPool],
    interactions: Sequence[Sequence[int]],
    half: bool = False,
) -> list[PreparedPool]:
    """Merge one finished interaction (token ids) into each pool, in order; interactions of like length share a batch.

    ``half`` rounds what is written to half precision. The seconds of an update are its share of those of all.
    """
    began, written = time.perf_counter(), dict[int, PoolTurn]()
    for group in by_length([len(interaction) for interaction in interactions]):
        ids, mask = padded(model, [interactions[index] for index in group])
        turns = memorize(model, [before[index].turn for index in group], ids, mask)
        if half:
            turns = [replace(turn, pool=turn.pool.rounded(turn.chosen)) for turn in turns]
        written |= dict(zip(group, turns, strict=True))
    after = [written[index] for index in range(len(before))]
    changes = [
        (turn.memory.slots - each.pool.active(turn.chosen).slots).abs().float().mean(dim=(1, 2, 3)).tolist()  # (L,)
        for each, turn in zip(before, after, strict=True)
    ]
    seconds = (time.perf_counter() - began) / max(1, len(after))
    found = list[PreparedPool]()
    for each, turn, change in zip(before, after, changes, strict=True):
        written = tuple(index for index in sorted(turn.chosen) if index >= turn.pool.sealed)
        found.append(PreparedPool(turn, MemoryUpdated(turn.pool.turns, seconds, tuple(change), each.chosen, written)))
    return found
