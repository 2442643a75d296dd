"""Conversations that probe the memory: what they tell, when, and what they ask."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rxt.errors import UserError
from rxt.tasks.everyday import (
    EverydayConversation,
    Split,
    capacity_conversation,
    changed_conversation,
    kinds,
    never_told_conversation,
    retention_conversation,
)
from rxt.tasks.everyday.phrases import kind_of
from rxt.tasks.everyday.splits import pair_split

MAKERS: dict[str, Callable[[Split, int], EverydayConversation]] = {
    "retention": lambda split, index: retention_conversation(split, 1 + index % 6, 5, index),
    "changed": lambda split, index: changed_conversation(split, 1 + index % 6, 5, index),
    "never told": lambda split, index: never_told_conversation(split, 1 + index % 9, 5, index),
    "capacity": lambda split, index: capacity_conversation(split, 1 + index % 5, 1 + index % 7, 5, index),
}


def last(case: EverydayConversation) -> str:
    return case.conversation.interactions[-1].answer


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_probes_are_repeatable_and_answer_themselves(make: Callable[[Split, int], EverydayConversation]) -> None:
    for index in range(60):
        case = make("test", index)
        assert case == make("test", index)
        question = case.questions[-1]
        assert question.turn == len(case.conversation.interactions) - 1
        assert question.correct(last(case))
    assert len({make("test", index).conversation for index in range(60)}) == 60


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_both_test_splits_tell_and_ask_the_same(make: Callable[[Split, int], EverydayConversation]) -> None:
    for index in range(20):
        seen, unseen = make("test", index), make("test-unseen-phrasings", index)
        assert (seen.facts, seen.questions) == (unseen.facts, unseen.questions)
        assert seen.conversation.interactions[-1].query != unseen.conversation.interactions[-1].query


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_every_fact_of_a_test_probe_makes_a_pair_that_training_never_shows(
    make: Callable[[Split, int], EverydayConversation],
) -> None:
    for index in range(40):
        facts = make("test", index).facts
        for at, fact in enumerate(facts[1:], start=1):
            assert any(
                pair_split(fact.kind, fact.value, earlier.kind, earlier.value) == "test" for earlier in facts[:at]
            )


def test_the_newest_value_counts() -> None:
    for index in range(60):
        distance = 1 + index % 6
        case = changed_conversation("test", distance, 5, index)
        question = case.questions[-1]
        told = [fact for fact in case.facts if (fact.subject, fact.kind) == (question.subject, question.kind)]
        assert len(told) == 2
        assert told[0].value != told[1].value == question.value
        assert question.changed
        assert question.turn - told[1].turn == distance
        assert 1 <= told[1].turn - told[0].turn <= 3
        assert kind_of(question.kind).phrases(question.subject).changeable
        earlier = [(asked.subject, asked.kind) for asked in case.questions[:-1] if asked.turn > told[0].turn]
        assert (question.subject, question.kind) not in earlier, "it is not spoken of on the way"


def test_what_was_never_told_was_never_told_though_perhaps_of_somebody_else() -> None:
    others = 0
    for index in range(80):
        case = never_told_conversation("test", 1 + index % 16, 5, index)
        question = case.questions[-1]
        assert question.value is None
        assert question.turn == 1 + index % 16
        assert (question.subject, question.kind) not in {(fact.subject, fact.kind) for fact in case.facts}
        others += any(fact.kind == question.kind for fact in case.facts)
    assert 5 < others < 60


@pytest.mark.parametrize(
    ("facts", "distance"), [(1, 1), (1, 9), (4, 1), (4, 4), (4, 20), (16, 3), (64, 48), (256, 200)]
)
def test_so_many_facts_are_told_one_a_turn(facts: int, distance: int) -> None:
    for index in range(10):
        case = capacity_conversation("test", facts, distance, 5, index)
        question = case.questions[-1]
        assert (
            len(case.facts)
            == facts
            == len({(fact.subject, fact.kind) for fact in case.facts})
            == len({fact.turn for fact in case.facts})
        )
        assert question.told_turn == question.turn - distance
        assert len(case.questions) == 1
        assert len(case.conversation.interactions) == max(facts, distance) + 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: retention_conversation("test", 0, 0, 0),
        lambda: changed_conversation("test", 0, 0, 0),
        lambda: never_told_conversation("test", 0, 0, 0),
        lambda: capacity_conversation("test", 0, 1, 0, 0),
        lambda: capacity_conversation("test", 1, 0, 0, 0),
    ],
)
def test_nothing_can_be_asked_before_it_is_told(make: Callable[[], EverydayConversation]) -> None:
    with pytest.raises(UserError, match="must be at least 1, found 0"):
        make()


def test_all_kinds_can_be_probed() -> None:
    from rxt.tasks.everyday import EverydayConfig

    everything = EverydayConfig(kinds=kinds(), values=400)
    asked = {retention_conversation("test", 2, 1, index, everything).questions[-1].kind for index in range(400)}
    assert asked == set(kinds())


def test_more_facts_than_there_are_is_said_rather_than_sought_for_ever() -> None:
    with pytest.raises(UserError, match=r"nothing is left to tell after \d+ facts; ask for fewer, or of the task open"):
        capacity_conversation("test", 500, 10, 0, 0)
