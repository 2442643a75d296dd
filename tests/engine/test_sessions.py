"""Turns: what they say, what is kept of them, and what is refused."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from factories import chat_model, tiny_tokenizer
from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.events import Finished, Memorized, NotThere, Occupied, OtherModel, Past, Question, TooLong, TooMany
from rxt.engine.scheduler import Limits, Overloaded, Stopped
from rxt.engine.sessions import Rules
from rxt.errors import UserError
from rxt.generation.conversation import Conversation
from rxt.generation.sampling import Sampling
from rxt.generation.turn import Token
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer
from rxt.store.base import Moved, StoreFailed
from rxt.store.records import Damaged
from rxt.store.sqlite import SqliteStore
from small_engine import all_events, ask, serving, told

QUERIES = ["hello there", "my name is Ann", "how are you"]


def alone(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, queries: list[str], most: int = 8
) -> tuple[list[str], Memory]:
    chat = Conversation(model, tokenizer, max_new_tokens=most)
    return [chat.ask(query) for query in queries], chat.memory


def test_many_at_once_say_what_each_says_alone(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    paths = [[f"{query} {number}" for query in QUERIES] for number in range(7)]

    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer, Limits(places=4, patience=3)) as sessions:
            for queries, turns in zip(
                paths, await asyncio.gather(*(told(sessions, None, *queries) for queries in paths)), strict=True
            ):
                answers, memory = alone(model, tokenizer, queries)
                assert [turn.answer for turn in turns] == answers
                torch.testing.assert_close((await sessions.memories.after(turns[-1])).memory.slots, memory.slots)
                assert [turn.number for turn in turns] == [1, 2, 3]

    asyncio.run(scene())


def test_events_come_in_order(model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            events = await all_events(sessions, Question("", "hello", most=8))
            *pieces, finished, memorized = events
            assert isinstance(finished, Finished)
            assert isinstance(memorized, Memorized)
            assert finished.turn.status == "answered"
            assert "".join(piece.text for piece in pieces if isinstance(piece, Token)) == finished.turn.answer
            assert len(memorized.update.change) == 2
            assert all(change > 0 for change in memorized.update.change)

    asyncio.run(scene())


def test_a_fork_goes_on_from_an_earlier_turn(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            first, *_ = await told(sessions, None, *QUERIES)
            other = await told(sessions, first.id, "I live in Graz")
            assert other[0].answer == alone(model, tokenizer, [QUERIES[0], "I live in Graz"])[0][1]

    asyncio.run(scene())


def test_a_restart_changes_nothing(model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            turns = await told(sessions, None, *QUERIES[:2])
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            last = await told(sessions, turns[-1].id, QUERIES[2])
        assert last[0].answer == alone(model, tokenizer, QUERIES)[0][2]

    asyncio.run(scene())


def test_a_memory_in_half_precision_is_the_same_before_and_after_a_restart(tmp_path: Path) -> None:
    model, tokenizer = chat_model(max_length=64), tiny_tokenizer()
    store = tmp_path / "db"

    async def scene() -> None:
        from rxt.engine.scheduler import Engine
        from rxt.engine.sessions import Sessions

        def made() -> Sessions:
            return Sessions(Engine(model, half_memory=True), tokenizer, SqliteStore(store), Rules(half_memory=True))

        sessions = made()
        turn = (await told(sessions, None, "hello"))[0]
        before = (await sessions.memories.after(turn)).memory.slots
        content = await sessions.io(sessions.store.memory, turn.id)
        assert content is not None
        assert Memory.from_bytes(content).slots.dtype == torch.float16
        await sessions.close()
        sessions = made()
        assert torch.equal((await sessions.memories.after(turn)).memory.slots, before)
        await sessions.close()

    asyncio.run(scene())


def test_one_turn_at_a_time_in_a_conversation(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            dialogue = await sessions.new_dialogue("", {})
            asked = [ask(sessions, Question("", query, conversation=dialogue.id, most=8)) for query in QUERIES]
            turns = await asyncio.gather(*asked)
            assert [turn.answer for turn in turns] == alone(model, tokenizer, QUERIES)[0], (
                "in the order in which they came"
            )
            head = (await sessions.dialogue("", dialogue.id)).head
            assert [turn.id for turn in sessions.store.chain(head, "")] == [turn.id for turn in turns]

    asyncio.run(scene())


def test_who_waits_too_long_is_told(model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer, rules=Rules(wait_seconds=0.05)) as sessions:
            dialogue = await sessions.new_dialogue("", {})
            first = await sessions.begin(Question("", "hello", conversation=dialogue.id))
            with pytest.raises(Occupied, match="still being answered"):
                await sessions.begin(Question("", "hello", conversation=dialogue.id))
            first.close()
            other = SqliteStore(tmp_path / "db")  # as another process
            await asyncio.sleep(0.1)
            assert other.lock(dialogue.id, "another", 60)
            with pytest.raises(Occupied, match="still being answered"):
                await sessions.begin(Question("", "hello", conversation=dialogue.id))
            other.unlock(dialogue.id, "another")
            assert await ask(sessions, Question("", "hello", conversation=dialogue.id, most=4))
            other.close()

    asyncio.run(scene())


def test_a_client_that_leaves_leaves_nothing(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer, Limits(places=1)) as sessions:
            dialogue = await sessions.new_dialogue("", {})
            for pieces in range(3):
                running = await sessions.begin(Question("", "hello", conversation=dialogue.id))
                events = running.events()
                for _ in range(pieces):
                    await anext(events)
                await events.aclose()
                running.close()
            assert sessions.active == 0
            assert sessions.store.stats().turns == 0
            turn = await ask(sessions, Question("", QUERIES[0], conversation=dialogue.id, most=8))
            assert turn.answer == alone(model, tokenizer, QUERIES[:1])[0][0]

    asyncio.run(scene())


def test_a_client_that_leaves_after_the_answer_is_remembered(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            running = await sessions.begin(Question("", QUERIES[0], most=8))
            events = running.events()
            async for event in events:
                if isinstance(event, Finished):
                    break
            await events.aclose()
            second = (await told(sessions, running.draft.id, QUERIES[1]))[0]
            assert second.answer == alone(model, tokenizer, QUERIES[:2])[0][1]

    asyncio.run(scene())


def test_nothing_is_kept_unless_wanted(model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            brought = (Past("hello there", "hi"), Past("how are you", "fine"))
            kept = await ask(sessions, Question("", "what", brought, most=8))
            stats = sessions.store.stats()
            events = await all_events(sessions, Question("", "what", brought, most=8, store=False))
            assert isinstance(events[-1], Finished)
            assert events[-1].turn.answer == kept.answer
            events = await all_events(sessions, Question("new", "what", brought, most=8, store=False))
            assert isinstance(events[-1], Finished)
            assert events[-1].turn.answer == kept.answer
            assert sessions.store.stats() == stats

    asyncio.run(scene())


def test_a_known_history_is_not_memorized_again(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            first = await ask(sessions, Question("a", "hello", most=8))
            second = await ask(sessions, Question("a", "how are you", (Past("hello", first.answer),), most=8))
            assert second.parent == first.id
            assert sessions.store.stats().turns == 2
            await ask(sessions, Question("b", "how are you", (Past("hello", first.answer),), most=8))
            assert sessions.store.stats().turns == 4, "another owner's turns do not exist"
            changed = await ask(sessions, Question("a", "how are you", (Past("hello", "something else"),), most=8))
            assert changed.parent != first.id

    asyncio.run(scene())


def test_instructions_are_memorized_once(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer("beta")
    model = chat_model(max_length=64, tokens=tokenizer.tokens)

    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            first = await ask(sessions, Question("", "hello", instructions="Be kind.", most=8))
            second = await ask(sessions, Question("", "hello", instructions="Be kind.", previous=first.id, most=8))
            chat = Conversation(model, tokenizer, system="Be kind.", max_new_tokens=8)
            assert [first.answer, second.answer] == [chat.ask("hello"), chat.ask("hello")]
            assert second.number == 2
            third = await ask(sessions, Question("", "hello", instructions="Be rude.", previous=first.id, most=8))
            told = Conversation(model, tokenizer, system="Be kind.", max_new_tokens=8)
            told.ask("hello")
            late = model.memorize(told.memory, torch.tensor([told.template.system("Be rude.").ids]))
            rude = Conversation(model, tokenizer, max_new_tokens=8, memory=late)
            assert third.answer == rude.ask("hello"), "other ones are memorized where they come"
            assert (third.instructions, third.number) == ("Be rude.", 2)
        with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as base:
            base.execute("UPDATE turns SET status = 'answered', memory = NULL, checksum = NULL")
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            assert await sessions.recover() == 3
            torch.testing.assert_close((await sessions.memories.after(second)).memory.slots, chat.memory.slots)
            torch.testing.assert_close((await sessions.memories.after(third)).memory.slots, rude.memory.slots)

    asyncio.run(scene())


def test_limits_are_kept(model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        limits, rules = Limits(places=1, queue=2), Rules(per_owner=4)
        async with serving(tmp_path / "db", model, tokenizer, limits, rules) as sessions:
            with sessions.engine._wake:  # nothing is admitted in the meantime
                running = [await sessions.begin(Question("a", "hello")) for _ in range(2)]
                with pytest.raises(Overloaded, match="2 requests are waiting already"):
                    await sessions.begin(Question("a", "hello"))
            for one in running:
                one.close()
            assert sessions.active == 0
        async with serving(tmp_path / "db", model, tokenizer, rules=Rules(per_owner=1)) as sessions:
            one = await sessions.begin(Question("a", "hello"))
            with pytest.raises(TooMany, match="1 requests of this key"):
                await sessions.begin(Question("a", "hello"))
            (await sessions.begin(Question("b", "hello"))).close()
            one.close()
            sessions.draining = True
            with pytest.raises(Stopped):
                await sessions.begin(Question("a", "hello"))

    asyncio.run(scene())


def test_what_is_not_there_is_not_there(model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            mine = await ask(sessions, Question("me", "hello", most=4))
            dialogue = await sessions.new_dialogue("me", {})
            for question in (
                Question("you", "hello", previous=mine.id),
                Question("you", "hello", conversation=dialogue.id),
                Question("me", "hello", previous="resp_0"),
            ):
                with pytest.raises(NotThere, match="there is no"):
                    await sessions.begin(question)
            with pytest.raises(TooLong, match="the query is too long"):
                await sessions.begin(Question("me", "hello " * 60 * sessions.rules.pieces))
            assert sessions.active == 0
            await sessions.delete_turn("me", mine.id)
            with pytest.raises(NotThere):
                await sessions.turn("me", mine.id)

    asyncio.run(scene())


def test_another_model_is_named(model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            turn = await ask(sessions, Question("", "hello", most=4))
            memory = await sessions.export_memory(turn)
        other = chat_model(seed=1, max_length=64)
        async with serving(tmp_path / "db", other, tokenizer) as sessions:
            message = f"fingerprint {model.fingerprint()}, this server's model {other.fingerprint()}"
            with pytest.raises(OtherModel, match=message):
                await sessions.begin(Question("", "hello", previous=turn.id))
            with pytest.raises(OtherModel, match=message):
                await sessions.import_memory("", memory)
            assert await sessions.recover() == 0

    asyncio.run(scene())


def test_memories_come_and_go_as_files(model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            turns = await told(sessions, None, *QUERIES[:2])
            content = await sessions.export_memory(turns[-1])
            brought = await sessions.import_memory("", content)
            last = await told(sessions, brought.id, QUERIES[2])
            assert last[0].answer == alone(model, tokenizer, QUERIES)[0][2]
            for damaged in (b"", b"nothing", content[:-8], Memory(torch.zeros(2, 1, 6, 32)).to_bytes()):
                with pytest.raises(UserError, match=r"not a memory|made by other weights") as refused:
                    await sessions.import_memory("", damaged)
                assert not isinstance(refused.value, Damaged), "the store is well"
            change = await sessions.change(turns[-1])
            assert (len(change), len(change[0])) == (2, 6)

    asyncio.run(scene())


def test_a_damaged_memory_is_refused(model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            turn = await ask(sessions, Question("", "hello", most=4))
        with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as base:
            base.execute("UPDATE turns SET memory = zeroblob(100)")
        store = SqliteStore(tmp_path / "db")
        assert store.verify() == [f"{turn.id}: its memory in the store is damaged (its checksum is another)"]
        store.close()
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            with pytest.raises(Damaged, match="damaged"):
                await sessions.begin(Question("", "hello", previous=turn.id))

    asyncio.run(scene())


def test_a_full_disk_loses_no_turn_that_was_seen(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            assert isinstance(sessions.store, SqliteStore)
            first = (await told(sessions, None, QUERIES[0]))[0]
            pages = sessions.store._base.execute("PRAGMA page_count").fetchone()[0]
            sessions.store._base.execute(f"PRAGMA max_page_count = {pages}")
            with pytest.raises(StoreFailed, match="full"):
                await told(sessions, first.id, *QUERIES * 3)
            assert sessions.active == 0
            sessions.store._base.execute("PRAGMA max_page_count = 100000")
            second = (await told(sessions, first.id, QUERIES[1]))[0]
            assert second.answer == alone(model, tokenizer, QUERIES[:2])[0][1]
            await sessions.recover()
            assert sessions.store.verify() == []
            assert sessions.store.stats().unfinished == 0

    asyncio.run(scene())


def test_a_conversation_that_went_on_elsewhere_refuses_the_turn(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            dialogue = await sessions.new_dialogue("", {})
            other = await ask(sessions, Question("", "hello", most=4))
            running = await sessions.begin(Question("", "hello", conversation=dialogue.id, most=4))
            sessions.store.put(replace(dialogue, head=other.id))
            with pytest.raises(Moved):
                [event async for event in running.events()]
            assert sessions.active == 0

    asyncio.run(scene())


def test_drawn_answers_are_repeatable_with_a_seed(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "db", model, tokenizer) as sessions:
            question = Question("", "hello", sampling=Sampling(1.0, seed=3), most=12)
            first, second = await asyncio.gather(ask(sessions, question), ask(sessions, question))
            assert first.answer == second.answer

    asyncio.run(scene())
