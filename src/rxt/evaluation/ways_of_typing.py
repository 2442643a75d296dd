"""The same facts of ten people, typed in the ways that people and their telephones type."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

PEOPLE = (
    ("Anna", "Paris", "Rex"),
    ("Tom", "London", "Bella"),
    ("Nguyễn", "Hanoi", "Mochi"),
    ("Oluwaseun", "Ibadan", "Biscuit"),
    ("Ingrid", "Tromsø", "Fenrir"),
    ("Xochitl", "Oaxaca", "Taco"),
    ("Dmitri", "Omsk", "Laika"),
    ("Vrelkit", "Osmolanda", "Plomp"),
    ("Priya", "Pune", "Ladoo"),
    ("María José", "Cádiz", "Canela"),
)
"""Name, city and dog."""

FACTS = (
    ("My name is {0}.", "What's my name?"),
    ("I live in {1}.", "Where do I live?"),
    ("My dog's name is {2}.", "What's my dog's name?"),
)
"""What is told and what is asked, of each person."""

WAYS: Mapping[str, Callable[[str], str]] = {
    "as written": lambda text: text,
    "lower case": str.lower,
    "lower case, no stops": lambda text: text.lower().rstrip(".?"),
    "no stops": lambda text: text.rstrip(".?"),
    "capitals": str.upper,
    "curly apostrophe": lambda text: text.replace("'", "’"),
    "no apostrophe": lambda text: text.replace("'", ""),
    "emoji": lambda text: text + " 😊",
    "doubled signs": lambda text: text + text[-1] * 2,
    "doubled spaces": lambda text: text.replace(" ", "  "),
    "spaces around": lambda text: f"  {text} ",
    "quotes": lambda text: f'"{text}"',
}


@dataclass(frozen=True)
class TypedFact:
    """A fact told and asked in one way of typing; ``must`` is searched in the answer."""

    way: str
    told: str
    question: str
    must: re.Pattern[str]


def typed_facts() -> tuple[TypedFact, ...]:
    """Every fact of every person in every way."""
    return tuple(
        TypedFact(way, typed(told.format(*person)), typed(asked), _named(person[fact]))
        for way, typed in WAYS.items()
        for person in PEOPLE
        for fact, (told, asked) in enumerate(FACTS)
    )


def _named(value: str) -> re.Pattern[str]:
    """The value as whole words, in any case, with any number of spaces between them."""
    return re.compile(r"\b" + r"\s+".join(map(re.escape, value.split())) + r"\b", re.IGNORECASE)
