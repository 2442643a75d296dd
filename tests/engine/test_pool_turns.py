"""Turns over pools of fragments: what each says alone, written in parts, and made again as it was."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from factories import FRAGMENTS, chat_model, pooled_model, tiny_tokenizer
from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.events import Memorized, OtherModel, Past, Question, TurnFragments
from rxt.engine.scheduler import Engine, Limits
from rxt.engine.sessions import Rules, Sessions
from rxt.errors import UserError
from rxt.generation.conversation import Conversation
from rxt.generation.pool_turn import PreparedPool
from rxt.model.memory import Memory
from rxt.model.pool import Pool
from rxt.pretrained import ReactiveTransformer
from rxt.store.records import StoredFragment, Turn
from rxt.store.sqlite import SqliteStore
from small_engine import all_events, ask, serving, told

QUERIES = ["hello there", "my name is Ann", "how are you", "I live in Graz", "hello", "and you"]


@pytest.fixture(scope="module")
def pooled() -> ReactiveTransformer:
    """Every turn opens a fragment, so that there is much to choose from."""
    return pooled_model(replace(FRAGMENTS, most_writes=1), max_length=64)


def alone(model: ReactiveTransformer, tokenizer: ChatTokenizer, queries: Sequence[str]) -> tuple[list[str], Pool]:
    chat = Conversation(model, tokenizer, max_new_tokens=8)
    answers = [chat.ask(query) for query in queries]
    assert chat.pool is not None
    return answers, chat.pool


async def pool_after(sessions: Sessions, turn: Turn) -> Pool:
    found = await sessions.memories.after(turn)
    assert isinstance(found, PreparedPool)
    return found.pool


def assert_alike(found: Pool, expected: Pool) -> None:
    assert found.turns == expected.turns
    torch.testing.assert_close(found.resident, expected.resident)
    torch.testing.assert_close(found.keys.whole(), expected.keys.whole())
    for mine, theirs in zip(found.fragments, expected.fragments, strict=True):
        torch.testing.assert_close(mine.slots, theirs.slots)
        assert (mine.turn, mine.writes) == (theirs.turn, theirs.writes)


def test_many_at_once_say_what_each_says_alone(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    paths = [[f"{query} {number}" for query in QUERIES[: 3 + number % 4]] for number in range(6)]

    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer, Limits(places=4, patience=3)) as sessions:
            talks = await asyncio.gather(*(told(sessions, None, *queries) for queries in paths))
            for queries, turns in zip(paths, talks, strict=True):
                answers, pool = alone(pooled, tokenizer, queries)
                assert [turn.answer for turn in turns] == answers
                assert_alike(await pool_after(sessions, turns[-1]), pool)
            assert len({turn.chosen for turns in talks for turn in turns}) > 3, "there was nothing to choose"

    asyncio.run(scene())


def test_a_restart_changes_nothing_and_only_what_a_turn_wrote_is_written(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, memorize = list[tuple[int, int]](), SqliteStore.memorize

    def noted(
        store: SqliteStore, turn: str, memory: bytes, names: Sequence[str], new: Sequence[StoredFragment]
    ) -> None:
        written.append((len(names), len(new)))
        memorize(store, turn, memory, names, new)

    monkeypatch.setattr(SqliteStore, "memorize", noted)

    async def scene() -> None:
        turns: list[Turn] = []
        for start in (0, 3):
            async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
                turns += await told(sessions, turns[-1].id if turns else None, *QUERIES[start : start + 3])
        answers, pool = alone(pooled, tokenizer, QUERIES)
        assert [turn.answer for turn in turns] == answers
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            found = await pool_after(sessions, turns[-1])
            assert_alike(found, pool)
            before = await pool_after(sessions, turns[-2])
            untouched = set(range(len(before.fragments))) - set(found.changed_since(before))
            assert untouched, "fragments that are the same are the same object, wherever they came from"
            assert sessions.store.verify() == []

    asyncio.run(scene())
    assert [new for _, new in written] == [2] * len(QUERIES)
    assert written[-1][0] > 3, "there were others"


def test_forks_and_forgetting(pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            first, second, *_ = await told(sessions, None, *QUERIES[:4])
            other = await told(sessions, second.id, *QUERIES[4:])
            expected, pool = alone(pooled, tokenizer, [*QUERIES[:2], *QUERIES[4:]])
            assert [turn.answer for turn in other] == expected[2:]
            for turn in (second, first):
                await sessions.delete_turn("", turn.id)
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            assert_alike(await pool_after(sessions, other[-1]), pool)
            assert sessions.store.verify() == []
            for name in list(sessions.store.scan()):
                await sessions.delete_turn("", name)
            assert sessions.store.stats().bytes == 0
        with closing(sqlite3.connect(tmp_path / "db")) as base:
            assert base.execute("SELECT count(*) FROM fragments").fetchone() == (0,)

    asyncio.run(scene())


def test_what_was_forgotten_meanwhile_is_written_again(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            turns = await told(sessions, None, *QUERIES[:4])
            running = await sessions.begin(Question("", QUERIES[4], previous=turns[-1].id, most=8))
            for turn in turns:
                sessions.store.delete_turn(turn.id, "")
            last = [event async for event in running.events()][-1]
            assert isinstance(last, Memorized)
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            assert_alike(await pool_after(sessions, last.turn), alone(pooled, tokenizer, QUERIES[:5])[1])
            assert sessions.store.verify() == []

    asyncio.run(scene())


def test_a_memory_that_is_made_again_sees_what_the_answer_saw(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            turns = await told(sessions, None, *QUERIES[:4])
            sessions.store.memorize = lambda *_: None  # type: ignore[method-assign]  # as if it died before
            turns += await told(sessions, turns[-1].id, *QUERIES[4:])
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            assert sessions.store.stats().unfinished == 2
            assert await sessions.recover() == 2
            assert_alike(await pool_after(sessions, turns[-1]), alone(pooled, tokenizer, QUERIES)[1])
            # What was chosen stands in the turn; it is not chosen anew.
            turn = sessions.store.turn(turns[-1].id)
            assert turn is not None
            assert turn.chosen == turns[-1].chosen
            parent = await sessions.memories.after(turns[-2])
            other = next(index for index in range(4) if index not in turn.chosen)
            changed = replace(turn, chosen=(other, turn.chosen[0]))
            again = await sessions.memories.with_turn(parent, changed)
            assert set(again.chosen) & {other}

    asyncio.run(scene())


def test_the_events_and_the_picture_tell_which_fragments(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            turns = await told(sessions, None, *QUERIES[:4])
            before = await pool_after(sessions, turns[-1])
            *_, last = await all_events(sessions, Question("", QUERIES[4], previous=turns[-1].id, most=8))
            assert isinstance(last, Memorized)
            after = await pool_after(sessions, last.turn)
            written = after.changed_since(before)
            assert (last.update.seen, last.update.written) == (last.turn.chosen, written)
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            for _ in range(2):  # out of the store, and at hand
                found = await sessions.fragments(last.turn)
                assert found == TurnFragments(len(after.fragments), 2, last.turn.chosen, written)
                change = torch.tensor(await sessions.change(last.turn))
                expected = (after.active(written).slots - before.active(written).slots).abs().mean(-1)[:, 0]
                torch.testing.assert_close(change, expected)
            assert (await sessions.fragments(turns[0])) == TurnFragments(2, 2, (0, 1), (0, 1))

    asyncio.run(scene())


def test_a_pool_is_brought_and_taken_away(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            turns = await told(sessions, None, *QUERIES[:4])
            content = await sessions.export_memory(turns[-1])
            assert_alike(Pool.from_bytes(content), alone(pooled, tokenizer, QUERIES[:4])[1])
            assert len(content) <= sessions.most_memory_bytes
            brought = await sessions.import_memory("", content)
            assert brought.number == 4
            last = await told(sessions, brought.id, *QUERIES[4:])
            assert [turn.answer for turn in last] == alone(pooled, tokenizer, QUERIES)[0][4:]
            assert len((await sessions.change(last[0]))[0]) == len((await sessions.change(brought))[0]) == 6
            plain = await sessions.import_memory("", pooled.init_memory(1, seed=0).to_bytes())
            assert await sessions.fragments((await told(sessions, plain.id, "hello"))[0]) is None
            other = pooled_model(seed=3, max_length=64)
            with pytest.raises(OtherModel):
                await sessions.import_memory("", alone(other, tokenizer, QUERIES[:1])[1].to_bytes())
            for damaged in (content[:-8], content[:100], b"[" * 5000):
                with pytest.raises(UserError, match="not a "):
                    await sessions.import_memory("", damaged)
        async with serving(tmp_path / "plain", chat_model(max_length=64), tokenizer) as sessions:
            with pytest.raises(UserError, match=r"other weights|keeps no fragments"):
                await sessions.import_memory("", content)

    asyncio.run(scene())


def test_what_a_client_brings_is_routed_by_what_it_asks(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            turns = await told(sessions, None, *QUERIES[:4])
            past = tuple(Past(turn.query, turn.answer) for turn in turns)
            brought = await ask(sessions, Question("", QUERIES[4], past, most=8, store=False))
            assert brought.answer == (await told(sessions, turns[-1].id, QUERIES[4]))[0].answer
            long = await ask(sessions, Question("", "hello there " * 30, instructions="you are kind", most=8))
            assert long.number == 1
            pool = await pool_after(sessions, long)
            assert pool.turns == 1
            assert sum(fragment.writes for fragment in pool.fragments) == 2 * (len(long.lead) + 2)

    asyncio.run(scene())


def test_what_is_unsaid_leaves_no_fragment_and_later_turns_choose_anew(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            dialogue = await sessions.new_dialogue("", {})
            turns = [await ask(sessions, Question("", each, conversation=dialogue.id, most=8)) for each in QUERIES]
            changed = await sessions.unsay("", dialogue.id, turns[0].id, "query")
            changed = await sessions.unsay("", dialogue.id, (await chain(sessions, changed.head))[0].id, "answer")
            left = await chain(sessions, changed.head)
            assert [turn.query for turn in left] == QUERIES[1:]
            pool = PreparedPool.fresh(pooled, seed=0)
            for turn in left:
                whole = sessions.template.complete(turn.prompt, turn.said)
                pool = pool.for_query(pooled, turn.prompt).after(pooled, whole)
            assert_alike(await pool_after(sessions, left[-1]), pool.pool)

    async def chain(sessions: Sessions, head: str | None) -> list[Turn]:
        return await sessions.io(sessions.store.chain, head, "")

    asyncio.run(scene())


def test_half_precision_is_the_same_before_and_after_a_restart(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    def made() -> Sessions:
        engine = Engine(pooled, half_memory=True)
        return Sessions(engine, tiny_tokenizer(), SqliteStore(tmp_path / "db"), Rules(half_memory=True))

    async def scene() -> None:
        sessions = made()
        turns = await told(sessions, None, *QUERIES[:5])
        before = await pool_after(sessions, turns[-1])
        await sessions.close()
        sessions = made()
        after = await pool_after(sessions, turns[-1])
        assert torch.equal(after.keys.whole(), before.keys.whole())
        assert torch.equal(after.resident, before.resident)
        for mine, theirs in zip(after.fragments, before.fragments, strict=True):
            assert torch.equal(mine.slots, theirs.slots)
            assert torch.equal(mine.slots.half().float(), mine.slots)
        content = await sessions.export_memory(turns[-1])
        assert torch.equal(Pool.from_bytes(content).fragments[0].slots, before.fragments[0].slots)
        await sessions.close()

    asyncio.run(scene())


def test_a_plain_memory_has_no_fragments(tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", chat_model(max_length=64), tokenizer) as sessions:
            turn = (await told(sessions, None, "hello"))[0]
            assert turn.chosen == ()
            assert await sessions.fragments(turn) is None
            assert sessions.store.fragments(turn.id) == []
            content = sessions.store.memory(turn.id)
            assert content is not None
            assert Memory.from_bytes(content).turns == (1,)

    asyncio.run(scene())
