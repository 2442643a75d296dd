"""The words of deeds: clauses that tell them, questions for each of their parts, and the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from rxt.data.records import Interaction
from rxt.tasks.deeds.deed import PEOPLE, PLACES, Deed, Tense
from rxt.tasks.deeds.verbs import Role
from rxt.tasks.open.frames import ASK, JOIN, NOTED, TELL, UNKNOWN
from rxt.tasks.open.grammar import Voice, choose, fill, sentence
from rxt.tasks.open.messages import Messages

_DOES: dict[Tense, tuple[str, ...]] = {
    "past": ("{S} PAST",),
    "present": ("{S} [BASE|THIRD]",),
    "now": ("{Sbe} ING",),
    "future": ("{Sbe} going to BASE", "{S} will BASE", "{Sbe} gonna BASE", "{S} [want|wants] to BASE"),
}
"""Who does it, in a clause."""
_DROPPED: dict[Tense, tuple[str, ...]] = {
    "past": ("PAST",),
    "present": ("I BASE",),
    "now": ("ING",),
    "future": ("gonna BASE", "going to BASE", "about to BASE", "will BASE"),
}
"""The same of oneself, by people in a hurry."""
_ASKS: dict[Tense, tuple[str, ...]] = {
    "past": ("did {S} BASE",),
    "present": ("[do|does] {S} BASE",),
    "now": ("{be} {S} ING",),
    "future": ("will {S} BASE", "{be} {S} going to BASE", "{be} {S} gonna BASE"),
}
_WHO: dict[Tense, tuple[str, ...]] = {
    "past": ("who PAST", "who was it that PAST"),
    "present": ("who THIRD",),
    "now": ("who is ING", "who's ING"),
    "future": ("who is going to BASE", "who will BASE", "who's gonna BASE"),
}
_WITHIN: dict[Tense, tuple[str, ...]] = {**_DOES, "future": ("{Sbe} going to BASE", "{S} will BASE")}
_QUESTIONS: dict[Role, tuple[str, ...]] = {
    "where": ("where ASK THING", "(in|at) (which|what) place ASK THING", "where ASK THING"),
    "when": ("when ASK THING", "when was it that DOES THING", "when exactly ASK THING"),
    "with": ("who ASK THING with", "with whom ASK THING", "who with ASK THING"),
    "why": ("why ASK THING", "how come DOES THING", "what's the reason DOES THING"),
    "count": ("how many {object} ASK",),
    "price": ("for how much ASK THING", "how much was it, THING", "what's the price when DOES THING"),
    "from": ("who ASK THING from", "from whom ASK THING"),
    "to": ("who ASK THING to", "to whom ASK THING"),
}
_PAID = ("how much did {S} pay for THING", "what did THING cost", "how much was THING", "the price of THING")
_EARNED = ("how much did {S} get for THING", "what did THING go for", "for how much did {S} sell THING")
_AGAIN: dict[Role, tuple[str, ...]] = {
    "where": ("(and |)where(| was that| exactly)", "where did that happen", "what place was that"),
    "when": ("(and |)when(| was that| exactly)", "what day or time was that", "and when, do you remember"),
    "with": ("(and |)who with", "with whom", "was somebody with [me|them]"),
    "why": ("(and |)why(| was that| though)", "how come", "for what reason"),
    "count": ("(and |)how many(| was it| again)",),
    "price": ("(and |)how much(| was it| again| was that)", "what was the price"),
    "from": ("(and |)(from whom|who from)",),
    "to": ("(and |)(to whom|who to)",),
    "who": ("(and |)who(| was that| was it| did that)", "who did that"),
    "object": ("(and |)what(| was it| exactly| was that)",),
}
"""Questions about what has just been spoken of."""
_THING: dict[Role, str] = {
    **{"where": "where DOES THING", "when": "when DOES THING", "with": "who DOES THING with"},
    **{"why": "why DOES THING", "count": "how many {object}", "price": "the price of THING"},
    **{"from": "who DOES THING from", "to": "who DOES THING to", "who": "who", "object": "what DOES"},
}
"""What is not known, as a part of a sentence."""
_CHANGES = (
    "(no wait|actually|sorry|wait|correction|update|scratch that|hang on|oh no|hm no)(,|:| -) {said}",
    "(I was wrong|my mistake|I mixed that up|that was wrong)(,|:|;) {said}",
    "{said}, (sorry|I mean|actually|I got that wrong)",
)
_SHORT_CHANGES = (
    "(no wait|actually|sorry|wait|correction|update|hang on|I mean)(,|:| -) (it('s| is|)|) {said}",
    "{said}, (sorry|I mean|actually|I got that wrong)",
    "make that {said}",
)


class Words(Messages):
    """Chooses the words."""

    def tell(self, deeds: Sequence[Deed], greeting: bool) -> Interaction:
        """A message that tells deeds, and an answer that names what was understood."""
        text = self.clause(deeds[0], "person")
        for before, deed in pairwise(deeds):
            alike = before.verb is deed.verb and before.tense == deed.tense
            gap = alike and not deed.subject.me and self.rng.random() < 0.5
            more = self._gapped(deed) if gap else self.clause(deed, "person")
            frame = choose(self.rng.choice(JOIN[:5]) if gap else self.rng.choice(JOIN), self.rng)
            text = frame.replace("{first}", text).replace("{second}", more)
        if len(deeds) == 1:
            text = choose(self.rng.choice(TELL), self.rng).replace("{clause}", text)
        deed = deeds[-1] if self.rng.random() < 0.3 else deeds[0]
        answer = self._noted(self.clause(deed, "model"), self.part(deed, "object"))
        return Interaction(self._send(text, deeds, greeting), answer)

    def change(self, deed: Deed, role: Role, just_told: bool) -> Interaction:
        """A message that a part of a deed is different."""
        if just_told and role != "object" and self.rng.random() < 0.7:
            said, frames = self._fill(self._short(deed, role), deed, "person"), _SHORT_CHANGES
        else:
            said, frames = self.clause(deed, "person", only=role), _CHANGES
        text = choose(self.rng.choice(frames), self.rng).replace("{said}", said)
        answer = self._noted(self.clause(deed, "model", only=role), self.part(deed, role))
        return Interaction(self._send(text, [deed], False), answer)

    def ask(self, deed: Deed, role: Role, known: bool, again: bool, also: Role | None = None) -> Interaction:
        """A question for a part of a deed.

        Args:
            known: it was told.
            again: the turn before spoke of this very deed.
            also: another part, that says which deed is meant.
        """
        question = self.rng.choice(_AGAIN[role]) if again else self._question(deed, role)
        if also is not None:
            question += " " + deed.parts[also].text
        text = choose(self.rng.choice(ASK), self.rng).replace("{question}", question)
        named = replace(deed, subject=deed.subject.in_short(self.rng))
        asked = self.typed(self._fill(text, named, "person"), "?", deed.kept)
        return Interaction(asked, self.answer(deed, role) if known else self._unknown(deed, role))

    def answer(self, deed: Deed, role: Role) -> str:
        """A part alone, or a sentence with it."""
        if self.rng.random() < 0.5:
            return _capital(self.part(deed, role))
        short = role not in ("object", "who", "count") and _is_it(deed) and self.rng.random() < 0.4
        thing = "it" if short else None
        return _capital(self.clause(deed, "model", only=role, thing=thing))

    def part(self, deed: Deed, role: Role) -> str:
        """A part in the model's words: "in the kitchen"."""
        return self._fill(self._short(deed, role), deed, "model")

    def clause(self, deed: Deed, voice: Voice, only: Role | None = None, thing: str | None = None) -> str:
        """Who does what, with all parts in any order, or with one of them alone; ``thing`` in place of the object."""
        roles: list[Role] = [role for role in deed.parts if role != "count" and (only is None or role == only)]
        self.rng.shuffle(roles)
        roles.sort(key=lambda role: role == "why")
        hurried = voice == "person" and deed.subject.me and self.rng.random() < 0.4
        does = self.rng.choice((_DROPPED if hurried else _DOES if voice == "person" else _WITHIN)[deed.tense])
        front = roles.pop(0) if voice == "person" and roles[:1] == ["when"] and self.rng.random() < 0.5 else None
        words = [deed.parts[front].text] if front else []
        words += [does, deed.verb.preposition, thing or deed.thing, *(deed.parts[role].text for role in roles)]
        return self._fill(" ".join(words), deed, voice)

    def _gapped(self, deed: Deed) -> str:
        """Without the verb, which was just said: "and Arvo badminton"."""
        parts = [part.text for role, part in deed.parts.items() if role != "count"]
        return self._fill(" ".join(("{S}", deed.thing, *parts)), deed, "person")

    def _question(self, deed: Deed, role: Role) -> str:
        preposition, rng = deed.verb.preposition, self.rng
        if role == "who":
            return f"{rng.choice(_WHO[deed.tense])} {preposition} {deed.thing}"
        if role == "object":
            if deed.kind in PLACES and preposition in ("to", "in", "at"):
                return "where ASK"
            return f"{'who' if deed.kind in PEOPLE else 'what'} ASK {preposition}"
        templates = _QUESTIONS[role]
        if role == "price" and deed.tense == "past":
            templates = _EARNED if deed.verb.base == "sell" else _PAID
        template = rng.choice(templates)
        thing = "the {object}" if "count" in deed.parts else deed.thing
        if role == "count":
            return f"{template} {preposition}"
        if template in (*_PAID, *_EARNED):
            return template.replace("THING", thing)
        return template.replace("THING", f"{preposition} {thing}")

    def _unknown(self, deed: Deed, role: Role) -> str:
        if role == "who":
            thing = f"{_WHO[deed.tense][0]} {deed.verb.preposition} {deed.thing}"
        else:
            before = f"{deed.verb.preposition} " if role != "price" else ""
            thing = _THING[role].replace("THING", before + deed.thing)
            thing += f" {deed.verb.preposition}" if role == "object" else ""
        text = choose(self.rng.choice(UNKNOWN), self.rng).replace("{thing}", thing)
        return _capital(self._fill(text, deed, "model"))

    def _short(self, deed: Deed, role: Role) -> str:
        if role == "object":
            return deed.thing
        return "{S}" if role == "who" else deed.parts[role].text

    def _noted(self, said: str, value: str) -> str:
        text = choose(self.rng.choice(NOTED), self.rng)
        return _capital(text.replace("{said}", said).replace("{v}", value))

    def _fill(self, template: str, deed: Deed, voice: Voice) -> str:
        verb = deed.verb
        template = template.replace("DOES", self.rng.choice(_WITHIN[deed.tense]))
        template = template.replace("ASK", self.rng.choice(_ASKS[deed.tense]))
        forms = (("BASE", verb.base), ("THIRD", verb.third), ("PAST", verb.past), ("ING", verb.ing))
        for form, word in forms:
            template = template.replace(form, word)
        values = {"object": deed.object, **{role: part.value for role, part in deed.parts.items()}}
        return fill(template, self.rng, deed.subject, voice, values)

    def _send(self, text: str, deeds: Sequence[Deed], greeting: bool) -> str:
        return self.sent(text, [word for deed in deeds for word in deed.kept], greeting)


def _is_it(deed: Deed) -> bool:
    """Whether a pronoun stands for the object where it would stand."""
    return deed.kind not in PEOPLE and "count" not in deed.parts and deed.verb.preposition != "up"


def _capital(text: str) -> str:
    return sentence(text).rstrip(".") + "."
