"""bAbI: how many questions of each task are answered as the file says, by a model that hears a story line by line.

The model's own answers are memorized on the way, those to statements too, as in a chat. A control answers the same
questions from a fresh memory: what can be had without having heard the story.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rxt.evaluation.retention import Score
from rxt.evaluation.subject import State, Subject
from rxt.evaluation.walk import even_batches, walk
from rxt.tasks.babi import Story

BATCH = 128
LONGEST_ANSWER = 16
"""Tokens; ``apple,football,milk`` and its end are six where every word is one."""


@dataclass(frozen=True)
class TaskResult:
    """One task."""

    stories: int
    score: Score
    reset: Score
    """The same questions, each answered from a fresh memory."""


def measure_babi(
    subject: Subject[State],
    tasks: Mapping[int, Sequence[Story]],
    seed: int,
    report: Callable[[int], None] = lambda done: None,
) -> dict[int, TaskResult]:
    """Tell every story and ask its questions; ``report`` hears how many stories were told. Tasks without questions are
    left out."""
    results: dict[int, TaskResult] = {}
    for task, stories in tasks.items():
        score = reset = Score(0, 0)
        for part in even_batches(len(stories), BATCH) if stories else ():
            told = stories[part.start : part.stop]
            answers = walk(
                subject, [[line.text for line in story.lines] for story in told], seed, LONGEST_ANSWER
            ).answers
            for story, said in zip(told, answers, strict=True):
                score += Score(
                    sum(said[index].strip() == story.lines[index].answer for index in story.questions),
                    len(story.questions),
                )
            reset += _without_memory(subject, told, seed)
            report(len(told))
        if score.asked:
            results[task] = TaskResult(len(stories), score, reset)
    return results


def _without_memory(subject: Subject[State], stories: Sequence[Story], seed: int) -> Score:
    questions = [story.lines[index] for story in stories for index in story.questions]
    right = 0
    for part in even_batches(len(questions), BATCH) if questions else ():
        asked = questions[part.start : part.stop]
        prompts = [subject.template.prompt(question.text) for question in asked]
        answers = subject.answer(prompts, subject.start(len(asked), seed), LONGEST_ANSWER)
        right += sum(
            subject.template.answer_text(ids).strip() == line.answer for ids, line in zip(answers, asked, strict=True)
        )
    return Score(right, len(questions))
