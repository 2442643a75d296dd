"""Preferences out of open conversations: each rejected answer is wrong in the way it says."""

from __future__ import annotations

from collections import Counter

from rxt.data.asked import UNKNOWN
from rxt.tasks.open import OpenConfig
from rxt.tasks.open.preferences import OpenPreferences, generate_preferences
from rxt.tasks.open.scoring import names
from rxt.tasks.open.talks import generate
from rxt.tasks.rejected import RejectedMix

MIX = OpenConfig(change_rate=0.5, never_told_rate=0.3, alike_rate=0.6)
MANY = 60
KINDS = {"wrong_value", "told_value", "stale_value", "copy", "evasive", "invented_value"}
"""Those that an answer in words can be of."""


def made(rejected: RejectedMix = RejectedMix(), neutral_rate: float = 0.0) -> list[OpenPreferences]:  # noqa: B008
    return [generate_preferences("train", 12, 5, index, MIX, rejected, neutral_rate) for index in range(MANY)]


def test_the_accepted_conversation_is_the_generated_one() -> None:
    for index, each in enumerate(made()):
        assert each.preferences.accepted == generate("train", 12, 5, index, MIX).conversation


def test_every_kind_of_rejected_answer_is_what_it_says() -> None:
    found: Counter[str] = Counter()
    for each in made():
        for question in each.case.questions:
            kind = each.rejected.get(question.turn)
            if kind is None:
                continue
            found[kind] += 1
            turn = each.preferences.turns[question.turn]
            assert turn.rejected is not None
            answer = turn.rejected.answer
            assert turn.rejected.query == turn.query
            assert question.correct(turn.accepted.answer)
            assert not question.correct(answer)
            told = [fact.value for fact in each.case.facts if fact.turn < question.turn]
            match kind:
                case "stale_value":
                    assert question.fact is not None
                    assert question.fact.old
                    assert names(answer, question.fact.old)
                case "told_value":
                    assert any(value and names(answer, value) for value in told)
                case "evasive":
                    assert UNKNOWN.search(answer)
                    assert question.value is not None
                case "invented_value":
                    assert question.value is None
                    assert not UNKNOWN.search(answer)
                case "copy":
                    assert answer == each.preferences.turns[question.turn - 1].accepted.answer
                case "wrong_value":
                    assert question.fact is not None
                    assert not names(answer, question.fact.value)
    assert min(found[kind] for kind in KINDS) > 5, found
    assert found.keys() == KINDS


def test_only_questions_have_wrong_answers_and_some_of_the_others_stay_as_they_are() -> None:
    for each in made(neutral_rate=1.0):
        asked = {question.turn for question in each.case.questions}
        for number, turn in enumerate(each.preferences.turns):
            assert (turn.rejected is None) != (number in each.rejected)
            assert (turn.neutral is None) == (number in each.rejected)
            assert turn.rejected is None or number in asked
