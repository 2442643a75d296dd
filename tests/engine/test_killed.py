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

from redis_server import running_redis
from rxt.data.tokenizer import ChatTokenizer
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer
from rxt.store.base import Store
from rxt.store.open import open_store
from small_engine import serving

SCRIPT = Path(__file__).parent / "killed_talk.py"
KILLS = 5


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.slow)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store, which outlives the processes."""
    if request.param == "sqlite":
        yield str(tmp_path / "db")
    else:
        with running_redis(tmp_path) as server:
            yield server.address


def uninterrupted(store: Store, model: ReactiveTransformer, turn_id: str, tokens_eos: int) -> Memory:
    """The memory after a turn, one interaction after the other."""
    memory = model.init_memory(1, seed=0)
    with torch.no_grad():
        for turn in store.chain(turn_id, ""):
            said = [token for token in turn.said if token != tokens_eos]
            memory = model.memorize(memory, torch.tensor([[*turn.prompt, *said, tokens_eos]]))
    return memory


def test_kill_9_at_any_moment(model: ReactiveTransformer, tokenizer: ChatTokenizer, where: str) -> None:
    seen = list[str]()
    drawn = random.Random(4)
    unfinished = 0
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), where], stdout=subprocess.PIPE, text=True, env=environment
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
            for name in seen[:: max(1, len(seen) // 12)]:
                turn = sessions.store.turn(name)
                assert turn is not None
                content = sessions.store.memory(name)
                assert content is not None
                expected = uninterrupted(sessions.store, model, name, model.config.tokens.eos)
                found = Memory.from_bytes(content)
                assert found.turns == expected.turns
                torch.testing.assert_close(found.slots, expected.slots)

    asyncio.run(scene())
