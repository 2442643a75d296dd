"""What turns start from, whichever kind of memory their conversations have: a plain one, or a pool of fragments."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from rxt.errors import UserError
from rxt.generation.pool_turn import PreparedPool, memorize_pools, routed_pools
from rxt.generation.turn import Prepared, memorize
from rxt.model.memory import Memory
from rxt.model.pool import Pool
from rxt.model.reactive import ReactiveTransformer

Ready = Prepared | PreparedPool


def fresh(model: ReactiveTransformer, seed: int | None, knowledge: Pool | None = None) -> Ready:
    """For a conversation that has not begun: a pool where the model has one, with what is known already.

    Raises:
        UserError: other weights made the knowledge, or the model keeps no fragments.
    """
    if model.config.pool is None and knowledge is None:
        return Prepared.fresh(model, seed)
    return PreparedPool.fresh(model, seed, knowledge)


def ready(model: ReactiveTransformer, memory: Memory | Pool) -> Ready:
    """To go on from a memory of either kind. Raises ``UserError`` where it is not one that this model goes on from."""
    return PreparedPool.of(model, memory) if isinstance(memory, Pool) else Prepared.of(model, memory)


def routed(
    model: ReactiveTransformer, prepared: Sequence[Ready], prompts: Sequence[Sequence[int] | None]
) -> list[Ready]:
    """What the turns look up that begin with these prompts (token ids), each what ``for_query`` gives alone, in order.

    A prompt None leaves what has been chosen before.
    """
    found, places = list(prepared), list[int]()
    pools, queries = list[PreparedPool](), list[Sequence[int]]()
    for index, (each, prompt) in enumerate(zip(prepared, prompts, strict=True)):
        if isinstance(each, PreparedPool) and prompt is not None:
            places.append(index)
            pools.append(each)
            queries.append(prompt)
    for index, each in zip(places, routed_pools(model, pools, queries), strict=True):
        found[index] = each
    return found


def memorize_all(
    model: ReactiveTransformer, before: Sequence[Ready], interactions: Sequence[Sequence[int]], half: bool = False
) -> list[Ready]:
    """Merge one finished interaction (token ids) into each memory, each as ``after`` does alone, in order; ``half``
    rounds what is written to half precision."""
    if len(before) != len(interactions):
        raise UserError(f"{len(before)} memories need as many interactions, found {len(interactions)}")
    plain = [index for index, each in enumerate(before) if isinstance(each, Prepared)]
    pooled = [index for index, each in enumerate(before) if isinstance(each, PreparedPool)]
    prepared = [each for each in before if isinstance(each, Prepared)]
    pools = [each for each in before if isinstance(each, PreparedPool)]
    found = dict[int, Ready]()
    if plain:
        new = memorize(model, prepared, [interactions[index] for index in plain], half)
        found |= dict(zip(plain, new, strict=True))
    if pooled:
        written = memorize_pools(model, pools, [interactions[index] for index in pooled], half)
        found |= dict(zip(pooled, written, strict=True))
    return [found[index] for index in range(len(before))]


def change(before: Ready, after: Ready) -> Tensor:
    """How much each slot changed (L, S): the mean absolute change of its numbers. Of a pool, the slots that were
    written."""
    was, now = before.memory, after.memory
    if isinstance(before, PreparedPool) and isinstance(after, PreparedPool):
        places = after.written
        if max(places) <= len(before.pool.fragments):  # a pool that was brought did not come out of this one
            was, now = before.pool.active(places), after.pool.active(places)
    return (now.slots - was.slots).abs().float().mean(-1)[:, 0]
