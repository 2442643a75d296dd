"""Conversations that probe the memory: the last turn asks, and the turns before it are arranged for that question.

Each is a pure function of its arguments. "test" and "test-unseen-phrasings" tell and ask the very same facts in
different words.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from rxt.errors import UserError
from rxt.tasks.everyday.generate import EverydayConfig, EverydayConversation, Split, Writer
from rxt.tasks.everyday.phrase_types import EVERYBODY
from rxt.tasks.everyday.wording import Fact

MOST_BEFORE = 3
"""Turns before the fact that is asked for, at most."""
TRIES = 300
"""To find something that was not told yet, before it is taken that there is nothing."""
USUAL = EverydayConfig()
USUAL_FACTS = 32
"""Found among the usual number of people."""
ROOM = 1.3
"""Facts that could be told for each that is, where there are more."""


def retention_conversation(
    split: Split, distance: int, seed: int, index: int, config: EverydayConfig = USUAL
) -> EverydayConversation:
    """A conversation whose last turn asks for a fact told exactly ``distance`` turns earlier, and not spoken of since.

    The last of ``questions`` is that question. One to three turns come before the telling, of which the first tells
    another fact, so that in test conversations the fact is part of a combination that training never shows. Between
    telling and asking: other facts, small talk and other questions. Raises UserError for a distance below 1.
    """
    _at_least_one("distance", distance)
    writer = Writer(split, "retention", distance + MOST_BEFORE + 1, seed, index, config)
    before = _lead_in(writer)
    target = _tell_new(writer)
    _random_turns(writer, before + distance)
    writer.ask(target)
    return writer.finish()


def long_range_conversation(
    split: Split, turns: int, seed: int, index: int, config: EverydayConfig = USUAL
) -> EverydayConversation:
    """``turns`` interactions: the first tells a fact, the last asks for it, and whatever is between speaks of something
    else.

    Raises UserError for fewer than two turns.
    """
    if turns < 2:
        raise UserError(f"everyday conversations: turns must be at least 2 (one to tell, one to ask), found {turns}")
    writer = Writer(split, "long range", turns, seed, index, config)
    target = _tell_new(writer)
    _random_turns(writer, turns - 1)
    writer.ask(target)
    return writer.finish()


def changed_conversation(
    split: Split, distance: int, seed: int, index: int, config: EverydayConfig = USUAL
) -> EverydayConversation:
    """Like :func:`retention_conversation`, but the fact was told before with another value, one to three turns earlier.

    ``distance`` counts from the newest telling. The right answer is the newest value.
    """
    _at_least_one("distance", distance)
    writer = Writer(split, "changed", distance + 2 * MOST_BEFORE + 1, seed, index, config)
    _lead_in(writer)
    target = _tell_new(writer, changeable=True)
    _random_turns(writer, writer.turn + writer.rng.randint(0, MOST_BEFORE - 1))
    newest = writer.change(target)
    if newest is None:  # no other value makes a pair of this split: another conversation does
        return changed_conversation(split, distance, seed, index + 1_000_003, config)
    _random_turns(writer, newest.turn + distance)
    writer.ask(newest)
    return writer.finish()


def never_told_conversation(
    split: Split, turns: int, seed: int, index: int, config: EverydayConfig = USUAL
) -> EverydayConversation:
    """``turns`` ordinary turns, and then a question about something that was not told (though perhaps of somebody
    else)."""
    _at_least_one("turns", turns)
    writer = Writer(split, "never told", turns + 1, seed, index, config)
    writer.move("tell")
    _random_turns(writer, turns)
    while not writer.ask_never_told():
        pass
    return writer.finish()


def capacity_conversation(
    split: Split, facts: int, distance: int, seed: int, index: int, config: EverydayConfig = USUAL
) -> EverydayConversation:
    """A conversation that tells exactly ``facts`` facts, one a turn, and asks at its end for the one told ``distance``
    turns earlier.

    It has as many turns before the question as it needs, ``max(facts, distance)``; where no fact is told, there is
    small talk. More than :data:`USUAL_FACTS` are about more people than usual, all of them about equally often.
    """
    _at_least_one("distance", distance)
    _at_least_one("facts", facts)
    config = config if facts <= USUAL_FACTS else with_people_for(facts, config)
    turns = max(facts, distance)
    writer = Writer(split, f"capacity {facts}", turns + 1, seed, index, config)
    told_turn = turns - distance
    telling = {told_turn, *writer.rng.sample([turn for turn in range(turns) if turn != told_turn], facts - 1)}
    target = None
    for turn in range(turns):
        if turn in telling:
            fact = _tell_new(writer)
            target = fact if turn == told_turn else target
        else:
            writer.move("small talk")
    assert target is not None
    writer.ask(target)
    return writer.finish()


def with_people_for(facts: int, config: EverydayConfig) -> EverydayConfig:
    """Conversations with as many people as so many facts need."""
    people = min(max(config.people, ceil(ROOM * facts / len(config.kinds))), len(EVERYBODY))
    return replace(config, people=people, other_people_rate=people / (people + 1))


def _at_least_one(name: str, found: int) -> None:
    if found < 1:
        raise UserError(f"everyday conversations: {name} must be at least 1, found {found}")


def _lead_in(writer: Writer) -> int:
    """One to three turns, of which the first tells a fact; how many they were."""
    before = writer.rng.randint(1, MOST_BEFORE)
    writer.move("tell")
    _random_turns(writer, before)
    writer.reserved = {(question.subject, question.kind) for question in writer.questions}
    return before


def _tell_new(writer: Writer, changeable: bool = False) -> Fact:
    """Tell a fact; nothing after this speaks of it again by the way."""
    target = next(filter(None, (writer.new_fact(changeable) for _ in range(TRIES))), None)
    if target is None:
        raise UserError(
            f"everyday conversations: nothing is left to tell after {len(writer.facts)} facts; ask for fewer, or of "
            "the task open"
        )
    writer.reserved = {(target.subject, target.kind)}
    writer.tell([target])
    return target


def _random_turns(writer: Writer, until: int) -> None:
    """Ordinary turns until the conversation has so many."""
    while writer.turn < until:
        writer.move(writer.random_move())
