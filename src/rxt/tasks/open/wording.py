"""The words of one conversation: what the person types and what the model answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from rxt.data.records import Interaction
from rxt.tasks.open.fillers import FILLERS_AFTER, FILLERS_BEFORE, OPENINGS
from rxt.tasks.open.frames import (
    ANSWER,
    ASK,
    ASK_BY_THING,
    CHANGE,
    CHANGE_CLAUSE,
    CHANGED,
    JOIN,
    NOTED,
    NOTED_SEVERAL,
    TELL,
    TELL_BY_THING,
    UNKNOWN,
)
from rxt.tasks.open.grammar import Subject, Voice, fill, sentence
from rxt.tasks.open.relation import Relation
from rxt.tasks.open.small_talk import SMALL_TALK
from rxt.tasks.open.typists import Typist
from rxt.tasks.open.values.kinds import KINDS


@dataclass(frozen=True, eq=False)
class Fact:
    """Something that was told."""

    relation: Relation
    subject: Subject
    about: str | None
    value: str
    """Empty: that there is no such thing."""
    turn: int
    old: str | None = None
    """The value before it changed."""

    @property
    def key(self) -> tuple[str, Subject, str | None]:
        """What it tells; a later fact of the same key is in its place."""
        return self.relation.name, self.subject, self.about

    @property
    def kept(self) -> list[str]:
        """What must be spelled as it is."""
        return [word for word in (self.value, self.about, self.old, self.subject.name) if word]


@dataclass
class Wording:
    """Chooses the words, of which ``typist`` types the person's."""

    rng: Random
    typist: Typist
    small_talk_rate: float = 0.12
    """How often a fact stands inside small talk."""
    by_thing: float = 0.3
    """How often a fact is told or asked for by its noun rather than by a clause of its own."""

    def small_talk(self) -> Interaction:
        """A turn that tells nothing."""
        message, answer = self.rng.choice(SMALL_TALK)
        return Interaction(self._type(self._plain(message, "person"), ".", ()), sentence(self._plain(answer, "model")))

    def tell(self, facts: Sequence[Fact], greeting: bool) -> Interaction:
        """A message that tells one fact or more, and an answer that names what was understood."""
        clauses = [self._clause(facts[0])]
        for before, fact in pairwise(facts):
            clauses.append(self._clause(fact, again=fact.subject == before.subject))
        if len(facts) == 1:
            text = self._frame(TELL, facts[0], "person", {"clause": clauses[0]})
            answer = self._about(NOTED, facts[0])
        else:
            text = clauses[0]
            for clause in clauses[1:]:
                text = self._join(text, clause)
            answer = self._noted_several(facts)
        return Interaction(self._send(text, facts, greeting), answer)

    def change(self, fact: Fact) -> Interaction:
        """A message that a fact has another value now."""
        clause = self._words(self.rng.choice((*fact.relation.tell, *fact.relation.change * 2)), fact, "person")
        changed = self.rng.choice(fact.relation.change) if fact.relation.change and self.rng.random() < 0.3 else None
        frames = CHANGE if KINDS[fact.relation.value].noun else CHANGE_CLAUSE
        text = (
            self._words(changed, fact, "person")
            if changed
            else self._frame(frames, fact, "person", {"clause": clause, "now": "" if "now" in clause else " now"})
        )
        return Interaction(self._send(text, [fact], False), self._about(CHANGED, fact))

    def deny(self, fact: Fact) -> Interaction:
        """A message that there is no such thing."""
        text = self._frame(TELL, fact, "person", {"clause": self._words(self._pick(fact.relation.deny), fact)})
        return Interaction(
            self._send(text, [fact], False), self._denied(fact, ("(ok|okay|noted|got it|I see), {said}",))
        )

    def ask(self, fact: Fact, again: bool = False) -> Interaction:
        """A question for the value of a fact that was told, with its answer; ``again``: of whom was just spoken."""
        answer = self.answer(fact) if fact.value else self._denied(fact, ("{said}", "no, {said}"))
        return Interaction(self._question(fact, again), answer)

    def answer(self, fact: Fact) -> str:
        """What the model answers to a question for the value of a fact."""
        return self._about(ANSWER, fact)

    def unknown(self, fact: Fact) -> str:
        """What the model answers to a question for what was never told."""
        return self._about(UNKNOWN, fact)

    def find(self, fact: Fact) -> Interaction:
        """A question by the value, for whose it is."""
        text = self._frame(ASK, fact, "person", {"question": self._words(self._pick(fact.relation.find), fact)})
        found = self._words(self._pick(fact.relation.found), fact, "model")
        return Interaction(self._type(text, "?", fact.kept), sentence(found) + ".")

    def ask_never_told(self, fact: Fact) -> Interaction:
        """A question for what was not told; the fact has no value."""
        return Interaction(self._question(fact), self.unknown(fact))

    def _question(self, fact: Fact, again: bool = False) -> str:
        if fact.relation.ask and self.rng.random() >= self.by_thing:
            question = self._words(self._pick(fact.relation.ask), fact, again=again)
            text = self._frame(ASK, fact, "person", {"question": question})
        else:
            text = self._words(self.rng.choice(ASK_BY_THING), fact, again=again)
        demands = text.startswith(("remind", "tell", "I've", "I have"))
        return self._type(text, "." if demands and self.rng.random() < 0.7 else "?", fact.kept)

    def _clause(self, fact: Fact, again: bool = False) -> str:
        tell = fact.relation.tell
        if KINDS[fact.relation.value].noun and self.rng.random() < self.by_thing / 2:
            tell = TELL_BY_THING
        return self._words(self._pick(tell), fact, again=again)

    def _send(self, text: str, facts: Sequence[Fact], greeting: bool) -> str:
        """A message with what surrounds it."""
        kept = [word for fact in facts for word in fact.kept]
        if greeting and self.rng.random() < 0.5:
            text = f"{self._plain(self.rng.choice(OPENINGS), 'person')}{self._gap()}{text}"
        elif self.rng.random() < self.small_talk_rate:
            filler = self._plain(self.rng.choice(FILLERS_BEFORE), "person")
            text = f"{filler}{self._gap()}{text}"
        elif self.rng.random() < self.small_talk_rate:
            filler = self._plain(self.rng.choice(FILLERS_AFTER), "person")
            text = f"{text}{' ' if text.endswith('?') else self.rng.choice(('. ', ', ', ' - '))}{filler}"
        return self._type(text, "!" if self.rng.random() < 0.08 else ".", kept)

    def _gap(self) -> str:
        return self.rng.choice((". ", ", ", "! ", " - ", ", ", ". ", " "))

    def _type(self, text: str, ends: str, kept: Sequence[str]) -> str:
        ends = "" if text.endswith(("?", "!", ".")) else ends
        return self.typist.type(_capitals(text), ends, kept, self.rng)

    def _join(self, first: str, second: str) -> str:
        frame = self.rng.choice(JOIN)
        return self._plain(frame, "person", {"first": first, "second": second})

    def _noted_several(self, facts: Sequence[Fact]) -> str:
        first, *rest = ([self._said(fact), fact.value] for fact in facts)
        for more in rest:
            frame = self.rng.choice(NOTED_SEVERAL)
            words = {"first": first[0], "first_v": first[1], "second": more[0], "second_v": more[1]}
            text = self._plain(frame, "model", words)
            first = [text, text]
        return _capitals(first[0]) + "."

    def _denied(self, fact: Fact, choices: Sequence[str]) -> str:
        said = self._words(self._pick(fact.relation.denied), fact, "model")
        return _capitals(self._plain(self.rng.choice(choices), "model", {"said": said})) + "."

    def _about(self, choices: Sequence[str], fact: Fact) -> str:
        """An answer made of a frame."""
        said = self._said(fact) if fact.value else ""
        return _capitals(self._frame(choices, fact, "model", {"said": said})) + "."

    def _said(self, fact: Fact) -> str:
        return self._words(self._pick(fact.relation.say), fact, "model")

    def _frame(self, choices: Sequence[str], fact: Fact, voice: Voice, more: dict[str, str]) -> str:
        return self._words(self.rng.choice(choices), fact, voice, more)

    def _words(
        self,
        template: str,
        fact: Fact,
        voice: Voice = "person",
        more: Mapping[str, str] | None = None,
        again: bool = False,
    ) -> str:
        values = {"v": fact.value, "a": fact.about or "", "old": fact.old or "", **(more or {})}
        if "{thing}" in template:
            values["thing"] = fill(fact.relation.thing, self.rng, fact.subject, voice, values, again)
        return fill(template, self.rng, fact.subject, voice, values, again)

    def _plain(self, template: str, voice: Voice, words: dict[str, str] | None = None) -> str:
        return fill(template, self.rng, Subject(), voice, words or {})

    def _pick(self, templates: Sequence[str]) -> str:
        return templates[int(self.rng.random() * len(templates))]


def _capitals(text: str) -> str:
    """With a capital at the beginning of every sentence."""
    parts = text.split(". ")
    return ". ".join(sentence(part) if len(part) > 3 or not index else part for index, part in enumerate(parts))
