"""A small random model and what serves it, also for processes that tests start and kill."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import torch

from rxt.config import (
    AttentionConfig,
    DecoderConfig,
    EncoderConfig,
    FeedForwardConfig,
    MemoryAttentionConfig,
    RxTConfig,
    SpecialTokens,
    TemplateName,
)
from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.events import Event, Finished, Memorized, Question
from rxt.engine.scheduler import Engine, Limits
from rxt.engine.sessions import Rules, Sessions
from rxt.model.reactive import ReactiveTransformer
from rxt.store.open import open_store
from rxt.store.records import Turn

TEXTS = ["hello there, how are you", "my name is Ann and I live in Graz"] * 3


def make_tokenizer(template: TemplateName = "alpha") -> ChatTokenizer:
    return ChatTokenizer.train(TEXTS, 320, template)


def make_model(
    seed: int = 0, max_length: int = 64, template: TemplateName = "alpha", tokens: SpecialTokens | None = None
) -> ReactiveTransformer:
    attention, feed_forward = AttentionConfig.sqa(4), FeedForwardConfig(dim=48)
    config = RxTConfig(
        DecoderConfig(320, 32, 2, attention, attention, feed_forward, max_length),
        EncoderConfig(320, 32, 2, attention, feed_forward, max_length),
        MemoryAttentionConfig(32, 2, 6, attention),
        tokens=tokens or make_tokenizer(template).tokens,
        template=template,
    )
    torch.manual_seed(seed)
    model = ReactiveTransformer(config).eval()
    with torch.no_grad():
        model.decoder.head.weight.mul_(8)
    return model


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


__all__ = ["Memorized", "all_events", "ask", "make_model", "make_tokenizer", "serving", "told"]
