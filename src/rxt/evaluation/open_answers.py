"""What a model answers to people: the hand-written talks and the ways of typing, judged.

The model's own answers are remembered on the way, as in a chat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rxt.data.asked import UNKNOWN
from rxt.evaluation.bootstrap import Estimate, ratio
from rxt.evaluation.open_talks import Question, Talk, text_of
from rxt.evaluation.retention import NOTHING, Score
from rxt.evaluation.subject import State, Subject
from rxt.evaluation.walk import even_batches, walk
from rxt.evaluation.ways_of_typing import typed_facts

BATCH = 64

Span = tuple[int, int]
"""Distances from the first to the last, in turns."""


@dataclass(frozen=True)
class Judged:
    """An answer to a question of a talk."""

    question: Question
    distance: int | None
    """In turns since it was told; none for what was never told."""
    right: bool
    unknown: bool
    """The answer says that it is not known."""
    invented: tuple[str, ...]
    """Words of the answer that nobody has said."""


@dataclass(frozen=True)
class HeldTalk:
    """A talk with what the model answered to every message."""

    talk: Talk
    answers: tuple[str, ...]

    @property
    def judged(self) -> Mapping[int, Judged]:
        """The answers to questions by their place among the messages, counted from 1."""
        return {place: self._judge(place, question) for place, question in self.talk.questions}

    def _judge(self, place: int, question: Question) -> Judged:
        answer = self.answers[place - 1]
        return Judged(
            question,
            self.talk.distance(place),
            question.right(answer),
            bool(UNKNOWN.search(answer)),
            self.talk.invented(place, answer),
        )


@dataclass(frozen=True)
class Share:
    """So many of so many answers, and the 95 % interval of the share over talks."""

    count: int
    of: int
    estimate: Estimate


@dataclass(frozen=True)
class TalkScores:
    """The answers to the questions of all talks together."""

    right: Share
    """Of what was told or changed."""
    told: Share
    changed: Share
    never_told: Share
    """Said to be not known, of what was never told."""
    invented: Share
    """Answers with something that nobody has said, of all."""
    invented_told: Share
    """The same, of what was told or changed."""
    invented_never_told: Share
    denied: Share
    """Said to be not known, of what was told or changed."""
    by_distance: Mapping[Span, Share]
    """Right, of what was told or changed so many turns ago."""


def hold_talks(
    subject: Subject[State],
    talks: Sequence[Talk],
    seed: int,
    report: Callable[[int], None] = lambda done: None,
    longest_answer: int = 48,
) -> tuple[HeldTalk, ...]:
    """Type every talk in; ``report`` hears how many were held.

    Args:
        longest_answer: in tokens.
    """
    held: list[HeldTalk] = []
    for part in even_batches(len(talks), BATCH):
        some = talks[part.start : part.stop]
        typed = [[text_of(message) for message in talk.messages] for talk in some]
        answers = walk(subject, typed, seed, longest_answer).answers
        held += [HeldTalk(talk, said) for talk, said in zip(some, answers, strict=True)]
        report(len(some))
    return tuple(held)


def score_talks(held: Sequence[HeldTalk]) -> TalkScores:
    """Everything that the talks are counted for."""
    judged = [list(talk.judged.values()) for talk in held]

    def share(count: Callable[[Judged], bool], of: Callable[[Judged], bool]) -> Share:
        asked = [[each for each in talk if of(each)] for talk in judged]
        counts, sizes = [sum(map(count, talk)) for talk in asked], [len(talk) for talk in asked]
        return Share(sum(counts), sum(sizes), ratio(counts, sizes))

    def known(each: Judged) -> bool:
        return each.question.kind != "never_told"

    spans = sorted({span(each.distance) for talk in judged for each in talk if each.distance is not None})
    return TalkScores(
        right=share(lambda each: each.right, known),
        told=share(lambda each: each.right, lambda each: each.question.kind == "told"),
        changed=share(lambda each: each.right, lambda each: each.question.kind == "changed"),
        never_told=share(lambda each: each.right, lambda each: not known(each)),
        invented=share(lambda each: bool(each.invented), lambda each: True),
        invented_told=share(lambda each: bool(each.invented), known),
        invented_never_told=share(lambda each: bool(each.invented), lambda each: not known(each)),
        denied=share(lambda each: each.unknown and not each.right, known),
        by_distance={
            (first, last): share(
                lambda each: each.right,
                lambda each, at=range(first, last + 1): each.distance in at,
            )
            for first, last in spans
        },
    )


def span(distance: int) -> Span:
    """1, 2, 3-4, 5-8, 9-16, …: the doubling that a distance lies in."""
    last = 1 << (distance - 1).bit_length()
    return last // 2 + 1, last


def type_facts(
    subject: Subject[State], seed: int, report: Callable[[int], None] = lambda done: None
) -> dict[str, Score]:
    """Tell and ask every fact in every way of typing; right answers by way. ``report`` hears how many were asked."""
    facts = typed_facts()
    scores: dict[str, Score] = {}
    for part in even_batches(len(facts), BATCH):
        some = facts[part.start : part.stop]
        answers = walk(subject, [(fact.told, fact.question) for fact in some], seed).answers
        for fact, (_, answer) in zip(some, answers, strict=True):
            scores[fact.way] = scores.get(fact.way, NOTHING) + Score(bool(fact.must.search(answer)), 1)
        report(len(some))
    return scores
