"""Conversations that probe the memory: the last turn asks, and the turns before it are arranged for that question."""

from __future__ import annotations

from rxt.errors import UserError
from rxt.tasks.base import Split
from rxt.tasks.open.config import OpenConfig
from rxt.tasks.open.talks import NEXT, OpenConversation, Writer
from rxt.tasks.open.wording import Fact

MOST_BEFORE = 3
"""Turns before the fact that is asked for, at most."""


def told(split: Split, distance: int, seed: int, index: int, config: OpenConfig) -> OpenConversation:
    """The last turn asks for a fact of an open value told ``distance`` turns earlier, and not spoken of since."""
    _at_least_one("distance", distance)
    writer = Writer(split, "retention", distance + MOST_BEFORE + 1, seed, index, config)
    before = writer.rng.randint(0, MOST_BEFORE)
    _random_turns(writer, before)
    target = _tell_new(writer)
    if target is None:
        return told(split, distance, seed, index + NEXT, config)
    _random_turns(writer, before + distance)
    writer.ask(target)
    return writer.finish()


def changed(split: Split, distance: int, seed: int, index: int, config: OpenConfig) -> OpenConversation:
    """As :func:`told`, but the fact had another value before; the right answer is the newest one."""
    _at_least_one("distance", distance)
    writer = Writer(split, "changed", distance + 2 * MOST_BEFORE + 1, seed, index, config)
    _random_turns(writer, writer.rng.randint(0, MOST_BEFORE))
    target = _tell_new(writer, changeable=True)
    if target is not None:
        _random_turns(writer, writer.turn + writer.rng.randint(0, MOST_BEFORE - 1))
        target = writer.change(target)
    if target is None:
        return changed(split, distance, seed, index + NEXT, config)
    _random_turns(writer, target.turn + distance)
    writer.ask(target)
    return writer.finish()


def never_told(split: Split, turns: int, seed: int, index: int, config: OpenConfig) -> OpenConversation:
    """``turns`` ordinary turns, and then a question about something that was not told (though perhaps of somebody
    else)."""
    _at_least_one("turns", turns)
    writer = Writer(split, "never told", turns + 1, seed, index, config)
    writer.move(1.0)
    _random_turns(writer, turns)
    if not writer.ask_never_told():
        return never_told(split, turns, seed, index + NEXT, config)
    return writer.finish()


def crowded(split: Split, facts: int, distance: int, seed: int, index: int, config: OpenConfig) -> OpenConversation:
    """Tells exactly ``facts`` facts, one a turn, and asks at its end for the one told ``distance`` turns earlier; where
    no fact is told, there is small talk."""
    _at_least_one("distance", distance)
    _at_least_one("facts", facts)
    turns = max(facts, distance)
    writer = Writer(split, f"capacity {facts}", turns + 1, seed, index, config)
    told_turn = turns - distance
    telling = {told_turn, *writer.rng.sample([turn for turn in range(turns) if turn != told_turn], facts - 1)}
    target = None
    for turn in range(turns):
        if turn not in telling:
            writer.small_talk()
            continue
        fact = _tell_new(writer)
        if fact is None:
            return crowded(split, facts, distance, seed, index + NEXT, config)
        target = fact if turn == told_turn else target
    assert target is not None
    writer.ask(target)
    return writer.finish()


def long_range(split: Split, turns: int, seed: int, index: int, config: OpenConfig) -> OpenConversation:
    """``turns`` interactions: the first tells a fact, the last asks for it, and what is between speaks of other
    things."""
    if turns < 2:
        raise UserError(f"open conversations: turns must be at least 2 (one to tell, one to ask), found {turns}")
    writer = Writer(split, "long range", turns, seed, index, config)
    target = _tell_new(writer)
    if target is None:
        return long_range(split, turns, seed, index + NEXT, config)
    _random_turns(writer, turns - 1)
    writer.ask(target)
    return writer.finish()


def _at_least_one(name: str, found: int) -> None:
    if found < 1:
        raise UserError(f"open conversations: {name} must be at least 1, found {found}")


def _tell_new(writer: Writer, changeable: bool = False) -> Fact | None:
    """Tell a fact of an open value; nothing after this speaks of it again by the way."""
    target = writer.new_fact(changeable, open_value=True)
    if target is not None:
        writer.reserved = {target.key}
        writer.tell([target])
    return target


def _random_turns(writer: Writer, until: int) -> None:
    """Ordinary turns until the conversation has so many."""
    while writer.turn < until:
        writer.move()
