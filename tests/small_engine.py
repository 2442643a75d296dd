"""A small random model and what serves it, also for processes that tests start and kill."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.events import Event, Finished, Question
from rxt.engine.scheduler import Engine, Limits
from rxt.engine.sessions import Rules, Sessions
from rxt.pretrained import ReactiveTransformer
from rxt.store.open import open_store
from rxt.store.records import Turn


@asynccontextmanager
async def serving(
    where: Path | str,
    model: ReactiveTransformer,
    tokenizer: ChatTokenizer,
    limits: Limits | None = None,
    rules: Rules | None = None,
) -> AsyncIterator[Sessions]:
    """Sessions over a store, closed at the end."""
    sessions = Sessions(Engine(model, limits), tokenizer, open_store(str(where)), rules)
    try:
        yield sessions
    finally:
        await sessions.close()


async def ask(sessions: Sessions, question: Question) -> Turn:
    """The finished turn, memorized."""
    events = await all_events(sessions, question)
    return next(event.turn for event in events if isinstance(event, Finished))


async def all_events(sessions: Sessions, question: Question) -> list[Event]:
    running = await sessions.begin(question)
    return [event async for event in running.events()]


async def told(sessions: Sessions, previous: str | None, *queries: str, most: int | None = 8) -> list[Turn]:
    """Several turns, each after the one before."""
    turns: list[Turn] = []
    for query in queries:
        turns.append(await ask(sessions, Question("", query, previous=previous, most=most)))
        previous = turns[-1].id
    return turns
