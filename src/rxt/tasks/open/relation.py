"""A kind of fact and the words for it. To add one, write five lines into a file of ``relations``::

    Relation("dog", "pet", "{s} dog's name",
             tell=("{Sve} got a dog (called|named) {v}", "{v} is {s} dog"),
             ask=("what did {S} (name|call) {my} dog",),
             find=("who('s| is) {v}",), found=("{v} is {s} dog",))

The language of the templates is explained in ``grammar``. They have no capital at the beginning and no full stop at the
end, because people leave them out; what is asked gets its question mark later. Beside these words there are frames
for every relation, made of ``thing``: "{thing} is {v}", "what's {thing}", "do you remember {thing}", "I don't know
{thing}".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Whose = Literal["anyone", "me", "others", "relatives"]
"""Whose fact it can be: mine and other people's; mine alone ("my flight"); other people's alone; of those who have been
given no name alone ("my sister's name")."""


@dataclass(frozen=True)
class Relation:
    """A kind of fact: whose, about what, and what is told."""

    name: str
    value: str
    """The kind of value, of ``values.KINDS``."""
    thing: str
    """What it is called as a noun: "{s} favourite colour", "the code of {s} {a}", "the date of {s} {a}"."""
    tell: tuple[str, ...]
    """Clauses that say it, in the person's words."""
    ask: tuple[str, ...] = ()
    """Questions for the value, in the person's words."""
    say: tuple[str, ...] = ("{thing} is {v}",)
    """Whole sentences that answer, in the model's words: "{S} [play|plays] {v}"."""
    find: tuple[str, ...] = ()
    """Questions by the value, in the person's words: "who [play|plays] {v}"; they hold ``{v}`` and neither ``{a}`` nor
    ``{s}``, which is what is asked for."""
    found: tuple[str, ...] = ()
    """Answers to them, in the model's words; they name whose it is, or what it is about."""
    about: str | None = None
    """The kind of what the fact is about beside a person ("thing": a passport; "event": the dentist), where there is
    more than one of them."""
    whose: Whose = "anyone"
    change: tuple[str, ...] = ()
    """Clauses that say that it is different now, beside the frames for any change; they may name ``{old}``."""
    changes: bool = True
    """Whether it can change at all: a birthday cannot."""
    deny: tuple[str, ...] = ()
    """Clauses by which the person says that there is no such thing: "{S} [don't|doesn't] have a dog"."""
    denied: tuple[str, ...] = ()
    """What the model answers then, when it is asked: "{S} [don't|doesn't] have a dog"."""
    likely: float = 1.0
    """How often it is spoken of beside the others."""
