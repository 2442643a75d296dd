"""How often a fact is recalled, by how many turns ago it was told.

Every question gets its own generated conversation: a fact is told, other turns follow, and exactly ``distance`` turns
later it is asked. The model's own answers are memorized on the way, as in a chat. Three controls answer the same
questions: from a fresh memory, from another conversation's memory, and by chance.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rxt.data.everyday import EverydayConfig, EverydayConversation, Split, correct, generate, retention_conversation, values_of
from rxt.errors import UserError
from rxt.evaluation.subject import State, Subject
from rxt.evaluation.walk import even_batches, walk

BATCH = 64
MIXED_TURNS = 16
"""Turns of the conversations in which changed facts and facts never told are asked."""


@dataclass(frozen=True)
class Score:
    """Right answers out of so many questions."""

    right: int
    asked: int

    @property
    def share(self) -> float:
        return self.right / self.asked if self.asked else float("nan")

    def __add__(self, other: Score) -> Score:
        return Score(self.right + other.right, self.asked + other.asked)


@dataclass(frozen=True)
class Retention:
    """The curve and its controls."""

    by_distance: dict[int, Score]
    reset: Score
    """The memory is a fresh one when the question is asked."""
    shuffled: Score
    """The memory is that of another conversation."""
    chance: float
    """Expected of a random value of the kind asked for."""
    changed: Score
    """Facts that had another value before, in conversations of ``MIXED_TURNS`` turns."""
    never_told: Score
    """Facts that were never told, recognised as such."""

    def between(self, first: int, last: int) -> Score:
        """All questions at distances ``first`` … ``last`` together."""
        return sum((score for distance, score in self.by_distance.items() if first <= distance <= last), Score(0, 0))


def measure_retention(
    subject: Subject[State],
    split: Split,
    distances: Sequence[int],
    questions: int,
    seed: int,
    report: Callable[[int], None] = lambda done: None,
) -> Retention:
    """Ask ``questions`` questions, two at least, at every distance; ``report`` hears how many were asked."""
    if questions < 2:
        raise UserError(f"ask at least two questions, found {questions}: each one's control is the memory of another")
    by_distance: dict[int, Score] = {}
    reset = shuffled = Score(0, 0)
    chances: list[float] = []
    for distance in distances:
        score = Score(0, 0)
        for part in even_batches(questions, BATCH):
            cases = [retention_conversation(split, distance, seed, distance * 1_000_000 + index) for index in part]
            result = walk(subject, [queries(case) for case in cases], seed)
            score += _count(cases, [answers[-1] for answers in result.answers])
            reset += _count(cases, _last_answers(subject, cases, subject.start(len(cases), seed)))
            others = subject.take(result.before_last_query, [row - 1 for row in range(len(cases))])
            shuffled += _count(cases, _last_answers(subject, cases, others))
            chances += [1 / min(EverydayConfig().values, len(values_of(case.questions[-1].kind))) for case in cases]
            report(len(cases))
        by_distance[distance] = score
    changed, never_told = _mixed(subject, split, questions, seed)
    return Retention(by_distance, reset, shuffled, sum(chances) / len(chances), changed, never_told)


def interval(score: Score, seed: int = 0, samples: int = 1_000) -> tuple[float, float]:
    """95 % bootstrap interval of a share."""
    if not score.asked:
        return float("nan"), float("nan")
    draw = random.Random(seed)
    shares = sorted(sum(draw.random() < score.share for _ in range(score.asked)) / score.asked for _ in range(samples))
    return shares[round(0.025 * samples)], shares[round(0.975 * samples) - 1]


def queries(case: EverydayConversation) -> list[str]:
    """What the person says, turn by turn."""
    return [interaction.query for interaction in case.conversation.interactions]


def _mixed(subject: Subject[State], split: Split, conversations: int, seed: int) -> tuple[Score, Score]:
    """Changed facts and facts never told, in ordinary conversations."""
    changed = never_told = Score(0, 0)
    for part in even_batches(conversations, BATCH):
        cases = [generate(split, MIXED_TURNS, seed, index) for index in part]
        result = walk(subject, [queries(case) for case in cases], seed)
        for case, answers in zip(cases, result.answers, strict=True):
            for question in case.questions:
                point = Score(int(correct(question, answers[question.turn])), 1)
                changed += point if question.changed else Score(0, 0)
                never_told += point if question.value is None else Score(0, 0)
    return changed, never_told


def _last_answers(subject: Subject[State], cases: Sequence[EverydayConversation], state: State) -> list[str]:
    """What each conversation's last question is answered out of a state."""
    prompts = [subject.template.prompt(queries(case)[-1]) for case in cases]
    return [subject.template.answer_text(ids) for ids in subject.answer(prompts, state)]


def _count(cases: Sequence[EverydayConversation], answers: Sequence[str]) -> Score:
    right = sum(correct(case.questions[-1], answer) for case, answer in zip(cases, answers, strict=True))
    return Score(right, len(cases))
