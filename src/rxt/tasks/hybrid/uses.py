"""What tools are used for: how their arguments are told, how is asked for what they give, and what that is.

Braces hold the arguments by their places, ``{who}`` a name, ``{role}`` a relation, and fields of the result, which are
functions of the arguments: ``{n}`` (2 to 60), ``{m}`` (61 to 99), ``{time}``, ``{sky}``, ``{town}``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rxt.tasks.hybrid.values import (
    CITIES,
    CURRENCIES,
    DISHES,
    HOTELS,
    LANGUAGES,
    MESSAGES,
    NAMES,
    OBJECTS,
    SHOPS,
    TEAMS,
    TITLES,
    UNITS,
    WORDS,
)


@dataclass(frozen=True)
class Argument:
    """An argument of a tool: its usual name and words that others are made of, what a schema says of it, its values."""

    names: tuple[str, ...]
    meaning: str
    values: Sequence[str] | range
    """Numbers are integers in JSON too."""


@dataclass(frozen=True)
class Wanted:
    """What somebody asks of a tool's result."""

    query: str
    answer: str
    value: str


@dataclass(frozen=True)
class Use:
    """A tool, and what it is used for."""

    names: tuple[str, ...]
    """The usual one, and words that others are made of."""
    description: str
    arguments: tuple[Argument, ...]
    tellings: tuple[str, ...]
    """What is told before it is asked; every argument is told there, or stands in the question."""
    result: str
    wanted: tuple[Wanted, ...]


_CITY = Argument(("city", "place", "town", "location", "where"), "the city", CITIES)
_FROM = Argument(("from", "start", "origin", "departure"), "where it begins", CITIES)
_TO = Argument(("to", "goal", "target", "destination"), "where it ends", CITIES)
_LIVES = "I live in {0}."

USES = (
    Use(
        ("weather", "get weather", "weather now"),
        "The weather in a city.",
        (_CITY,),
        (_LIVES,),
        "{n} degrees, {sky}",
        (
            Wanted("How warm is it where I live?", "It is {n} degrees.", "{n}"),
            Wanted("What is the sky like where I live?", "It is {sky}.", "{sky}"),
        ),
    ),
    Use(
        ("exchange", "convert money", "to currency"),
        "Euros in another currency.",
        (
            Argument(("euros", "amount", "sum", "money"), "how many euros", range(11, 100)),
            Argument(("currency", "into", "unit", "money kind"), "the other currency", CURRENCIES),
        ),
        ("I have saved {0} euros.",),
        "{m}",
        (Wanted("How much are my savings in {1}?", "They are {m} {1}.", "{m}"),),
    ),
    Use(
        ("convert", "convert units", "length in"),
        "Kilometres in another unit.",
        (
            Argument(("km", "length", "value", "kilometres"), "how many kilometres", range(11, 100)),
            Argument(("unit", "to", "into", "measure"), "the other unit", UNITS),
        ),
        ("My way to work is {0} km long.",),
        "{m}",
        (Wanted("How long is my way to work in {1}?", "It is {m} {1} long.", "{m}"),),
    ),
    Use(
        ("translate", "dictionary", "word in"),
        "A word in another language.",
        (
            Argument(("word", "text", "term", "expression"), "the word", WORDS),
            Argument(("language", "to", "into", "tongue"), "the other language", LANGUAGES),
        ),
        ("I am learning {1}.",),
        "{coined}",
        (Wanted("What is {0} in the language that I am learning?", "It is {coined}.", "{coined}"),),
    ),
    Use(
        ("timer", "set timer", "start timer"),
        "Rings after some minutes.",
        (Argument(("minutes", "length", "after", "duration"), "after how many minutes", range(3, 60)),),
        ("My eggs take {0} minutes.",),
        "rings at {time}",
        (Wanted("Set a timer for my eggs.", "It rings at {time}.", "{time}"),),
    ),
    Use(
        ("taxi", "order taxi", "call cab"),
        "Sends a taxi to an address.",
        (Argument(("address", "to", "place", "pickup"), "where to", HOTELS),),
        ("I am staying at the {0}.",),
        "car {m} comes in {n} minutes",
        (Wanted("Order a taxi to my hotel.", "It comes in {n} minutes.", "{n}"),),
    ),
    Use(
        ("message", "send message", "text to"),
        "Sends somebody a message.",
        (
            Argument(("to", "name", "receiver", "recipient"), "who gets it", NAMES),
            Argument(("text", "message", "words", "content"), "what it says", MESSAGES),
        ),
        ("My {role} is called {0}.",),
        "sent at {time}",
        (Wanted("Tell my {role} that {1}.", "Sent at {time}.", "{time}"),),
    ),
    Use(
        ("hours", "opening hours", "shop hours"),
        "When a shop is open.",
        (Argument(("shop", "name", "store", "business"), "the shop", SHOPS),),
        ("My favourite shop is the {0}.",),
        "until {time}",
        (Wanted("When does my favourite shop close?", "It closes at {time}.", "{time}"),),
    ),
    Use(
        ("trains", "next train", "find train"),
        "The next train between two cities.",
        (_FROM, _TO),
        (_LIVES, "My {role} lives in {1}."),
        "{time}, platform {n}",
        (
            Wanted("When does the next train to my {role} leave?", "It leaves at {time}.", "{time}"),
            Wanted("From which platform goes the train to my {role}?", "From platform {n}.", "{n}"),
        ),
    ),
    Use(
        ("library", "find book", "book search"),
        "Where a book stands in the library.",
        (Argument(("title", "book", "name", "work"), "the title", TITLES),),
        ("I want to read {0}.",),
        "shelf {n}, {m} pages",
        (
            Wanted("Where in the library is the book that I want?", "On shelf {n}.", "{n}"),
            Wanted("How many pages has the book that I want?", "It has {m} pages.", "{m}"),
        ),
    ),
    Use(
        ("scores", "last match", "team score"),
        "The last match of a team.",
        (Argument(("team", "club", "name", "squad"), "the team", TEAMS),),
        ("I support the {0}.",),
        "{n} to {m}",
        (Wanted("How many points did my team make?", "They made {n}.", "{n}"),),
    ),
    Use(
        ("recipe", "find recipe", "cooking time"),
        "How to cook a dish.",
        (Argument(("dish", "meal", "name", "food"), "the dish", DISHES),),
        ("{who} loves {0}.",),
        "{n} minutes, {m} grams of salt",
        (Wanted("How long does it take to cook what {who} loves?", "It takes {n} minutes.", "{n}"),),
    ),
    Use(
        ("price", "shop price", "cost of"),
        "The price of a thing.",
        (Argument(("thing", "product", "name", "item"), "the thing", OBJECTS),),
        ("I want to buy a {0}.",),
        "{m} euros",
        (Wanted("What does the thing cost that I want to buy?", "It costs {m} euros.", "{m}"),),
    ),
    Use(
        ("parcel", "track parcel", "where is"),
        "Where a parcel is.",
        (Argument(("number", "parcel", "code", "id"), "its number", range(1_001, 10_000)),),
        ("My parcel has the number {0}.",),
        "it is in {town}",
        (Wanted("Where is my parcel?", "It is in {town}.", "{town}"),),
    ),
)
"""Those that training knows."""

HELD_OUT = (
    Use(
        ("sunset", "sun sets", "evening light"),
        "When the sun sets in a city.",
        (_CITY,),
        (_LIVES,),
        "at {time}",
        (Wanted("When does the sun set where I live?", "It sets at {time}.", "{time}"),),
    ),
    Use(
        ("distance", "how far", "road length"),
        "The distance of two cities.",
        (_FROM, _TO),
        (_LIVES, "My {role} lives in {1}."),
        "{m} km",
        (Wanted("How far is it from me to my {role}?", "It is {m} km.", "{m}"),),
    ),
    Use(
        ("tickets", "match tickets", "seats left"),
        "How many tickets are left for a team's match.",
        (Argument(("team", "club", "name", "squad"), "the team", TEAMS),),
        ("I support the {0}.",),
        "{n} left",
        (Wanted("How many tickets are left for my team?", "There are {n} left.", "{n}"),),
    ),
    Use(
        ("calories", "energy of", "dish energy"),
        "How many calories a dish has.",
        (Argument(("dish", "meal", "name", "food"), "the dish", DISHES),),
        ("{who} loves {0}.",),
        "{m}",
        (Wanted("How many calories has what {who} loves?", "It has {m}.", "{m}"),),
    ),
)
"""Those that only tests know."""
