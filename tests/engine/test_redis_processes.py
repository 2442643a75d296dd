"""Two server processes that share one Redis: a conversation goes on at either, one turn at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from redis_server import running_redis
from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.events import Finished, Occupied, Question
from rxt.engine.scheduler import Engine
from rxt.engine.sessions import Rules, Sessions
from rxt.generation.conversation import Conversation
from rxt.pretrained import ReactiveTransformer
from rxt.store.open import open_store
from small_engine import ask

QUERIES = ["hello there", "my name is Ann", "how are you", "I live in Graz"]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with running_redis(tmp_path) as server:
        yield server.address


def test_a_conversation_goes_on_at_either_process(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, address: str
) -> None:
    async def scene() -> None:
        rules = Rules(wait_seconds=0.3)
        one, other = (Sessions(Engine(model), tokenizer, open_store(address), rules) for _ in range(2))
        dialogue = await one.new_dialogue("", {})
        turns = []
        for index, query in enumerate(QUERIES):
            turns.append(await ask((one, other)[index % 2], Question("", query, conversation=dialogue.id, most=8)))
        chat = Conversation(model, tokenizer, max_new_tokens=8)
        assert [turn.answer for turn in turns] == [chat.ask(query) for query in QUERIES]
        running = await one.begin(Question("", "hello", conversation=dialogue.id))
        with pytest.raises(Occupied):
            await other.begin(Question("", "hello", conversation=dialogue.id))
        running.close()
        await asyncio.sleep(0.1)
        (await other.begin(Question("", "hello", conversation=dialogue.id))).close()
        await one.close()
        await other.close()

    asyncio.run(scene())


def test_one_process_memorizes_what_another_left(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, address: str
) -> None:
    async def scene() -> None:
        one, other = (Sessions(Engine(model), tokenizer, open_store(address)) for _ in range(2))
        running = await one.begin(Question("", QUERIES[0], most=8))
        one.store.memorize = lambda turn, memory: None  # type: ignore[method-assign]  # as if it had died before
        (first,) = [event.turn async for event in running.events() if isinstance(event, Finished)]
        second = await ask(other, Question("", QUERIES[1], previous=first.id, most=8))
        chat = Conversation(model, tokenizer, max_new_tokens=8)
        assert [first.answer, second.answer] == [chat.ask(query) for query in QUERIES[:2]]
        assert other.store.stats().unfinished == 0
        await one.close()
        await other.close()

    asyncio.run(scene())
