"""Conversations that begin with knowledge: all find it, none changes it, and none sees what another was told."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from factories import FRAGMENTS, chat_model, pooled_model
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.events import Past, Question
from rxt.engine.sessions import Rules
from rxt.errors import UserError
from rxt.generation.conversation import Conversation
from rxt.generation.knowledge import interactions_of_text, knowledge_of
from rxt.generation.pool_turn import PreparedPool
from rxt.model.pool import Pool
from rxt.pretrained import ReactiveTransformer
from rxt.store.records import Damaged
from small_engine import ask, serving, told

QUERIES = ["hello there", "my name is Ann", "how are you", "I live in Graz", "hello"]
TEXT = "Graz lies on the Mur. Ann lives in Graz. There are hills, and how are you. " * 6


@pytest.fixture(scope="module")
def pooled() -> ReactiveTransformer:
    return pooled_model(replace(FRAGMENTS, most_writes=1), max_length=64)


@pytest.fixture(scope="module")
def knowledge(pooled: ReactiveTransformer, tokenizer: ChatTokenizer) -> Pool:
    return knowledge_of(pooled, interactions_of_text(Template.of_model(pooled.config, tokenizer), TEXT))


def test_turns_are_those_of_a_conversation_that_knows_it(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, knowledge: Pool, tmp_path: Path
) -> None:
    assert len(knowledge.fragments) > 3
    rules = Rules(knowledge=knowledge)

    async def scene() -> None:
        chat = Conversation(pooled, tokenizer, max_new_tokens=8, knowledge=knowledge)
        expected = [chat.ask(query) for query in QUERIES]
        turns = []
        for start in (0, 3):
            async with serving(tmp_path / "db", pooled, tokenizer, rules=rules) as sessions:
                turns += await told(sessions, turns[-1].id if turns else None, *QUERIES[start : start + 3])
        assert [turn.answer for turn in turns] == expected
        assert any(index < len(knowledge.fragments) for turn in turns for index in turn.chosen), "it is looked up"
        async with serving(tmp_path / "db", pooled, tokenizer, rules=rules) as sessions:
            others = await told(sessions, None, *QUERIES)
            assert [turn.answer for turn in others] == expected, "what was told elsewhere is not known here"
            found, other = [await sessions.memories.after(each[-1]) for each in (turns, others)]
            assert isinstance(found, PreparedPool)
            assert isinstance(other, PreparedPool)
            shared = range(len(knowledge.fragments))
            assert all(found.pool.fragments[index] is other.pool.fragments[index] for index in shared)
            fragments = await sessions.fragments(turns[-1])
            assert fragments is not None
            assert min(fragments.written) >= len(knowledge.fragments)
            change = await sessions.change(turns[-1])
            assert len(change[0]) == 2 + 2 * len(fragments.written)
            assert sessions.store.verify() == []
        chat.reset()
        assert chat.ask(QUERIES[0]) == expected[0]
        fork = chat.fork()
        fork.reset()
        assert fork.ask(QUERIES[0]) == expected[0]

    asyncio.run(scene())
    with closing(sqlite3.connect(tmp_path / "db")) as base:
        (kept,) = base.execute("SELECT count(*) FROM fragments").fetchone()
    assert kept <= len(knowledge.fragments) + 2 * len(QUERIES) * 3, "what is known is kept once"


def test_other_knowledge_is_another_beginning(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, knowledge: Pool, tmp_path: Path
) -> None:
    async def scene() -> None:
        past = (Past("my name is Ann", "hi"),)
        async with serving(tmp_path / "db", pooled, tokenizer, rules=Rules(knowledge=knowledge)) as sessions:
            first = await ask(sessions, Question("", "hello", past, most=8))
            same = await ask(sessions, Question("", "hello", past, most=8))
            assert first.parent == same.parent
            sessions.store.memorize = lambda *_: None  # type: ignore[method-assign]  # as if it died before
            lost = await ask(sessions, Question("", "hello", most=8))
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            other = await ask(sessions, Question("", "hello", past, most=8))
            assert other.parent != first.parent, "the same history from another beginning"
            with pytest.raises(Damaged, match="began with other knowledge"):
                await sessions.memories.after(lost)
            await told(sessions, first.id, "hello")  # its memory has what it began with
        async with serving(tmp_path / "db", pooled, tokenizer, rules=Rules(knowledge=knowledge)) as sessions:
            assert await sessions.recover() == 1

    asyncio.run(scene())


def test_knowledge_of_another_model_is_refused_at_once(
    tokenizer: ChatTokenizer, knowledge: Pool, tmp_path: Path
) -> None:
    async def scene(model: ReactiveTransformer) -> None:
        async with serving(tmp_path / "db", model, tokenizer, rules=Rules(knowledge=knowledge)):
            pass

    for model, message in ((pooled_model(seed=2), "other weights"), (chat_model(), "keeps no fragments")):
        with pytest.raises(UserError, match=message):
            asyncio.run(scene(model))
