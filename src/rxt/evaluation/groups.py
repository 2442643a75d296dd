"""How many questions of whole conversations are answered rightly, by what they test.

The model's own answers are memorized on the way, those to statements too, as in a chat. A control answers the same
questions from a fresh memory: what can be had without having heard the conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rxt.evaluation.retention import Score
from rxt.evaluation.subject import State, Subject
from rxt.evaluation.walk import even_batches, prompts_of, walk
from rxt.tasks.base import Question, Told

BATCH = 128
Group = TypeVar("Group")


@dataclass(frozen=True)
class GroupResult:
    """The conversations of one group."""

    conversations: int
    score: Score
    reset: Score
    """The same questions, each answered from a fresh memory."""


def measure_groups(
    subject: Subject[State],
    groups: Mapping[Group, Sequence[Told]],
    seed: int,
    longest_answer: int,
    report: Callable[[int], None] = lambda done: None,
) -> dict[Group, GroupResult]:
    """Hold every conversation and ask its questions; ``report`` hears how many were held. Groups without questions are
    left out.

    Args:
        longest_answer: in tokens.
    """
    results: dict[Group, GroupResult] = {}
    for group, cases in groups.items():
        score = reset = Score(0, 0)
        for part in even_batches(len(cases), BATCH) if cases else ():
            told = cases[part.start : part.stop]
            answers = walk(subject, [case.queries for case in told], seed, longest_answer).answers
            for case, said in zip(told, answers, strict=True):
                questions = questions_of(case)
                score += Score(sum(each.correct(said[turn]) for turn, each in questions), len(questions))
            reset += _without_memory(subject, told, seed, longest_answer)
            report(len(told))
        if score.asked:
            results[group] = GroupResult(len(cases), score, reset)
    return results


def questions_of(case: Told) -> list[tuple[int, Question]]:
    """The questions of a conversation with their turns, in order."""
    return sorted((case.questions or {}).items(), key=lambda each: each[0])


def _without_memory(subject: Subject[State], cases: Sequence[Told], seed: int, longest_answer: int) -> Score:
    asked = [(case.queries[turn], question) for case in cases for turn, question in questions_of(case)]
    right = 0
    for part in even_batches(len(asked), BATCH) if asked else ():
        some = asked[part.start : part.stop]
        prompts = prompts_of(subject.template, [query for query, _ in some])
        answers = subject.answer(prompts, subject.start(len(some), seed), longest_answer)
        right += sum(
            question.correct(subject.template.answer_text(ids))
            for ids, (_, question) in zip(answers, some, strict=True)
        )
    return Score(right, len(asked))
