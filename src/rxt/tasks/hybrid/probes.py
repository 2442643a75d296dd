"""Conversations that end with a question for what was told a given number of turns earlier, and not spoken of since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from rxt.errors import UserError
from rxt.tasks.base import Split
from rxt.tasks.hybrid.config import HybridConfig
from rxt.tasks.hybrid.offered import Offered, new_tool
from rxt.tasks.hybrid.questions import HybridQuestion
from rxt.tasks.hybrid.steps import STEPS
from rxt.tasks.hybrid.talks import HybridConversation, Writer
from rxt.tasks.hybrid.threads import Ask, Thread
from rxt.tasks.hybrid.values import Draw, NothingLeft
from rxt.tasks.seeds import seeded

ProbeKind = Literal["recall", "steps", "call", "new_tool", "no_tool"]
MOST_BEFORE = 2
"""Turns before the first telling, at most."""
NEXT = 1_000_003
"""To the number of the conversation that stands in for one that cannot be made."""


def probe(
    split: Split, distance: int, seed: int, index: int, config: HybridConfig, kind: ProbeKind
) -> HybridConversation:
    """The last question is of a ``kind``, and the last of what it needs was told ``distance`` turns before it.

    What it needs is told in consecutive messages. Between them and the question: other things that are told and asked
    for, and small talk; no tool is called. Of ``call`` and ``new_tool``, the turn with the result comes last.

    Args:
        kind: ``recall``: what was told; ``steps``: what follows from it in steps; ``call``: it is an argument of a
            tool; ``new_tool``: of one that training never shows; ``no_tool``: of one that is not there.
    """
    if distance < 1:
        raise UserError(f"hybrid conversations: distance must be at least 1, found {distance}")
    extra = None
    if kind == "new_tool":
        if split not in ("test", "validation"):
            raise UserError(
                f"hybrid conversations: the split {split} has no tools of its own; test and validation have"
            )
        extra = new_tool(Draw(split, seeded("hybrid new tool", split, distance, seed, index)), config)
    most = distance + MOST_BEFORE + 8
    writer = Writer(split, f"probe {kind}", most, seed, index, config, extra)
    try:
        thread, ask = _target(writer, kind, extra)
    except NothingLeft:
        return probe(split, distance, seed, index + NEXT, config, kind)
    for _ in range(writer.rng.randint(0, MOST_BEFORE)):
        writer.move(calls=False)
    found = writer.begin(thread)
    writer.open.remove(found)  # nobody speaks of it by the way
    while len(found.told) <= ask.told % len(thread.tellings):
        writer.tell(found)
    while writer.turn < found.told[-1] + distance:
        writer.move(calls=False)
    writer.ask(found, ask)
    return writer.finish()


def asked_last(case: HybridConversation) -> HybridQuestion:
    """The question of a probe: that before the result where a tool is called."""
    return next(question for question in reversed(case.questions) if question.kind != "result")


def _target(writer: Writer, kind: ProbeKind, extra: Offered | None) -> tuple[Thread, Ask]:
    """Something to tell, and the question of it."""
    makers: dict[ProbeKind, Callable[[], Thread]] = {
        "recall": lambda: writer.rng.choice(STEPS)(writer.draw),
        "steps": lambda: writer.rng.choice(STEPS)(writer.draw),
        "call": lambda: writer.thread_of(writer.rng.choice(writer.offered)),
        "new_tool": lambda: writer.thread_of(extra),
        "no_tool": writer.missing,
    }
    for _ in range(100):
        thread = makers[kind]()
        asks = [ask for ask in thread.asks if _is_of(ask, kind)]
        if asks and thread.tellings:
            return thread, writer.rng.choice(asks)
    raise NothingLeft


def _is_of(ask: Ask, kind: ProbeKind) -> bool:
    if kind == "steps":
        return ask.stepped
    return ask.calling is not None if kind in ("call", "new_tool") else ask.kind == kind
