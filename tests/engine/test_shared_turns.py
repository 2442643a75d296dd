"""Memories that conversations of one user share: in one order, made again as they were, forgotten for good."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_pool_turns import assert_alike, pool_after

from factories import FRAGMENTS, chat_model, pooled_model
from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.events import Finished, NotThere, OtherScope, Past, Question
from rxt.engine.sessions import Rules, Sessions
from rxt.errors import UserError
from rxt.generation.knowledge import knowledge_of
from rxt.generation.pool_turn import PreparedPool
from rxt.model.pool import Pool
from rxt.pretrained import ReactiveTransformer
from rxt.store.base import Moved
from rxt.store.records import Retention, Turn
from rxt.store.sqlite import SqliteStore
from small_engine import ask, serving

QUERIES = ["hello there", "my name is Ann", "how are you", "I live in Graz", "hello", "and you"]
ANN = Question("me", "", most=8, user="ann", scope="user")


@pytest.fixture(scope="module")
def pooled() -> ReactiveTransformer:
    """Every turn opens a fragment, so that there is much to choose from."""
    return pooled_model(replace(FRAGMENTS, most_writes=1), max_length=64)


async def said(sessions: Sessions, query: str, previous: Turn | None = None, question: Question = ANN) -> Turn:
    return await ask(sessions, replace(question, query=query, previous=None if previous is None else previous.id))


async def two_talks(sessions: Sessions) -> list[Turn]:
    """Turns of two conversations of one user, in turns: those at even places are of one, at odd places of the other."""
    turns = list[Turn]()
    for number, query in enumerate(QUERIES):
        turns.append(await said(sessions, query, turns[number - 2] if number > 1 else None))
    return turns


def by_hand(model: ReactiveTransformer, sessions: Sessions, turns: list[Turn]) -> list[Pool]:
    """The pools after the turns of ``two_talks``: each goes on with what is resident in its conversation, and with the
    fragments of the turn before."""
    begun, pools = PreparedPool.fresh(model, 0).pool, list[Pool]()
    for number, turn in enumerate(turns):
        own = pools[number - 2] if number > 1 else begun
        newest = pools[-1] if pools else begun
        joined = replace(own, fragments=newest.fragments, keys=newest.keys, turns=newest.turns)
        whole = sessions.template.complete(turn.prompt, turn.said)
        pools.append(PreparedPool.of(model, joined).for_query(model, turn.prompt).after(model, whole).pool)
    return pools


def test_fragments_are_shared_and_what_is_resident_is_not(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            turns = await two_talks(sessions)
            expected = by_hand(pooled, sessions, turns)
            for turn, pool in zip(turns, expected, strict=True):
                assert_alike(await pool_after(sessions, turn), pool)
            assert [turn.follows for turn in turns] == [None, *(turn.id for turn in turns[:-1])]
            assert [turn.number for turn in turns] == [1, 1, 2, 2, 3, 3]
            change = torch.tensor(await sessions.change(turns[3]))
            before, after = expected[1].sharing(expected[2]), expected[3]
            written = after.changed_since(before)
            torch.testing.assert_close(
                change, (after.active(written).slots - before.active(written).slots).abs().mean(-1)[:, 0]
            )
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            assert_alike(await pool_after(sessions, turns[-1]), expected[-1])
            assert sessions.store.verify() == []

    asyncio.run(scene())


def test_nobody_else_sees_any_of_it(pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def alone(place: str, question: Question, told: bool) -> tuple[list[str], Pool]:
        async with serving(tmp_path / place, pooled, tokenizer) as sessions:
            if told:
                await two_talks(sessions)
            first = await said(sessions, QUERIES[0], question=question)
            second = await said(sessions, QUERIES[1], first, question)
            brought = replace(question, history=(Past(QUERIES[1], "a name"), Past(QUERIES[0], "hello")))
            third = await said(sessions, QUERIES[2], question=brought)
            return [first.answer, second.answer, third.answer], await pool_after(sessions, third)

    async def scene() -> None:
        others = (
            replace(ANN, user="bob"),
            replace(ANN, owner="you"),
            replace(ANN, scope="conversation"),
            replace(ANN, user="", scope=None),
        )
        for number, other in enumerate(others):
            answers, pool = await alone(f"told{number}", other, True)
            expected = await alone(f"alone{number}", other, False)
            assert answers == expected[0]
            assert_alike(pool, expected[1])
        told, untold = await alone("told", ANN, True), await alone("alone", ANN, False)
        assert len(told[1].fragments) > len(untold[1].fragments), "the user's own is there"

    asyncio.run(scene())


def test_a_history_that_another_user_sent_is_not_taken_for_this_ones(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    past = (Past(QUERIES[0], "hello"), Past(QUERIES[1], "Ann"))

    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            for user in ("ann", "bob", "ann"):
                turn = await said(sessions, "hello", question=replace(ANN, user=user, history=past))
                chain = sessions.store.chain(turn.id, "me")
                assert {each.user for each in chain} == {user}
            assert len(chain) == 3
            assert sessions.store.stats().turns == 7, "Ann's history was known the second time"

    asyncio.run(scene())


def test_two_conversations_at_once_lose_nothing(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            begun = [await said(sessions, query) for query in QUERIES[:2]]
            running = [
                await sessions.begin(replace(ANN, query=query, previous=turn.id))
                for query, turn in zip(QUERIES[2:4], begun, strict=True)
            ]
            finished = list[Turn]()
            for each in running:
                finished += [event.turn async for event in each.events() if isinstance(event, Finished)]
            stored = [sessions.store.turn(turn.id) for turn in finished]
            assert [turn.follows for turn in stored if turn is not None] == [begun[-1].id, finished[0].id]
            pools = [await pool_after(sessions, turn) for turn in (*begun, *finished)]
            joined = pools[1].sharing(pools[2])
            prepared = PreparedPool.of(pooled, joined).choosing(finished[1].chosen)
            whole = sessions.template.complete(finished[1].prompt, finished[1].said)
            assert_alike(pools[3], prepared.after(pooled, whole).pool)
            untouched = set(range(len(pools[2].fragments))) - set(finished[1].chosen)
            assert untouched - set(pools[3].changed_since(pools[2])) == untouched
            many = await asyncio.gather(*(said(sessions, f"hello {number}") for number in range(6)))
            last = await sessions.users.pool("me", "ann")
            assert last.pool.turns == 10
            assert sum(fragment.writes for fragment in last.pool.fragments) == 2 * 10
            assert len({turn.id for turn in many}) == 6
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            assert_alike((await sessions.users.pool("me", "ann")).pool, last.pool)
            assert sessions.store.verify() == []

    asyncio.run(scene())


def test_what_was_not_memorized_is_made_again_as_it_was(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            sessions.store.memorize = lambda *_: None  # type: ignore[method-assign]  # as if it died before
            turns = await two_talks(sessions)
            expected = by_hand(pooled, sessions, turns)
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            assert sessions.store.stats().unfinished == len(turns)
            assert await sessions.recover() == len(turns)
            assert sessions.store.stats().unfinished == 0
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            for turn, pool in zip(turns, expected, strict=True):
                assert_alike(await pool_after(sessions, turn), pool)
            assert sessions.store.verify() == []

    asyncio.run(scene())


def test_only_what_a_turn_wrote_is_written(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, memorize = list[int](), SqliteStore.memorize

    def noted(store: SqliteStore, turn: str, memory: bytes, names: list[str], new: list[object]) -> None:
        written.append(len(new))
        memorize(store, turn, memory, names, new)  # type: ignore[arg-type]

    monkeypatch.setattr(SqliteStore, "memorize", noted)

    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            await two_talks(sessions)
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            await said(sessions, "a third conversation")

    asyncio.run(scene())
    assert written == [2] * (len(QUERIES) + 1)


def test_a_scope_is_for_good(pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            shared, own = await said(sessions, "hello"), await said(sessions, "hello", question=Question("me", ""))
            assert (await said(sessions, "so", shared, Question("me", "", most=8))).user == "ann"
            with pytest.raises(NotThere, match="there is no response"):
                await said(sessions, "so", shared, replace(ANN, user="bob"))
            with pytest.raises(OtherScope, match="shares its user's memory"):
                await said(sessions, "so", shared, replace(ANN, scope="conversation"))
            with pytest.raises(OtherScope, match="keeps its memory to itself"):
                await said(sessions, "so", own, ANN)
            with pytest.raises(UserError, match="name the user"):
                await said(sessions, "so", question=replace(ANN, user=" "))
            dialogue = await sessions.new_dialogue("me", {})
            turn = await ask(sessions, replace(ANN, query="hello", conversation=dialogue.id))
            with pytest.raises(OtherScope, match="cannot be unsaid"):
                await sessions.unsay("me", dialogue.id, turn.id, "query")
            with pytest.raises(NotThere, match="there is no conversation"):
                await ask(sessions, replace(ANN, query="hello", conversation=dialogue.id, user="bob"))
        async with serving(tmp_path / "usual", pooled, tokenizer, rules=Rules(scope="user")) as sessions:
            assert (await said(sessions, "hello", question=replace(ANN, scope=None))).user == "ann"
            assert (await said(sessions, "hello", question=Question("me", "", most=8))).user == ""
        async with serving(tmp_path / "plain", chat_model(max_length=64), tokenizer) as sessions:
            with pytest.raises(OtherScope, match="keeps no fragments"):
                await said(sessions, "hello")
            assert (await said(sessions, "hello", question=replace(ANN, scope=None))).user == ""

    asyncio.run(scene())


def test_instructions_and_knowledge(pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    knowledge = knowledge_of(pooled, [[1, 3, *range(20 + number, 26 + number), 2] for number in range(0, 24, 8)])

    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            told = replace(ANN, instructions="you are kind")
            first = await said(sessions, "hello", question=told)
            second = await said(sessions, "hello", question=told)
            assert (first.instructions, first.opening, len(first.lead)) == ("you are kind", (), 1)
            assert first.lead == second.lead
            assert (await pool_after(sessions, second)).turns == 2
        async with serving(tmp_path / "db", pooled, tokenizer, rules=Rules(knowledge=knowledge)) as sessions:
            third = await said(sessions, "hello")
            pool = await pool_after(sessions, third)
            assert pool.sealed == len(knowledge.fragments), "a new conversation knows what is known now"
            own = await pool_after(sessions, second)
            assert len(pool.fragments) == pool.sealed + len(own.fragments) + 1
            fourth = await said(sessions, "hello", second)
            pool = await pool_after(sessions, fourth)
            assert pool.sealed == 0, "one that began before goes on with what it knew"
            assert len(pool.fragments) == len(own.fragments) + 2

    asyncio.run(scene())


def test_a_memory_outlives_its_conversations(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            dialogue = await sessions.new_dialogue("me", {})
            turns = [await ask(sessions, replace(ANN, query=query, conversation=dialogue.id)) for query in QUERIES[:4]]
            expected = await sessions.users.pool("me", "ann")
            await sessions.delete_dialogue("me", dialogue.id)
            assert not any(sessions.store.turn(turn.id) for turn in turns)
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            assert_alike((await sessions.users.pool("me", "ann")).pool, expected.pool)
            memory = await sessions.users.memory("me", "ann")
            marks = [sessions.store.turn(name) for name in sessions.store.scan()]
            assert [(mark.kind, mark.query) for mark in marks if mark is not None] == [("memory", "")]
            resident = (await pool_after(sessions, marks[0])).resident  # type: ignore[arg-type]
            assert not resident.any(), "what was resident in the conversation went with it"
            last = await said(sessions, QUERIES[4])
            assert last.follows == memory.head
            await sessions.delete_turn("me", last.id)
            assert (await sessions.users.pool("me", "ann")).pool.turns == 5
            assert sessions.store.verify() == []

    asyncio.run(scene())


def test_a_process_that_dies_while_a_conversation_is_forgotten_leaves_the_memory(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            turn = await said(sessions, QUERIES[0])
            expected = await sessions.users.pool("me", "ann")
            await sessions.memories.settled()
            sessions.memories.stored.copy_fragments = die  # type: ignore[method-assign]
            with pytest.raises(Died):
                await sessions.delete_turn("me", turn.id)
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            assert sessions.store.stats().unfinished == 1
            await sessions.delete_turn("me", turn.id)
            assert sessions.store.stats().unfinished == 0
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            assert_alike((await sessions.users.pool("me", "ann")).pool, expected.pool)
            assert sessions.store.verify() == []

    asyncio.run(scene())


def test_deleted_it_is_in_no_file_and_does_not_come_back(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    def files() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.iterdir())

    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            dialogue = await sessions.new_dialogue("me", {})
            bob = await said(sessions, "hello", question=replace(ANN, user="bob"))
            turns = await two_talks(sessions)
            turns.append(await ask(sessions, replace(ANN, query="Quetzalcoatl", conversation=dialogue.id)))
            pools = [await pool_after(sessions, turn) for turn in turns]
            content = [fragment.slots.numpy().tobytes() for pool in pools for fragment in pool.fragments]
            content += [pool.resident.numpy().tobytes() for pool in pools]
            fresh = PreparedPool.fresh(pooled, 0).pool
            known = [fragment.slots.numpy().tobytes() for fragment in fresh.fragments]
            content = [each for each in set(content) if each not in known]
            assert all(each in files() for each in (*content, b"Quetzalcoatl")), "all of it was there"
            late = await sessions.begin(replace(ANN, query="Quetzalcoatl", previous=turns[0].id))
            await sessions.users.delete("me", "ann")
            with pytest.raises(Moved, match="deleted in the meantime"):
                [event async for event in late.events()]
            assert not any(each in files() for each in (*content, b"Quetzalcoatl", b'"ann"'))
            assert list(sessions.store.scan()) == [bob.id]
            assert sessions.store.dialogues() == []
            for turn in turns:
                with pytest.raises(NotThere):
                    await said(sessions, "hello", turn)
            with pytest.raises(NotThere, match="there is no memory ann"):
                await sessions.users.delete("me", "ann")
            again = await said(sessions, QUERIES[0])
            assert (again.follows, again.answer) == (None, turns[0].answer)
        async with serving(tmp_path / "db", pooled, tokenizer) as sessions:
            assert sessions.store.verify() == []

    asyncio.run(scene())


def test_a_user_who_has_not_come_for_long_is_forgotten_with_the_last_turn(
    pooled: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", pooled, tokenizer, rules=Rules(retention=Retention(turns=2))) as sessions:
            await said(sessions, "hello", question=replace(ANN, user="bob"))
            turns = [await said(sessions, query) for query in QUERIES[:3]]
            expected = await sessions.users.pool("me", "ann")
            await sessions.memories.settled()
            assert await sessions.prune() == 2
            assert [memory.user for memory in sessions.store.user_memories()] == ["ann"]
            assert_alike((await sessions.users.pool("me", "ann")).pool, expected.pool)
            assert (await said(sessions, "hello", turns[-1])).follows == turns[-1].id
            assert (await said(sessions, "hello", question=replace(ANN, user="bob"))).follows is None

    asyncio.run(scene())
