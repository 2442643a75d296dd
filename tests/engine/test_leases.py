"""Whoever stops waiting for a conversation leaves it to the next one, in this process and in others."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.events import NotThere, Occupied, Question
from rxt.engine.leases import LOOK_SECONDS
from rxt.engine.scheduler import Engine, Overloaded
from rxt.engine.sessions import Rules, Sessions
from rxt.pretrained import ReactiveTransformer
from rxt.store.sqlite import SqliteStore
from small_engine import ask, serving


@asynccontextmanager
async def conversation(
    path: Path, model: ReactiveTransformer, tokenizer: ChatTokenizer, rules: Rules | None = None
) -> AsyncIterator[tuple[Sessions, str, SqliteStore]]:
    """Sessions, a conversation of theirs, and the store as another process sees it. At the end the conversation is
    nobody's."""
    async with serving(path, model, tokenizer, rules=rules) as sessions:
        other = SqliteStore(path)
        name = (await sessions.new_dialogue("", {})).id
        yield sessions, name, other
        await free(sessions)
        assert other.lock(name, "another", 60), "no lease is left behind"
        other.unlock(name, "another")
        other.close()
        turn = await ask(sessions, Question("", "hello", conversation=name, most=4))
        assert (await sessions.dialogue("", name)).head == turn.id


async def free(sessions: Sessions) -> None:
    """Wait until nobody holds or awaits a conversation."""
    ends = time.monotonic() + 30
    while (sessions.leases._lines or sessions.active) and time.monotonic() < ends:
        await asyncio.sleep(0.01)
    assert not sessions.leases._lines
    assert sessions.active == 0


async def leave(task: asyncio.Task[object]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("soon", [True, False], ids=["at once", "after a while"])
def test_leaving_while_another_turn_is_being_answered(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path, soon: bool
) -> None:
    async def scene() -> None:
        async with conversation(tmp_path / "db", model, tokenizer) as (sessions, name, _):
            question = Question("", "hello", conversation=name)
            first = await sessions.begin(question)
            waiting = [asyncio.ensure_future(sessions.begin(question)) for _ in range(3)]
            await asyncio.sleep(0 if soon else 0.05)
            await leave(waiting[1])
            first.close()
            (await waiting[0]).close()
            await leave(waiting[2])

    asyncio.run(scene())


def test_leaving_while_another_process_has_it(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with conversation(tmp_path / "db", model, tokenizer) as (sessions, name, other):
            assert other.lock(name, "another", 60)
            waiting = asyncio.ensure_future(sessions.begin(Question("", "hello", conversation=name)))
            await asyncio.sleep(2 * LOOK_SECONDS)
            await leave(waiting)
            await free(sessions)
            assert not other.lock(name, "third", 60), "it is still the other process's"
            other.unlock(name, "another")

    asyncio.run(scene())


@pytest.mark.parametrize("late", [False, True], ids=["leaves", "waits too long"])
def test_leaving_while_the_store_grants_it(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path, late: bool
) -> None:
    """The store's call goes on in its thread, and succeeds, when nobody waits for it any more."""

    async def scene() -> None:
        rules = Rules(wait_seconds=2.0) if late else None
        async with conversation(tmp_path / "db", model, tokenizer, rules) as (sessions, name, _):
            asked, goes_on, lock = threading.Event(), threading.Event(), sessions.store.lock

            def slow(dialogue: str, holder: str, seconds: float) -> bool:
                asked.set()
                assert goes_on.wait(30)
                return lock(dialogue, holder, seconds)

            sessions.store.lock = slow  # type: ignore[method-assign]
            waiting = asyncio.ensure_future(sessions.begin(Question("", "hello", conversation=name)))
            await asyncio.to_thread(asked.wait)
            if late:
                await asyncio.sleep(2.2)
            else:
                waiting.cancel()
                await asyncio.sleep(0.01)
            sessions.store.lock = lock  # type: ignore[method-assign]
            goes_on.set()
            with pytest.raises(Occupied if late else asyncio.CancelledError):
                await waiting

    asyncio.run(scene())


def test_leaving_while_the_memory_is_awaited(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with conversation(tmp_path / "db", model, tokenizer) as (sessions, name, _):
            await ask(sessions, Question("", "hello", conversation=name, most=4))
            goes_on, after = asyncio.Event(), sessions.memories.after

            async def slow(turn: object, hurried: bool = True) -> object:
                await goes_on.wait()

            sessions.memories.after = slow  # type: ignore[method-assign,assignment]
            waiting = asyncio.ensure_future(sessions.begin(Question("", "hello", conversation=name)))
            await asyncio.sleep(0.1)
            await leave(waiting)
            sessions.memories.after = after  # type: ignore[method-assign]

    asyncio.run(scene())


def test_who_may_not_wait_is_not_counted(model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        async with conversation(tmp_path / "db", model, tokenizer, Rules(per_owner=2)) as (sessions, name, _):
            with pytest.raises(NotThere):
                await sessions.leases.take("somebody", name)
            await sessions.leases.take("", name)
            waiting = [asyncio.ensure_future(sessions.leases.take("", name)) for _ in range(2)]
            await asyncio.sleep(0.05)
            with pytest.raises(Overloaded, match="3 turns of this conversation are waiting"):
                await sessions.leases.take("", name)
            for one in waiting:
                await leave(one)
            sessions.leases.give_back(name)

    asyncio.run(scene())


def test_who_lives_keeps_what_it_holds(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn may take many times as long as a lease."""
    monkeypatch.setattr("rxt.engine.leases.LEASE_SECONDS", 3.0)

    async def scene() -> None:
        async with conversation(tmp_path / "db", model, tokenizer) as (sessions, name, other):
            await sessions.leases.take("", name)
            ends = time.monotonic() + 5
            while time.monotonic() < ends:
                assert not other.lock(name, "another", 60)
                await asyncio.sleep(0.05)
            sessions.leases.give_back(name)

    asyncio.run(scene())


def test_who_dies_elsewhere_keeps_it_no_longer_than_a_lease(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with conversation(tmp_path / "db", model, tokenizer) as (sessions, name, other):
            assert other.lock(name, "elsewhere/1/2/3", 1.0)  # whom nobody on this machine can see
            turn = await ask(sessions, Question("", "hello", conversation=name, most=4))
            assert (await sessions.dialogue("", name)).head == turn.id

    asyncio.run(scene())


def test_a_lease_that_another_process_has_by_now_is_not_taken_back(
    model: ReactiveTransformer,
    tokenizer: ChatTokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("rxt.engine.leases.LEASE_SECONDS", 0.6)

    async def scene() -> None:
        async with conversation(tmp_path / "db", model, tokenizer) as (sessions, name, other):
            await sessions.leases.take("", name)
            time.sleep(0.8)  # it stands still
            assert other.lock(name, "another", 60)
            while "another process's by now" not in caplog.text:
                await asyncio.sleep(0.05)
            sessions.leases.give_back(name)
            await free(sessions)
            assert other.holder(name) == "another"
            other.unlock(name, "another")

    asyncio.run(scene())


def test_a_process_that_ends_gives_back_what_it_holds(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        sessions, other = Sessions(Engine(model), tokenizer, SqliteStore(tmp_path / "db")), SqliteStore(tmp_path / "db")
        name = (await sessions.new_dialogue("", {})).id
        await sessions.begin(Question("", "hello", conversation=name))  # whose events nobody reads
        assert not other.lock(name, "another", 60)
        await sessions.close(grace=0.0)
        assert other.lock(name, "another", 60)
        other.close()

    asyncio.run(scene())
