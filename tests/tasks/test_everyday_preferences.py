"""Generated preferences: each rejected answer is wrong in the way it says, and keeps to the values of its split."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest

from rxt.errors import UserError
from rxt.tasks.everyday import EverydayConfig, Question, generate, values_of
from rxt.tasks.everyday.phrase_types import EVASIVE
from rxt.tasks.everyday.preferences import EverydayPreferences, RejectedMix, generate_preferences
from rxt.tasks.everyday.scoring import _any_value
from rxt.tasks.everyday.splits import pair_split

MIX = EverydayConfig(
    change_rate=0.5, never_told_rate=0.3, other_people_rate=0.6, people=2, kinds=("name", "city", "dog", "food")
)
MANY = 150


def made(
    turns: int = 12,
    mix: EverydayConfig = MIX,
    rejected: RejectedMix = RejectedMix(),  # noqa: B008
) -> list[EverydayPreferences]:
    return [generate_preferences("train", turns, 5, index, mix, rejected) for index in range(MANY)]


def named(question: Question, answer: str) -> str:
    """The one value of the question's kind that an answer names."""
    (value,) = {match.lower() for match in _any_value(question.kind).findall(answer)}
    return value


def rejected_of(each: EverydayPreferences, turn: int) -> str:
    rejected = each.preferences.turns[turn].rejected
    assert rejected is not None
    assert rejected.query == each.preferences.turns[turn].query
    return rejected.answer


def test_the_accepted_conversation_is_the_generated_one() -> None:
    for index, each in enumerate(made()):
        assert each.preferences.accepted == generate("train", 12, 5, index, MIX).conversation
        assert each.case == generate("train", 12, 5, index, MIX)


def test_questions_have_pairs_and_other_turns_have_none() -> None:
    for each in made():
        with_pair = {turn for turn, ways in enumerate(each.preferences.turns) if ways.rejected is not None}
        assert with_pair == each.rejected.keys()
        assert with_pair <= {question.turn for question in each.case.questions}
        assert len(each.preferences.turns) - 1 in with_pair, "the last turn asks for what was told"
        assert all(ways.neutral is None for ways in each.preferences.turns)


def test_every_kind_of_rejected_answer_is_what_it_says() -> None:
    found: Counter[str] = Counter()
    for each in made():
        for question in each.case.questions:
            kind = each.rejected.get(question.turn)
            if kind is None:
                continue
            found[kind] += 1
            answer, accepted = rejected_of(each, question.turn), each.preferences.turns[question.turn].accepted.answer
            assert not question.correct(answer)
            assert question.correct(accepted)
            before = [fact for fact in each.case.facts if fact.kind == question.kind and fact.turn < question.turn]
            mine = [fact.value for fact in before if fact.subject == question.subject]
            spoken = {fact.value.lower() for fact in each.case.facts}
            match kind:
                case "stale_value":
                    assert question.changed
                    assert mine[-1] == question.value
                    assert named(question, answer) == [value for value in mine if value != question.value][-1].lower()
                case "told_value":
                    others = {fact.value.lower() for fact in before if fact.subject != question.subject}
                    assert named(question, answer) in others
                case "wrong_value":
                    assert question.value is not None
                    assert named(question, answer) not in spoken
                    assert len(answer.split()) - len(accepted.split()) == len(named(question, answer).split()) - len(
                        question.value.split()
                    )
                case "copy":
                    assert answer == each.preferences.turns[question.turn - 1].accepted.answer
                case "evasive":
                    assert question.value is not None
                    assert any(answer.startswith(said.partition("{")[0]) for said in EVASIVE)
                case "invented_value":
                    assert question.value is None
                    assert named(question, answer) not in spoken
    assert found.keys() == {"stale_value", "told_value", "wrong_value", "copy", "evasive", "invented_value"}
    assert min(found.values()) >= 10


def test_the_same_arguments_give_the_same_preferences() -> None:
    assert made() == made()
    others = [
        generate_preferences("train", 12, 6, 0, MIX),
        generate_preferences("train", 12, 5, 1, MIX),
        generate_preferences("validation", 12, 5, 0, MIX),
    ]
    assert all(other != made()[0] for other in others)


@pytest.mark.parametrize("config", [MIX, EverydayConfig()], ids=["few kinds", "usual"])
def test_training_preferences_hold_training_pairs_only(config: EverydayConfig) -> None:
    checked = 0
    for each in made(mix=config):
        spoken = [(fact.kind, fact.value) for fact in each.case.facts]
        for question in each.case.questions:
            if each.rejected.get(question.turn) in ("wrong_value", "invented_value", "stale_value", "told_value"):
                value = named(question, rejected_of(each, question.turn))
                (value,) = (each for each in values_of(question.kind) if each.lower() == value)
                spoken.append((question.kind, value))
        for (kind, value), (other_kind, other) in product(spoken, spoken):
            if (kind, value) != (other_kind, other):
                checked += 1
                assert pair_split(kind, value, other_kind, other) == "train"
    assert checked > 1_000


def test_some_answers_of_turns_without_a_pair_are_neutral() -> None:
    held = total = 0
    for index in range(MANY):
        for ways in generate_preferences("train", 12, 5, index, MIX, neutral_rate=0.3).preferences.turns:
            assert ways.neutral in (None, ways.accepted)
            assert ways.neutral is None or ways.rejected is None
            total += ways.rejected is None
            held += ways.neutral is not None
    assert 0.25 < held / total < 0.35


def test_what_has_no_weight_is_not_taken() -> None:
    only = RejectedMix(wrong_value=0, told_value=0, stale_value=1, copy=0, evasive=1e-9, invented_value=0)
    kinds = Counter(kind for each in made(rejected=only) for kind in each.rejected.values())
    assert kinds.keys() == {"stale_value", "evasive"}
    changed = [(each, question) for each in made(rejected=only) for question in each.case.questions if question.changed]
    assert changed
    assert all(each.rejected[question.turn] == "stale_value" for each, question in changed)
    never_told = [
        (each, question) for each in made(rejected=only) for question in each.case.questions if question.value is None
    ]
    assert never_told
    assert all(each.preferences.turns[question.turn].rejected is None for each, question in never_told)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"copy": -1.0}, "copy cannot be negative, found -1.0"),
        ({"evasive": 0.0}, "evasive must be above 0: some questions allow nothing else"),
    ],
)
def test_a_mix_that_cannot_be_is_one_line(changes: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=f"rejected answers: {message}"):
        replace(RejectedMix(), **changes)
