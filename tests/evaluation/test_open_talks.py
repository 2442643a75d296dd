"""The hand-written talks: enough of them, every expression compiles, right answers pass and wrong ones fail."""

from __future__ import annotations

import pytest

from rxt.data.asked import UNKNOWN
from rxt.errors import UserError
from rxt.evaluation.open_talks import bundled_talks, read_talks
from rxt.evaluation.ways_of_typing import PEOPLE, WAYS, typed_facts
from rxt.tasks.open.values import core, reserved

TALKS = bundled_talks()
QUESTIONS = [(talk, place, question) for talk in TALKS for place, question in talk.questions]


def test_there_are_enough_talks_and_questions_of_every_kind() -> None:
    kinds = [question.kind for _, _, question in QUESTIONS]
    assert len(TALKS) >= 70
    assert len({talk.name for talk in TALKS}) == len(TALKS)
    assert len(kinds) >= 110
    assert kinds.count("never_told") >= 20
    assert kinds.count("changed") >= 15
    assert sum(len(talk.messages) >= 10 for talk in TALKS) >= 6


@pytest.mark.parametrize(("talk", "place", "question"), QUESTIONS, ids=lambda value: getattr(value, "text", None))
def test_the_right_answer_passes_and_a_wrong_one_fails(talk, place, question) -> None:
    assert question.right(question.answer)
    assert not talk.invents(place, question.answer)
    wrong = "It's Bartholomew Zzyzx, 98765."
    assert not question.right(wrong)
    assert talk.invents(place, wrong)
    if question.kind != "never_told":
        assert not question.right("You haven't told me that.")
        assert not UNKNOWN.search(question.answer)
        assert not isinstance(talk.messages[question.told_in - 1], type(question))
        assert talk.distance(place) >= 1


def test_a_changed_answer_that_names_the_old_value_is_wrong() -> None:
    (talk,) = read_talks("== a\n= x\n- at one\n- no, at two\n? changed 2 | when? | two | At two. | one")
    ((_, question),) = talk.questions
    assert question.right("At two.")
    assert not question.right("At one, or at two.")


def test_what_was_said_is_no_invention_and_what_was_not_is() -> None:
    (talk,) = read_talks("== a\n= Rex\n- my dog is rex\n? told 1 | and my cat? | luna | Luna.")
    assert not talk.invents(2, "I think it's Rex.")
    assert talk.invents(2, "I think it's Felix.")
    assert talk.invents(2, "Felix.")
    assert not talk.invents(2, "You haven't told me.")


@pytest.mark.parametrize(
    "line", ["- before any talk", "== a\n? told 1 | q | ( | a", "== a\n? told | q | m | a", "== a\nwhat"]
)
def test_a_line_that_is_not_understood_is_named(line: str) -> None:
    with pytest.raises(UserError, match=r"open_talks\.txt:[12]: "):
        read_talks(line)


def test_every_way_of_typing_changes_a_fact_and_keeps_what_it_says() -> None:
    facts = typed_facts()
    assert len(facts) == len(PEOPLE) * 3 * len(WAYS)
    for fact in facts:
        assert fact.must.search(fact.told.replace("  ", " "))
    for way, typed in WAYS.items():
        assert way == "as written" or typed("My dog's name is Rex.") != "My dog's name is Rex."


def test_the_values_of_the_talks_are_never_drawn_for_training():
    values = {value for talk in bundled_talks() for value in talk.values}
    values |= {value for person in PEOPLE for value in person}
    assert {core(value).casefold() for value in values} == reserved()
