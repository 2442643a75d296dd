"""Preferences out of open conversations: beside the right answer to a question stands a wrong one of a known kind.

Everything is a pure function of its arguments, and the values of wrong answers are of the split, like all others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from rxt.data.records import PreferenceConversation
from rxt.tasks.base import Split
from rxt.tasks.open.config import OpenConfig
from rxt.tasks.open.grammar import sentence
from rxt.tasks.open.talks import OpenConversation, Question, generate
from rxt.tasks.open.typists import CAREFUL
from rxt.tasks.open.values import ValueSplit, core, draw
from rxt.tasks.open.values.kinds import KINDS
from rxt.tasks.open.wording import Fact, Wording
from rxt.tasks.rejected import Rejected, RejectedMix, with_wrong_answers
from rxt.tasks.seeds import seeded


@dataclass(frozen=True)
class OpenPreferences:
    """A conversation with a wrong answer at each of its questions."""

    preferences: PreferenceConversation
    case: OpenConversation
    rejected: dict[int, Rejected]
    """By turn: what is wrong with the rejected answer."""


def generate_preferences(
    split: Split, turns: int, seed: int, index: int, config: OpenConfig, mix: RejectedMix, neutral_rate: float = 0.0
) -> OpenPreferences:
    """Conversation number ``index`` of ``split``, as ``generate`` makes it, and wrong answers to its questions."""
    case = generate(split, turns, seed, index, config)
    writer = _Wrong(case, split, seed, index)
    asked = {question.turn: question for question in case.questions}

    def wrong(turn: int) -> dict[Rejected, str]:
        return writer.answers(asked[turn]) if turn in asked else {}

    found, kinds = with_wrong_answers(case.conversation.interactions, wrong, mix, neutral_rate, writer.rng)
    return OpenPreferences(found, case, kinds)


class _Wrong:
    """The wrong answers that the questions of one conversation allow."""

    def __init__(self, case: OpenConversation, split: Split, seed: int, index: int) -> None:
        self.case = case
        self.values: ValueSplit = "test" if split == "test-unseen-phrasings" else split
        self.rng = seeded("open preferences", split, seed, index)
        self.words = Wording(self.rng, CAREFUL)
        self.taken = {core(fact.value).casefold() for fact in case.facts if fact.value}

    def answers(self, question: Question) -> dict[Rejected, str]:
        """One answer of every kind that the question allows; each is wrong."""
        found: dict[Rejected, str] = {}
        if question.turn:
            found["copy"] = self.case.conversation.interactions[question.turn - 1].answer
        if question.fact is not None:
            value = self._unspoken(question.fact)
            invented = None if value is None else self.words.answer(replace(question.fact, value=value))
            if question.fact.value:
                found |= self._told(question, question.fact, value)
            elif invented is not None:
                found["invented_value"] = invented
        return {kind: answer for kind, answer in found.items() if not question.correct(answer)}

    def _told(self, question: Question, fact: Fact, unspoken: str | None) -> dict[Rejected, str]:
        others = [
            other.value
            for other in self.case.facts
            if other.relation is fact.relation and other.turn < question.turn and other.key != fact.key and other.value
        ]
        values: dict[Rejected, str | None] = {
            "wrong_value": unspoken,
            "stale_value": fact.old,
            "told_value": self.rng.choice(others) if others else None,
        }
        right = self.case.conversation.interactions[question.turn].answer
        found: dict[Rejected, str] = {"evasive": self.words.unknown(fact)}
        for kind, value in values.items():
            if value:
                found[kind] = self._with_value(right, fact, value)
        return found

    def _with_value(self, right: str, fact: Fact, value: str) -> str:
        """The right answer with another value, or another answer where it does not name the value word by word."""
        known = re.compile(re.escape(core(fact.value)), re.IGNORECASE)
        if not known.search(right):
            return self.words.answer(replace(fact, value=value))
        return sentence(known.sub(lambda _: core(value), right))

    def _unspoken(self, fact: Fact) -> str | None:
        """A value of the fact's kind that nobody speaks of in the whole conversation; None when none was found."""
        return draw(KINDS[fact.relation.value], self.values, self.rng, self.taken)
