"""A deed: who does what, and what more is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal

from rxt.tasks.deeds.verbs import Role, Verb
from rxt.tasks.open.grammar import Subject
from rxt.tasks.open.values import Kind
from rxt.tasks.open.values.kinds import KINDS
from rxt.tasks.open.values.pick import listed

Tense = Literal["past", "present", "now", "future"]

_LISTED = {
    **{"repairable": "repairables", "tidyable": "tidyables", "washable": "washables", "grocery": "groceries"},
    **{"gift": "gifts", "collectable": "collectables", "makeable": "makeables", "growable": "growables"},
    **{"fetchable": "fetchables", "caller": "errand_calls", "topic": "topics", "many": "plurals"},
}
OBJECTS: Mapping[str, Kind] = {**KINDS, **{kind: Kind(listed(words)) for kind, words in _LISTED.items()}}
"""The kinds of what something is done to."""
_THE_OR_MY = ("appliance", "thing", "vehicle", "repairable", "tidyable", "washable", "fetchable", "project", "task")
_THE = ("room_of_house", "event", "caller", "trip")
_A_OR_THE = ("plant", "animal")
PLACES = frozenset(("place", "country", "venue", "employer", "school", "street"))
"""What "where" asks for, when somebody goes there."""
PEOPLE = frozenset(("person", "caller", "artist"))
"""Whom "who" asks for."""


@dataclass(frozen=True)
class Part:
    """What is said of a deed beside who does what: "in the kitchen"."""

    text: str
    """In the language of ``rxt.tasks.open.grammar``, with the role's name for the value: ``in the {where}``."""
    value: str
    changed: int | None = None
    """The turn that told that it is different now."""


@dataclass(frozen=True, eq=False)
class Deed:
    """Somebody does something to something."""

    subject: Subject
    verb: Verb
    tense: Tense
    kind: str
    """Of the object."""
    object: str
    article: str
    """Before the object, with a space after it: ``the``, ``{my}``, ``a`` or nothing."""
    parts: Mapping[Role, Part]
    turn: int
    """That told it."""

    @property
    def thing(self) -> str:
        """The object with its article or its number, in the language of ``grammar``."""
        return ("{count} " if "count" in self.parts else self.article) + "{object}"

    @property
    def kept(self) -> list[str]:
        """What must be spelled as it is."""
        people = [name for name in (self.subject.name,) if name]
        return [self.object, *people, *(part.value for part in self.parts.values())]

    def told(self, role: Role) -> int:
        """The turn that told this part as it is now."""
        changed = self.parts[role].changed if role in self.parts else None
        return self.turn if changed is None else changed

    def value(self, role: Role) -> str:
        """What a right answer to a question for this part holds."""
        if role == "object":
            return self.object
        if role == "who":
            return self.subject.name or self.subject.relative or "you"
        return self.parts[role].value


def article_for(kind: str, word: str, subject: Subject, rng: Random) -> str:
    """``the``, ``{my}``, ``a``, or nothing, as goes before such a thing."""
    if kind in _THE_OR_MY:
        return "{my} " if subject.me and rng.random() < 0.5 else "the "
    if kind in _THE:
        return "the "
    if kind in _A_OR_THE:
        return rng.choice(("a ", "the "))
    return rng.choice(("a ", "the ")) if kind == "gift" and not word.endswith("s") else ""
