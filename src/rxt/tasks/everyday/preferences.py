"""Preferences out of everyday conversations: beside the right answer to a question stands a wrong one of a known kind.

Statements and small talk have no wrong answer; they are only memorized. Everything is a pure function of its arguments,
and the values of wrong answers keep to the split as those of the conversation do (see ``splits``).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from rxt.data.records import PreferenceConversation
from rxt.tasks.everyday.generate import (
    FAMILY,
    EverydayConfig,
    EverydayConversation,
    Question,
    Split,
    generate,
    values_for,
)
from rxt.tasks.everyday.phrases import kind_of
from rxt.tasks.everyday.splits import ValuePicker
from rxt.tasks.everyday.wording import Wording, with_value
from rxt.tasks.rejected import Rejected, RejectedMix, with_wrong_answers
from rxt.tasks.seeds import seeded

USUAL, USUAL_MIX = EverydayConfig(), RejectedMix()


@dataclass(frozen=True)
class EverydayPreferences:
    """A conversation with a wrong answer at each of its questions."""

    preferences: PreferenceConversation
    case: EverydayConversation
    rejected: dict[int, Rejected]
    """By turn: what is wrong with the rejected answer."""


def generate_preferences(
    split: Split,
    turns: int,
    seed: int,
    index: int,
    config: EverydayConfig = USUAL,
    mix: RejectedMix = USUAL_MIX,
    neutral_rate: float = 0.0,
) -> EverydayPreferences:
    """Conversation number ``index`` of ``split``, as ``generate`` makes it, and wrong answers to its questions; errors
    likewise.

    Its last turn asks for a fact that was told, so it has a wrong answer. A question that allows none of the kinds has
    none. Of the turns without a wrong answer, a share of ``neutral_rate`` has its own answer as a neutral one: to stay
    as likely as it is.
    """
    case = generate(split, turns, seed, index, config)
    draw = seeded("preferences", FAMILY[split], seed, index, turns)
    writer = _Wrong(case, split, draw, config)
    asked = {question.turn: question for question in case.questions}

    def wrong(turn: int) -> dict[Rejected, str]:
        return writer.answers(asked[turn]) if turn in asked else {}

    found, kinds = with_wrong_answers(case.conversation.interactions, wrong, mix, neutral_rate, draw)
    return EverydayPreferences(found, case, kinds)


class _Wrong:
    """The wrong answers that the questions of one conversation allow."""

    def __init__(self, case: EverydayConversation, split: Split, draw: Random, config: EverydayConfig) -> None:
        self.case, self.config, self.draw = case, config, draw
        self.words = Wording(draw, split == "test-unseen-phrasings", config.surface_rate)
        self.picker = ValuePicker(FAMILY[split], draw)
        for fact in case.facts:
            self.picker.note(fact.kind, fact.value)

    def answers(self, question: Question) -> dict[Rejected, str]:
        """One answer of every kind that the question allows; each is wrong."""
        found = self._never_told(question) if question.value is None else self._told(question, question.value)
        if question.turn:
            found["copy"] = self.case.conversation.interactions[question.turn - 1].answer
        return {kind: answer for kind, answer in found.items() if not question.correct(answer)}

    def _never_told(self, question: Question) -> dict[Rejected, str]:
        value = self._unspoken(question)
        return {} if value is None else {"invented_value": self.words.claim(question.subject, question.kind, value)}

    def _told(self, question: Question, value: str) -> dict[Rejected, str]:
        before = [
            fact
            for fact in self.case.facts
            if fact.kind == question.kind and fact.turn < question.turn and fact.value != value
        ]
        mine = [fact.value for fact in before if fact.subject == question.subject]
        others = [fact.value for fact in before if fact.subject != question.subject]
        values: dict[Rejected, str | None] = {
            "wrong_value": self._unspoken(question),
            "stale_value": mine[-1] if mine else None,
            "told_value": self.draw.choice(others) if others else None,
        }
        right = self.case.conversation.interactions[question.turn].answer
        found: dict[Rejected, str] = {"evasive": self.words.evade(question.subject, question.kind)}
        for name, other in values.items():
            if other is not None:
                found[name] = with_value(right, question.subject, question.kind, value, other)
        return found

    def _unspoken(self, question: Question) -> str | None:
        """A value of the question's kind that nobody speaks of in the whole conversation; None when the split has
        none."""
        return self.picker.pick(question.kind, values_for(kind_of(question.kind), question.subject, self.config.values))
