"""How often a fact is recalled, by how many turns ago it was told.

Every question gets its own generated conversation, and the model's own answers are remembered on the way, as in a chat.
The questions of the curve are asked three times more under controls: out of a fresh state, out of another
conversation's state, and by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rxt.errors import UserError
from rxt.evaluation.bootstrap import mean
from rxt.evaluation.subject import State, Subject
from rxt.evaluation.walk import even_batches, prompts_of, walk
from rxt.tasks.base import Split, Task, Told
from rxt.tasks.registry import task as task_called

BATCH = 64
RECALL_BATCH = 128
SPECIAL_WITHIN = 16
"""Questions of the special kinds are asked at distances up to so many turns."""
SPECIAL_QUESTIONS = 4
"""Of every special kind: so many times the questions of one distance."""

Control = Literal["reset", "shuffled"]


@dataclass(frozen=True)
class Score:
    """Right answers out of so many questions."""

    right: int
    asked: int

    @property
    def share(self) -> float:
        return self.right / self.asked if self.asked else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % bootstrap interval of the share."""
        found = mean([1.0] * self.right + [0.0] * (self.asked - self.right))
        return found.low, found.high

    def __add__(self, other: Score) -> Score:
        return Score(self.right + other.right, self.asked + other.asked)


NOTHING = Score(0, 0)


@dataclass(frozen=True)
class Retention:
    """The curve, its controls, and harder questions."""

    by_distance: dict[int, Score]
    reset: dict[int, Score]
    """The same questions out of a fresh state."""
    shuffled: dict[int, Score]
    """The same questions out of another conversation's state."""
    chance: float
    """Expected of a random value of the kind asked for."""
    distracted: Score
    """Those questions of the curve where a fact of the same kind was told of somebody else too."""
    special: dict[str, Score]
    """The task's special kinds of questions, such as those about facts that changed, at up to ``SPECIAL_WITHIN``
    turns."""
    capacity: dict[tuple[int, int], Score]
    """By (facts told in all, distance)."""

    def between(self, first: int, last: int) -> Score:
        """All questions at distances ``first`` … ``last`` together."""
        return total(score for distance, score in self.by_distance.items() if first <= distance <= last)


@dataclass(frozen=True)
class Plan:
    """What is asked."""

    distances: tuple[int, ...]
    questions: int
    """At every distance of the curve, and in every cell of the capacity table."""
    facts: tuple[int, ...] = ()
    """Numbers of facts told in one conversation; none leaves the capacity table out."""
    capacity_distances: tuple[int, ...] = (1, 4, 16, 64)
    task: Task[Any] = field(default_factory=lambda: task_called("everyday"))
    """What the conversations are about."""

    def __post_init__(self) -> None:
        if self.questions < 2:
            raise UserError(
                f"ask at least two questions, found {self.questions}: each one's control is the state of another"
            )
        if not self.distances or min(self.distances) < 1:
            raise UserError("retention needs distances, of one turn at least")

    def check(self, split: Split) -> None:
        """Make a question of every sort, so that what the task does not have is said before anything is measured.

        Raises:
            UserError: the task has no such questions.
        """
        for distance in self.distances:
            self.task.probe(split, distance, 0, 0)
        for kind in self.task.special:
            self.task.probe(split, 1, 0, 0, kind)
        if self.facts:
            self.task.crowded_probe(split, self.facts[0], self.capacity_distances[0], 0, 0)

    @property
    def total(self) -> int:
        """Questions in all, without the controls."""
        return self.questions * (
            len(self.distances)
            + len(self.task.special) * SPECIAL_QUESTIONS
            + len(self.facts) * len(self.capacity_distances)
        )


def total(scores: Iterable[Score]) -> Score:
    """All questions together."""
    return sum(scores, NOTHING)


def measure_retention(
    subject: Subject[State], split: Split, plan: Plan, seed: int, report: Callable[[int], None] = lambda done: None
) -> Retention:
    """Ask what the plan says; ``report`` hears how many questions were asked."""
    by_distance: dict[int, Score] = {}
    controls: dict[Control, dict[int, Score]] = {"reset": {}, "shuffled": {}}
    distracted = NOTHING
    chances: list[float] = []
    for distance in plan.distances:
        by_distance[distance] = NOTHING
        controls["reset"][distance] = controls["shuffled"][distance] = NOTHING
        for part in even_batches(plan.questions, BATCH):
            cases = [plan.task.probe(split, distance, seed, distance * 1_000_000 + index) for index in part]
            result = walk(subject, [case.queries for case in cases], seed)
            right = _right(cases, [answers[-1] for answers in result.answers])
            by_distance[distance] += _score(right)
            distracted += _score([was for was, case in zip(right, cases, strict=True) if case.distracted])
            others = subject.take(result.before_last_query, [row - 1 for row in range(len(cases))])
            fresh = subject.start(len(cases), seed)
            controls["reset"][distance] += _score(_right(cases, _last_answers(subject, cases, fresh)))
            controls["shuffled"][distance] += _score(_right(cases, _last_answers(subject, cases, others)))
            chances += [plan.task.chance(case.last_question) for case in cases]
            report(len(cases))

    def ask(make: Callable[[int], Told], questions: int) -> Score:
        score = NOTHING
        for part in even_batches(questions, BATCH):
            cases = [make(index) for index in part]
            answers = walk(subject, [case.queries for case in cases], seed).answers
            score += _score(_right(cases, [said[-1] for said in answers]))
            report(len(cases))
        return score

    special = {
        kind: ask(
            lambda index, kind=kind: plan.task.probe(split, 1 + index % SPECIAL_WITHIN, seed, index, kind),
            SPECIAL_QUESTIONS * plan.questions,
        )
        for kind in plan.task.special
    }
    capacity = {
        (facts, distance): ask(
            lambda index, at=(facts, distance): plan.task.crowded_probe(split, *at, seed, index),
            plan.questions,
        )
        for facts in plan.facts
        for distance in plan.capacity_distances
    }
    chance = sum(chances) / len(chances)
    return Retention(by_distance, controls["reset"], controls["shuffled"], chance, distracted, special, capacity)


@dataclass(frozen=True)
class Recall:
    """Right answers without controls."""

    by_distance: dict[int, Score]
    special: dict[str, Score]
    """By kind of question."""

    def between(self, first: int, last: int) -> Score:
        """All questions at distances ``first`` … ``last`` together."""
        return total(score for distance, score in self.by_distance.items() if first <= distance <= last)

    @property
    def all(self) -> Score:
        """All questions together."""
        return total(self.by_distance.values()) + total(self.special.values())


def measure_recall(
    subject: Subject[State],
    split: Split,
    distances: Sequence[int],
    questions: int,
    special: int,
    seed: int,
    task: Task[Any],
) -> Recall:
    """The questions of :func:`measure_retention` alone, in as few walks as can be: quick enough to be asked during
    training.

    Args:
        questions: at every distance.
        special: of every special kind of the task.
    """
    curve = [
        task.probe(split, distance, seed, distance * 1_000_000 + index)
        for distance in distances
        for index in range(questions)
    ]
    harder = [
        task.probe(split, 1 + index % SPECIAL_WITHIN, seed, index, kind)
        for kind in task.special
        for index in range(special)
    ]
    cases = [*curve, *harder]
    longest_first = sorted(range(len(cases)), key=lambda index: -len(cases[index].queries))
    right = [False] * len(cases)
    for part in even_batches(len(cases), RECALL_BATCH):
        indices = longest_first[part.start : part.stop]  # of like length
        answers = walk(subject, [cases[index].queries for index in indices], seed).answers
        for index, was in zip(
            indices, _right([cases[index] for index in indices], [said[-1] for said in answers]), strict=True
        ):
            right[index] = was
    by_distance = {
        distance: _score(right[index * questions : (index + 1) * questions]) for index, distance in enumerate(distances)
    }
    starts = {kind: len(curve) + number * special for number, kind in enumerate(task.special)}
    return Recall(by_distance, {kind: _score(right[start : start + special]) for kind, start in starts.items()})


def _last_answers(subject: Subject[State], cases: Sequence[Told], state: State) -> list[str]:
    """What each conversation's last question is answered out of a state."""
    prompts = prompts_of(subject.template, [case.queries[-1] for case in cases])
    return [subject.template.answer_text(ids) for ids in subject.answer(prompts, state)]


def _right(cases: Sequence[Told], answers: Sequence[str]) -> list[bool]:
    return [case.last_question.correct(answer) for case, answer in zip(cases, answers, strict=True)]


def _score(right: Sequence[bool]) -> Score:
    return Score(sum(right), len(right))
