"""Rewards of stage 5, and what happens to one that does not keep to its contract."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from reinforcing import Letters, reward_by_letters

from rxt.errors import UserError
from rxt.evaluation.reward import score
from rxt.tasks.everyday import Question
from rxt.training.reinforcement.rewards import (
    Answered,
    CompositeReward,
    FunctionReward,
    RecallReward,
    reward_of,
    rewards,
)

ASKED = Question(3, "me", "dog", "Rex", 0, False)
NEVER = Question(3, "me", "dog", None, None, False)


def answered(answer: str, question: Question | None = ASKED, finished: bool = True) -> Answered:
    return Answered(
        "What is my dog called?", answer, "Your dog is called Rex.", "My dog is Rex. Nice!", question, finished
    )


def test_recall_is_all_or_nothing() -> None:
    found = RecallReward()(
        [
            answered("Rex!"),
            answered("Milo."),
            answered("Rex or Milo."),
            answered(""),
            answered("Rex rex rex", finished=False),
            answered("You haven't told me.", NEVER),
            answered("Rex.", NEVER),
        ]
    )
    assert found == [10, 0, 0, 0, 0, 10, 0]


def test_the_composite_is_that_of_the_evaluation() -> None:
    answers = [answered("Your dog is called Rex."), answered("Milo."), answered("Your dog is called Rex.")]
    expected = [score(each.answer, each.reference, each.previous, each.query) for each in answers]
    assert CompositeReward()(answers) == expected
    assert expected[0] == expected[2] == 10


def test_a_function_of_your_own() -> None:
    found = reward_of("reinforcing:reward_by_letters")
    answers = [answered("a"), answered("zz")]
    assert found.name == "reinforcing:reward_by_letters"
    assert rewards(found, answers) == Letters()(answers) == reward_by_letters([each[:4] for each in answers])
    assert found.applies_to("", None)


def gives(values: Sequence[object]) -> FunctionReward:
    return FunctionReward("mine:f", lambda answers: values)


def fails(answers: list[tuple[str, str, str, str]]) -> list[float]:
    raise KeyError("two\nlines")


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (gives([1.0]), r"gave 1 numbers for 2 answers; one for each is needed"),
        (gives([1.0, math.nan]), r"gave nan for the answer 'b'; numbers from 0 to 10 are needed"),
        (gives([1.0, math.inf]), r"gave inf for the answer 'b'"),
        (gives([-0.5, 1.0]), r"gave -0\.5 for the answer 'a'"),
        (gives([1.0, 10.5]), r"gave 10\.5 for the answer 'b'"),
        (gives(["x", 1.0]), r"raised ValueError"),
        (FunctionReward("mine:f", lambda answers: None), r"raised TypeError"),
        (FunctionReward("mine:f", fails), r"raised KeyError: 'two\\nlines'"),
    ],
)
def test_a_bad_reward_is_one_line(reward: FunctionReward, message: str) -> None:
    with pytest.raises(UserError, match=f"^reward mine:f: {message}") as caught:
        rewards(reward, [answered("a"), answered("b")])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere_at_all:f", "the module cannot be loaded"),
        ("reinforcing:nothing", "the module reinforcing has no function nothing"),
        ("reinforcing:PHASE", "has no function PHASE"),
    ],
)
def test_a_function_that_is_not_there(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        reward_of(name)
