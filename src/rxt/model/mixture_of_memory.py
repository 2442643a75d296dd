"""Mixture-of-Memory: a turn of a conversation that has more memory than the turn sees, at the cost of what it sees.

With r the resident slots, f_i the fragments and κ_i their keys, for a query and the interaction that it becomes::

    q        = query(encode(query))
    c        = the k fragments of largest cos(q, κ_i)
    answer   = decode(query, [r, f_c])
    e        = encode(interaction)
    c'       = c; with a fresh fragment in the place of the least alike where every cos(query(e), κ_i) < new_below, or
               the most alike of c is full
    r', f'_c'  = memory_attention([r, f_c'], e)
    κ'_c'    = key_decay · κ_c' + key(e)

The active memory [r, f_c] has as many slots as any memory of the model, so decoder and memory attention know of no
fragments: it goes into ``model.decode``. A turn does not depend on the number of fragments, but for products of a
matrix (F, D_k) and a vector. A choice has no gradient; what was chosen has, and so have the similarities.

    turns = route(model, pools, query_ids)
    logits = model.decode(ids, active(turns))
    pools = [turn.pool for turn in memorize(model, turns, interaction_ids)]
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from rxt.config import PoolConfig
from rxt.errors import UserError
from rxt.model.memory import Memory
from rxt.model.pool import Pool
from rxt.model.reactive import ReactiveTransformer, without_padding
from rxt.model.replace import share_copy
from rxt.model.router import Router

Model = TypeVar("Model", bound=ReactiveTransformer)


@dataclass(frozen=True, eq=False)
class PoolTurn:
    """A pool and the k fragments of it that a turn sees; after the turn, the new pool and the k that were written."""

    pool: Pool
    chosen: tuple[int, ...]
    """The most alike first."""
    similarities: Tensor
    """(F,): of what was asked to every fragment there was."""

    @property
    def memory(self) -> Memory:
        """(L, 1, S, D): the active memory."""
        return self.pool.active(self.chosen)

    def choosing(self, fragments: Collection[int]) -> PoolTurn:
        """The same turn with these fragments, as many of them as a turn sees, and the most alike of the others: in
        training, where it is known what holds the answer."""
        ranked = most_alike(self.similarities, len(self.similarities))
        first = [index for index in ranked if index in fragments]
        others = [index for index in ranked if index not in fragments]
        return replace(self, chosen=tuple((first + others)[: len(self.chosen)]))


def route(model: ReactiveTransformer, pools: Sequence[Pool], ids: Tensor, mask: Tensor | None = None) -> list[PoolTurn]:
    """Choose, for each of B pools, the fragments most like its query (B, T); ``mask`` (B, T) is False at padding."""
    return route_encoded(router_of(model), pools, model.encode(ids, mask), mask)


def route_encoded(router: Router, pools: Sequence[Pool], encoded: Tensor, mask: Tensor | None = None) -> list[PoolTurn]:
    """As :func:`route`, of queries that are encoded already (L, B, T, D)."""
    queries = router.queries(encoded, mask)  # (B, D_k)
    similarities = [router.similarities(query, pool.keys) for query, pool in zip(queries, pools, strict=True)]
    return [
        PoolTurn(pool, tuple(most_alike(alike, router.config.chosen)), alike)
        for pool, alike in zip(pools, similarities, strict=True)
    ]


def active(turns: Sequence[PoolTurn]) -> Memory:
    """What the decoder looks up in B turns: one memory (L, B, S, D)."""
    return Memory.stack([turn.memory for turn in turns])


def memorize(
    model: ReactiveTransformer,
    turns: Sequence[PoolTurn],
    ids: Tensor,
    mask: Tensor | None = None,
    config: PoolConfig | None = None,
) -> list[PoolTurn]:
    """Merge finished interactions (B, T) into the pools of B turns: new pools, and which fragments were written.

    ``config``: when fragments are opened, where it is not to be as the model's own says.
    """
    if mask is not None:
        ids, mask = without_padding(ids, mask)
    return memorize_encoded(model, turns, model.encode(ids, mask), mask, config)


def memorize_encoded(
    model: ReactiveTransformer,
    turns: Sequence[PoolTurn],
    encoded: Tensor,
    mask: Tensor | None = None,
    config: PoolConfig | None = None,
) -> list[PoolTurn]:
    """As :func:`memorize`, of interactions that are encoded already (L, B, T, D)."""
    router = router_of(model)
    config = router.config if config is None else config
    queries, keys = router.queries(encoded, mask), router.keys(encoded, mask)  # (B, D_k)
    turns = [with_room(turn, router, query, config) for turn, query in zip(turns, queries, strict=True)]
    memory = active(turns)
    model.check_memory(memory, encoded.shape[1])
    slots = model.memory_attention(memory.slots, encoded, mask)  # (L, B, S, D)
    made_by, decay = model.made_by(), router.config.key_decay
    return [
        replace(turn, pool=turn.pool.write(turn.chosen, slots[:, row], keys[row], decay, made_by))
        for row, turn in enumerate(turns)
    ]


def check_pool(model: ReactiveTransformer, pool: Pool) -> None:
    """Refuse a pool that does not go with a model.

    Raises:
        UserError: the model has no pool, or one of other sizes, or other weights made this one.
    """
    config = router_of(model).config
    layers, slots, width = model.config.memory_shape
    expected = {
        "resident": (pool.resident, (layers, config.resident_slots(slots), width)),
        "fresh": (pool.fresh, (layers, config.fragment_slots, width)),
        "keys": (pool.keys, (len(pool.fragments), config.key_width)),
    }
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise UserError(f"this model's pools have {name} of shape {shape}, found {tuple(tensor.shape)}")
    if len(pool.fragments) < config.chosen:
        raise UserError(f"a turn of this model sees {config.chosen} fragments, this pool has {len(pool.fragments)}")
    model.check_memory(pool.active(range(config.chosen)), 1)


def with_room(turn: PoolTurn, router: Router, query: Tensor, config: PoolConfig) -> PoolTurn:
    """The turn as its interaction is written, ``query`` (D_k,) being what that would ask for: with a fresh fragment
    where it needs one by ``config``."""
    pool = turn.pool
    own = [index for index in turn.chosen if index >= pool.sealed]  # knowledge is not written into
    if any(pool.fragment(index).writes == 0 for index in own):
        return turn  # there is a fresh one already
    if own and not pool.fragment(own[0]).is_full(config):
        similarities = router.similarities(query, pool.keys)[pool.sealed :]
        if bool((similarities >= config.new_below).any()):
            return turn
    return replace(turn, chosen=(unwritten(pool, config), *turn.chosen[:-1]))


def unwritten(pool: Pool, config: PoolConfig) -> int:
    """The fragment that is opened next: one of the first, as long as nothing was written into it, or else a new one."""
    first = range(pool.sealed, min(pool.sealed + config.chosen, len(pool.fragments)))
    return next((index for index in first if not pool.fragments[index].writes), len(pool.fragments))


def init_pool(model: ReactiveTransformer, seed: int | None = None, knowledge: Pool | None = None) -> Pool:
    """The pool of a conversation that has not begun: the model's fresh memory, k fragments of it, after those of what
    all conversations know. ``UserError`` if other weights made the knowledge."""
    pool = Pool.split(model.init_memory(1, seed), router_of(model).config)
    return pool if knowledge is None else pool.knowing(knowledge)


def with_pool(model: Model, config: PoolConfig) -> Model:
    """The same model, its weights shared, with a router that is still to be trained. It takes no memories of the model
    without."""
    if model.stands_for is not None:
        raise UserError(
            "a quantized model gets no pool, nor one with rounded updates: give one to the model that it was made of, "
            "and quantize or round again"
        )
    copy, weight = share_copy(model), model.decoder.embedding.weight
    copy.config = replace(model.config, pool=config)
    copy.router = Router(config, model.config.decoder.width).to(weight.device, weight.dtype)
    return copy


def router_of(model: ReactiveTransformer) -> Router:
    """The model's router.

    Raises:
        UserError: it has none.
    """
    if model.router is None:
        raise UserError("this model keeps no fragments of memory: its configuration has no pool")
    return model.router


def most_alike(similarities: Tensor, count: int) -> list[int]:
    """So many fragments, the most alike first; of those that are equally alike, the oldest."""
    if count < len(similarities):  # only those that can be among them are sorted
        least = similarities.topk(count).values[-1]
        places = (similarities >= least).nonzero().flatten()
    else:
        places = torch.arange(len(similarities), device=similarities.device)
    return places[similarities[places].argsort(descending=True, stable=True)[:count]].tolist()
