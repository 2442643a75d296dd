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
    """An argument of a tool: the names that it may have, the usual one first, and its values."""

    names: tuple[str, ...]
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
    """That it may have, the usual one first."""
    description: str
    arguments: tuple[Argument, ...]
    tellings: tuple[str, ...]
    """What is told before it is asked; every argument is told there, or stands in the question."""
    result: str
    wanted: tuple[Wanted, ...]


_CITY = Argument(("city", "place", "town"), CITIES)
_FROM = Argument(("from", "start", "origin"), CITIES)
_TO = Argument(("to", "goal", "target"), CITIES)
_LIVES = "I live in {0}."

USES = (
    Use(
        ("weather", "get_weather", "weather_now"),
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
        ("exchange", "convert_money", "to_currency"),
        "Euros in another currency.",
        (
            Argument(("euros", "amount", "sum"), range(11, 100)),
            Argument(("currency", "into", "unit"), CURRENCIES),
        ),
        ("I have saved {0} euros.",),
        "{m}",
        (Wanted("How much are my savings in {1}?", "They are {m} {1}.", "{m}"),),
    ),
    Use(
        ("convert", "convert_units", "length_in"),
        "Kilometres in another unit.",
        (Argument(("km", "length", "value"), range(11, 100)), Argument(("unit", "to", "into"), UNITS)),
        ("My way to work is {0} km long.",),
        "{m}",
        (Wanted("How long is my way to work in {1}?", "It is {m} {1} long.", "{m}"),),
    ),
    Use(
        ("translate", "dictionary", "word_in"),
        "A word in another language.",
        (Argument(("word", "text", "term"), WORDS), Argument(("language", "to", "into"), LANGUAGES)),
        ("I am learning {1}.",),
        "{coined}",
        (Wanted("What is {0} in the language that I am learning?", "It is {coined}.", "{coined}"),),
    ),
    Use(
        ("timer", "set_timer", "start_timer"),
        "Rings after some minutes.",
        (Argument(("minutes", "length", "after"), range(3, 60)),),
        ("My eggs take {0} minutes.",),
        "rings at {time}",
        (Wanted("Set a timer for my eggs.", "It rings at {time}.", "{time}"),),
    ),
    Use(
        ("taxi", "order_taxi", "call_cab"),
        "Sends a taxi to an address.",
        (Argument(("address", "to", "place"), HOTELS),),
        ("I am staying at the {0}.",),
        "car {m} comes in {n} minutes",
        (Wanted("Order a taxi to my hotel.", "It comes in {n} minutes.", "{n}"),),
    ),
    Use(
        ("message", "send_message", "text_to"),
        "Sends somebody a message.",
        (Argument(("to", "name", "receiver"), NAMES), Argument(("text", "message", "words"), MESSAGES)),
        ("My {role} is called {0}.",),
        "sent at {time}",
        (Wanted("Tell my {role} that {1}.", "Sent at {time}.", "{time}"),),
    ),
    Use(
        ("hours", "opening_hours", "shop_hours"),
        "When a shop is open.",
        (Argument(("shop", "name", "store"), SHOPS),),
        ("My favourite shop is the {0}.",),
        "until {time}",
        (Wanted("When does my favourite shop close?", "It closes at {time}.", "{time}"),),
    ),
    Use(
        ("trains", "next_train", "find_train"),
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
        ("library", "find_book", "book_search"),
        "Where a book stands in the library.",
        (Argument(("title", "book", "name"), TITLES),),
        ("I want to read {0}.",),
        "shelf {n}, {m} pages",
        (
            Wanted("Where in the library is the book that I want?", "On shelf {n}.", "{n}"),
            Wanted("How many pages has the book that I want?", "It has {m} pages.", "{m}"),
        ),
    ),
    Use(
        ("scores", "last_match", "team_score"),
        "The last match of a team.",
        (Argument(("team", "club", "name"), TEAMS),),
        ("I support the {0}.",),
        "{n} to {m}",
        (Wanted("How many points did my team make?", "They made {n}.", "{n}"),),
    ),
    Use(
        ("recipe", "find_recipe", "cooking_time"),
        "How to cook a dish.",
        (Argument(("dish", "meal", "name"), DISHES),),
        ("{who} loves {0}.",),
        "{n} minutes, {m} grams of salt",
        (Wanted("How long does it take to cook what {who} loves?", "It takes {n} minutes.", "{n}"),),
    ),
    Use(
        ("price", "shop_price", "cost_of"),
        "The price of a thing.",
        (Argument(("thing", "product", "name"), OBJECTS),),
        ("I want to buy a {0}.",),
        "{m} euros",
        (Wanted("What does the thing cost that I want to buy?", "It costs {m} euros.", "{m}"),),
    ),
    Use(
        ("parcel", "track_parcel", "where_is"),
        "Where a parcel is.",
        (Argument(("number", "parcel", "code"), range(1_001, 10_000)),),
        ("My parcel has the number {0}.",),
        "it is in {town}",
        (Wanted("Where is my parcel?", "It is in {town}.", "{town}"),),
    ),
)
"""Those that training knows."""

HELD_OUT = (
    Use(
        ("sunset", "sun_sets", "evening_light"),
        "When the sun sets in a city.",
        (_CITY,),
        (_LIVES,),
        "at {time}",
        (Wanted("When does the sun set where I live?", "It sets at {time}.", "{time}"),),
    ),
    Use(
        ("distance", "how_far", "road_length"),
        "The distance of two cities.",
        (_FROM, _TO),
        (_LIVES, "My {role} lives in {1}."),
        "{m} km",
        (Wanted("How far is it from me to my {role}?", "It is {m} km.", "{m}"),),
    ),
    Use(
        ("tickets", "match_tickets", "seats_left"),
        "How many tickets are left for a team's match.",
        (Argument(("team", "club", "name"), TEAMS),),
        ("I support the {0}.",),
        "{n} left",
        (Wanted("How many tickets are left for my team?", "There are {n} left.", "{n}"),),
    ),
    Use(
        ("calories", "energy_of", "dish_energy"),
        "How many calories a dish has.",
        (Argument(("dish", "meal", "name"), DISHES),),
        ("{who} loves {0}.",),
        "{m}",
        (Wanted("How many calories has what {who} loves?", "It has {m}.", "{m}"),),
    ),
)
"""Those that only tests know."""
