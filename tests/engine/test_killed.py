"""A process is killed at random moments: every turn that was seen as complete is there, and its memory as if nothing
had happened."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from factories import chat_model, pooled_model
from redis_server import running_redis
from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.stored import memory_file
from rxt.generation.pool_turn import PreparedPool
from rxt.model.memory import Memory
from rxt.model.mixture_of_memory import init_pool, memorize, route
from rxt.model.pool import Pool, memory_of
from rxt.pretrained import ReactiveTransformer
from rxt.store.base import Store
from rxt.store.open import open_store
from rxt.store.records import Turn
from small_engine import serving

SCRIPT = Path(__file__).parent / "killed_talk.py"
KILLS = 5


@pytest.fixture(params=["plain", "pool", "user"])
def kind(request: pytest.FixtureRequest) -> str:
    """Of the memory; ``user``: a pool that all conversations share."""
    return request.param


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.slow)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store, which outlives the processes."""
    if request.param == "sqlite":
        yield str(tmp_path / "db")
    else:
        with running_redis(tmp_path) as server:
            yield server.address


@torch.no_grad()
def uninterrupted(store: Store, model: ReactiveTransformer, turn_id: str, tokens_eos: int) -> list[Tensor]:
    """The slots of the memory after a turn, one interaction after the other; of a pool those of all fragments, too."""
    memory = model.init_memory(1, seed=0)
    pool = None if model.config.pool is None else init_pool(model, seed=0)
    for turn in store.chain(turn_id, ""):
        said = [token for token in turn.said if token != tokens_eos]
        ids = torch.tensor([[*turn.prompt, *said, tokens_eos]])
        if pool is None:
            memory = model.memorize(memory, ids)
        else:
            pool = memorize(model, route(model, [pool], torch.tensor([turn.prompt])), ids)[0].pool
    return slots_of(memory if pool is None else pool)


@torch.no_grad()
def uninterrupted_user(store: Store, model: ReactiveTransformer) -> dict[str, list[Tensor]]:
    """The slots after each turn of the one user, in the order in which they were told to the memory."""
    (newest,) = store.user_memories()
    order, at = list[Turn](), newest.head
    while at is not None:
        turn = store.turn(at)
        assert turn is not None
        order.append(turn)
        at = turn.follows
    pools = dict[str | None, Pool]({None: init_pool(model, seed=0)})
    for turn in reversed(order):
        prepared = PreparedPool.of(model, pools[turn.parent].sharing(pools[turn.follows]))
        said = [token for token in turn.said if token != model.config.tokens.eos]
        whole = [*turn.prompt, *said, model.config.tokens.eos]
        pools[turn.id] = prepared.choosing(turn.chosen).after(model, whole).pool
    return {name: slots_of(pool) for name, pool in pools.items() if name is not None}


def slots_of(memory: Memory | Pool) -> list[Tensor]:
    if isinstance(memory, Memory):
        return [memory.slots, torch.tensor(memory.turns)]
    slots = [fragment.slots for fragment in memory.fragments]
    return [memory.resident, memory.keys.whole(), torch.tensor([memory.turns]), *slots]


def test_kill_9_at_any_moment(tokenizer: ChatTokenizer, where: str, kind: str) -> None:
    model = chat_model(max_length=64) if kind == "plain" else pooled_model(max_length=64)
    seen = list[str]()
    drawn = random.Random(4)
    unfinished = 0
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), where, kind], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert process.stdout is not None
        for _ in range(drawn.randint(2, 40)):  # moments: so many answers, and then a little more
            seen.append(process.stdout.readline().split()[1])
        try:
            process.wait(timeout=drawn.random() * 0.02)
        except subprocess.TimeoutExpired:
            process.kill()
        rest = process.stdout.read().splitlines(keepends=True)
        seen += [line.split()[1] for line in rest if line.endswith("\n")]
        process.stdout.close()
        process.wait()
        store = open_store(where)
        assert store.verify() == []
        unfinished += store.stats().unfinished
        assert all(store.turn(name) is not None for name in seen), "a turn that was seen is there"
        store.close()
    assert unfinished, "some were killed between an answer and its memory"

    async def scene() -> None:
        async with serving(where, model, tokenizer) as sessions:
            await sessions.recover()
            assert sessions.store.stats().unfinished == 0
            assert sessions.store.verify() == []
            shared = uninterrupted_user(sessions.store, model) if kind == "user" else {}
            assert kind != "user" or set(shared) == set(sessions.store.scan()), "each turn stands in the one order"
            for name in seen[:: max(1, len(seen) // 12)]:
                turn = sessions.store.turn(name)
                assert turn is not None
                content = memory_file(sessions.store, name)
                assert content is not None
                expected = shared.get(name) or uninterrupted(sessions.store, model, name, model.config.tokens.eos)
                torch.testing.assert_close(slots_of(memory_of(content)), expected)

    asyncio.run(scene())
