"""Puts facts into words: picks phrasings, joins facts to one message, varies how the user types."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random

from rxt.tasks.everyday.paraphrases import Paraphrases, frames, paraphrases
from rxt.tasks.everyday.phrase_types import (
    CHANGE_ACKS,
    EVASIVE,
    NEVER_TOLD,
    SEVERAL_ACKS,
    SHARED_ACKS,
    SUBJECT_OF,
    THEIR_SHARED_ACKS,
    Phrases,
)
from rxt.tasks.everyday.phrases import kind_of
from rxt.tasks.everyday.small_talk import BY_FREQUENCY, GREETINGS
from rxt.tasks.everyday.values import with_article

_TELL_STARTS = ("By the way, ", "Oh, ", "Well, ", "You know, ", "So, ", "Just so you know, ")
_ASK_STARTS = ("By the way, ", "Hey, ", "So, ", "One question: ", "Quick question: ")
_OPENERS = ("hi", "hello", "hey", "actually", "sorry", "for", "please")
_CONTRACTIONS = (
    ("What is ", "What's "),
    ("Where is ", "Where's "),
    ("I am ", "I'm "),
    ("it is ", "it's "),
    ("My name is ", "My name's "),
)


@dataclass(frozen=True)
class Fact:
    """A fact of a conversation: whom it is about ("me" or a person), its kind, and its newest value."""

    subject: str
    kind: str
    value: str
    turn: int
    """Turn, from 0, of the newest telling."""
    changed: bool = False

    @property
    def phrases(self) -> Phrases:
        return kind_of(self.kind).phrases(self.subject)


def _fill(template: str, subject: str, value: str = "") -> str:
    return template.format(s=subject, v=value, av=with_article(value) if value else "")


def _upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower_first(text: str) -> str:
    first_word = text.split(" ", 1)[0]
    return text if first_word in ("I", "I'm", "I've", "I'd") or text[0] == "{" else text[:1].lower() + text[1:]


def with_value(answer: str, subject: str, kind: str, value: str, other: str) -> str:
    """An answer that names ``value``, with ``other`` in its place and otherwise in the same words."""
    templates = kind_of(kind).phrases(subject).answer
    (template, *_) = (each for each in templates if _upper_first(_fill(each, subject, value)) == answer)
    return _upper_first(_fill(template, subject, other))


@cache
def _clauses(templates: tuple[str, ...]) -> tuple[str, ...]:
    """The templates that can be joined with "and"."""
    return tuple(
        t
        for t in templates
        if t.startswith(("My ", "I ", "I'm ")) and t.endswith(".") and not any(c in t for c in ",!?:")
    )


def contracted(template: str) -> str:
    """``template`` with its first contraction made, the way people type."""
    for long, short in _CONTRACTIONS:
        if long in template:
            return template.replace(long, short, 1)
    return template


class Wording:
    """All words of one conversation, drawn from ``rng``.

    ``unseen`` uses held-out phrasings only, for telling, changing and asking; ``surface_rate`` is the share of the
    user's messages that are typed less carefully (lower case, no full stop, contracted, with a lead-in);
    ``paraphrase_rate`` the share of those about one fact that are said in one of the many ways of ``paraphrases``.
    """

    def __init__(self, rng: Random, unseen: bool, surface_rate: float, paraphrase_rate: float = 0.0) -> None:
        self._rng = rng
        self._unseen = unseen
        self._surface_rate = 0.0 if unseen else surface_rate
        self._paraphrase_rate = 0.0 if unseen else paraphrase_rate

    def tell(self, facts: list[Fact]) -> tuple[str, str]:
        """A message that tells the facts, and the answer that takes note of them."""
        if len(facts) > 1:
            return self._tell_several(facts)
        (fact,) = facts
        template = self._paraphrased_tell(fact) or self._typed(
            self._rng.choice(self._tell_templates(fact)), _TELL_STARTS
        )
        return _upper_unless_typed(template, fact), self._ack(fact)

    def change(self, fact: Fact) -> tuple[str, str]:
        """A message that tells the fact's new value, and the answer that takes note of it."""
        phrases = fact.phrases
        template = self._rng.choice(phrases.change_held_out if self._unseen else phrases.change)
        paraphrase = self._paraphrased_change(fact)
        acks = CHANGE_ACKS if self._rng.random() < 0.5 else phrases.ack
        answer = _upper_first(_fill(self._rng.choice(acks), fact.subject, fact.value))
        return _upper_unless_typed(paraphrase or self._typed(template, ()), fact), answer

    def ask(self, fact: Fact) -> tuple[str, str]:
        """A question about the fact and its right answer."""
        answer = self.claim(fact.subject, fact.kind, fact.value)
        return self._question(fact.kind, fact.subject), answer

    def ask_never_told(self, subject: str, kind: str) -> tuple[str, str]:
        """A question about something never told, and the answer that says so."""
        phrases = kind_of(kind).phrases(subject)
        answer = self._rng.choice(NEVER_TOLD).format(topic=_fill(phrases.topic, subject))
        return self._question(kind, subject), answer

    def claim(self, subject: str, kind: str, value: str) -> str:
        """An answer that names a value."""
        return _upper_first(_fill(self._rng.choice(kind_of(kind).phrases(subject).answer), subject, value))

    def evade(self, subject: str, kind: str) -> str:
        """An answer that names no value."""
        return self._rng.choice(EVASIVE).format(topic=_fill(kind_of(kind).phrases(subject).topic, subject))

    def small_talk(self, greeting: bool = False) -> tuple[str, str]:
        """A message that tells and asks no fact, and an answer to it."""
        group = self._rng.choice(GREETINGS if greeting else BY_FREQUENCY)
        query, answer = self._typed(self._rng.choice(group.queries), ()), self._rng.choice(group.answers)
        word = self._rng.choice(group.words) if group.words else ""
        return query.replace("{w}", word), answer.replace("{w}", word)

    def _tell_templates(self, fact: Fact) -> tuple[str, ...]:
        return fact.phrases.tell_held_out if self._unseen else fact.phrases.tell

    def _tell_several(self, facts: list[Fact]) -> tuple[str, str]:
        acks = self._rng.random() < 0.5
        answer = self._rng.choice(SEVERAL_ACKS) if acks else self._ack(self._rng.choice(facts))
        clauses = [_clauses(self._tell_templates(fact)) for fact in facts]
        if self._rng.random() < 0.25 or not all(clauses):
            parts = [_fill(self._rng.choice(self._tell_templates(fact)), fact.subject, fact.value) for fact in facts]
            return " ".join(_upper_first(part) for part in parts), answer
        joined = ""
        for at, (fact, templates) in enumerate(zip(facts, clauses, strict=True)):
            template = self._rng.choice(templates).removesuffix(".")
            if at:
                template = _with_pronoun(template, fact) if facts[at - 1].subject == fact.subject else template
                joined += (" and " if at == len(facts) - 1 else ", ") + _fill(
                    _lower_first(template), fact.subject, fact.value
                )
            else:
                joined = _fill(template, fact.subject, fact.value)
        return joined + ".", answer

    def _ack(self, fact: Fact) -> str:
        shared = SHARED_ACKS if fact.subject == "me" else THEIR_SHARED_ACKS
        acks = shared if self._rng.random() < 0.3 else fact.phrases.ack
        return _upper_first(_fill(self._rng.choice(acks), fact.subject, fact.value))

    def _question(self, kind: str, subject: str) -> str:
        phrases = kind_of(kind).phrases(subject)
        template = self._paraphrased_question(kind, subject)
        if template is None:
            template = self._typed(self._rng.choice(phrases.ask_held_out if self._unseen else phrases.ask), _ASK_STARTS)
        return _fill(template, subject)

    def _paraphrased_tell(self, fact: Fact) -> str | None:
        """A way to tell the fact out of ``paraphrases``, now and then."""
        clauses = self._paraphrases(fact.kind, fact.subject).tell
        return self._framed(clauses, frames().tell) if clauses else None

    def _paraphrased_change(self, fact: Fact) -> str | None:
        clauses = self._paraphrases(fact.kind, fact.subject).change
        return self._framed(clauses, frames().change) if clauses else None

    def _paraphrased_question(self, kind: str, subject: str) -> str | None:
        ways = self._paraphrases(kind, subject)
        if not ways.ask:
            return None
        way = self._rng.random()
        if way < 0.5:
            template = self._rng.choice(ways.ask)
        elif way < 0.75:
            template = self._rng.choice(frames().indirect).replace("{c}", self._rng.choice(ways.indirect))
        else:
            template = self._rng.choice(frames().noun).replace("{n}", self._rng.choice(ways.noun))
        return self._typed(_upper_first(template), _ASK_STARTS if way < 0.5 else ())

    def _paraphrases(self, kind: str, subject: str) -> Paraphrases:
        """Ways to speak of a kind, or none when it is not the turn of a paraphrase."""
        if not self._paraphrase_rate or self._rng.random() >= self._paraphrase_rate:
            return Paraphrases()
        return paraphrases(kind, subject == "me")

    def _framed(self, clauses: tuple[str, ...], around: tuple[str, ...]) -> str:
        """A clause as a sentence: half of the time in a frame."""
        clause = self._rng.choice(clauses)
        if self._rng.random() < 0.5:
            return self._typed(_upper_first(clause) + ".", _TELL_STARTS)
        frame = self._rng.choice(around)
        framed = _upper_first(frame.replace("{c}", _upper_first(clause) if frame.startswith("{c}") else clause))
        return self._typed(framed if framed[-1] in ".!?" else framed + ".", ())

    def _typed(self, template: str, starts: tuple[str, ...]) -> str:
        """``template`` as typed in a hurry, now and then. Values are filled in later, so they keep their spelling."""
        if self._rng.random() >= self._surface_rate:
            return template
        way = self._rng.random()
        if way < 0.25 and starts and template.split(" ")[0].lower().rstrip(",!") not in _OPENERS:
            return self._rng.choice(starts) + _lower_first(template)
        if way < 0.45:
            return contracted(template)
        if way < 0.65:
            return template.rstrip(".?!")
        return template.lower() if way < 0.85 else template.lower().rstrip(".?!")


def _upper_unless_typed(template: str, fact: Fact) -> str:
    """Fill the template; a value at its start gets a capital letter, as no template in lower case starts with one."""
    text = _fill(template, fact.subject, fact.value)
    return _upper_first(text) if template.startswith("{") else text


def _with_pronoun(template: str, fact: Fact) -> str:
    """Say "she" or "her" for somebody just spoken of, where the word for the person tells which."""
    subject = SUBJECT_OF.get(fact.subject)
    if subject is None or subject.pronoun is None or subject.possessive is None:
        return template
    for long, short in (("My {s}'s ", subject.possessive + " "), ("My {s} ", subject.pronoun + " ")):
        if template.startswith(long):
            return short + template.removeprefix(long)
    return template
