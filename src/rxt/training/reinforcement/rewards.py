"""What an answer earns, from 0 to 10: likeness to a reference, exact recall of a value, or a function of your own."""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from rxt.errors import UserError
from rxt.evaluation.reward import HIGHEST, score
from rxt.evaluation.text_vectors import words
from rxt.tasks.base import Question


class Answered(NamedTuple):
    """What a reward sees of an answer; a function of your own gets the first four."""

    query: str
    answer: str
    reference: str
    previous: str
    """The interaction that was memorized before, query and answer; empty at the beginning."""
    question: Question | None = None
    """What the data knows of the question."""
    finished: bool = True
    """The answer ended by itself, with [EOS]."""


class Reward(Protocol):
    """Answers in, as many numbers from 0 to 10 out."""

    @property
    def name(self) -> str:
        """As the recipe has it."""
        ...

    def applies_to(self, reference: str, question: Question | None) -> bool:
        """Whether answers to this question can be rewarded at all."""
        ...

    def __call__(self, answers: Sequence[Answered]) -> Sequence[float]: ...


@dataclass(frozen=True)
class CompositeReward:
    """The reward of :mod:`rxt.evaluation.reward`: likeness to the reference, less what is copied from the interaction
    before."""

    name: str = "composite"

    def applies_to(self, reference: str, question: Question | None) -> bool:
        return bool(words(reference))

    def __call__(self, answers: Sequence[Answered]) -> list[float]:
        texts = [(each.answer, each.reference, each.previous, each.query) for each in answers]
        known = {each: score(*each) for each in set(texts)}  # answers of a group are often the same
        return [known[each] for each in texts]


@dataclass(frozen=True)
class RecallReward:
    """10 for an answer that ends and names the value asked for and no other of its kind, else 0."""

    name: str = "recall"

    def applies_to(self, reference: str, question: Question | None) -> bool:
        return question is not None

    def __call__(self, answers: Sequence[Answered]) -> list[float]:
        return [
            HIGHEST if each.question is not None and each.finished and each.question.correct(each.answer) else 0.0
            for each in answers
        ]


@dataclass(frozen=True)
class FunctionReward:
    """A Python function: a list of (query, answer, reference, previous) in, as many numbers from 0 to 10 out."""

    name: str
    function: Callable[..., Any]

    def applies_to(self, reference: str, question: Question | None) -> bool:
        return True

    def __call__(self, answers: Sequence[Answered]) -> Sequence[float]:
        return self.function([(each.query, each.answer, each.reference, each.previous) for each in answers])


def reward_of(name: str) -> Reward:
    """The reward that a recipe names: composite, recall, or module:function, sought in the working directory too.

    Raises:
        UserError: there is no such module, no such function in it, or it is none.
    """
    if name == "composite":
        return CompositeReward()
    if name == "recall":
        return RecallReward()
    module, _, function = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), function, None)
    except Exception as error:  # whatever a module does when it is loaded
        raise UserError(f"reward {name}: the module cannot be loaded ({type(error).__name__}: {error})") from None
    finally:
        sys.path.remove(os.getcwd())
    if not callable(found):
        raise UserError(f"reward {name}: the module {module} has no function {function}")
    return FunctionReward(name, found)


def rewards(reward: Reward, answers: Sequence[Answered]) -> list[float]:
    """What the answers earn, checked: as many numbers as answers, all finite and from 0 to 10.

    Raises:
        UserError: anything else, or the reward's own trouble, in one line.
    """
    try:
        found = [float(value) for value in reward(answers)]
    except UserError:
        raise
    except Exception as error:  # a function of somebody else's
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"reward {reward.name}: raised {problem}") from None
    if len(found) != len(answers):
        raise UserError(
            f"reward {reward.name}: gave {len(found)} numbers for {len(answers)} answers; one for each is needed"
        )
    for value, each in zip(found, answers, strict=True):
        if not (math.isfinite(value) and 0 <= value <= HIGHEST):
            wanted = f"numbers from 0 to {HIGHEST:g} are needed"
            raise UserError(f"reward {reward.name}: gave {value} for the answer {each.answer[:40]!r}; {wanted}")
    return found
