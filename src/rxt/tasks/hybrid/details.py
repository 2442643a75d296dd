"""What can be told of the things that made-up tools are about, and be an argument of a tool.

In texts ``{it}`` is the thing as one speaks of it (``my sauna``, ``Ann's sauna``), ``{It}`` the same at the beginning
of a sentence, and ``{v}`` the detail's value. What is true or false has two texts with ``|`` between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rxt.tasks.hybrid.values import CITIES, phrases, words

DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
COATS = words("black white brown grey golden spotted striped reddish")
COLOURS = words("red blue green yellow black white brown grey orange purple silver pink")
MATERIALS = words("oak pine steel bamboo glass marble walnut iron stone bronze birch concrete")
BRANDS = words("Korva Lumo Tarvik Zenit Belmar Osta Pirelo Nordal Quanta Vesper Halden Ekko Rodan Sirio Altea")
PET_NAMES = words("Pixel Biscuit Momo Sultan Pepper Nelson Waffle Bruno Cleo Ziggy Olive Rufus Tinka Mango Flo")
FOODS = words("hay seeds corn oats lettuce worms clover barley grass insects pellets berries")
TIMES = tuple(f"{hour:02}:{minute:02}" for hour in range(6, 23) for minute in range(0, 60, 5))
DECIMALS = tuple(tenths / 10 for tenths in range(11, 100) if tenths % 10)
PRICES = tuple(tenths / 10 for tenths in range(105, 1_000, 5) if tenths % 10)
NUMBERS = range(1_001, 10_000)

Value = bool | int | float | str
Values = Sequence[str] | Sequence[float] | Sequence[bool] | range


@dataclass(frozen=True)
class Detail:
    """What can be told of a thing, and be an argument of a tool."""

    names: tuple[str, ...]
    """Words that an argument with it may be called by."""
    meaning: str
    """How a schema describes it."""
    values: Values
    told: str
    asked: str
    """How a question says it; empty where it has to be told."""
    query: str
    answer: str
    listed: bool = False
    """A schema may list its values."""

    def text(self, template: str, value: Value, it: str) -> str:
        """One of its texts."""
        true, either, false = template.partition("|")
        template = false if either and not value else true
        return template.format(v=value, it=it, It=it[0].upper() + it[1:])


def detail(
    names: str, meaning: str, values: Values, told: str, asked: str, query: str, answer: str, listed: bool = False
) -> Detail:
    """A detail; its names are divided by commas."""
    return Detail(phrases(names), meaning, values, told, asked, query, answer, listed)


def town(told: str, asked: str, query: str, answer: str = "In {v}.") -> Detail:
    """A town."""
    return detail("town, city, location, place, village, site", "the town", CITIES, told, asked, query, answer)


def day(told: str, asked: str, query: str) -> Detail:
    """A day of the week."""
    names = "day, weekday, day of week, which day, on day"
    return detail(names, "the day of the week", DAYS, told, asked, query, "On {v}.", listed=True)


def time(told: str, asked: str, query: str) -> Detail:
    """A time of the day."""
    names = "time, hour, clock time, time of day, at time"
    return detail(names, "the time of day", TIMES, told, asked, query, "At {v}.")


def people(told: str, query: str) -> Detail:
    """How many people."""
    names = "people, guests, persons, party size, group size, head count, visitors, number of people"
    return detail(names, "how many people", range(3, 40), told, "for {v} people", query, "For {v} people.")


def number() -> Detail:
    """The number that a thing has."""
    names = "number, id, code, reference, registration number"
    texts = "{It} has the number {v}.", "", "What number does {it} have?", "It has the number {v}."
    return detail(names, "its number", NUMBERS, *texts)


def colour(told: str, asked: str, query: str) -> Detail:
    """A colour."""
    names = "colour, color, shade, tint"
    return detail(names, "the colour", COLOURS, told, asked, query, "{v}.", listed=True)


def age() -> Detail:
    """An age in years."""
    texts = "{It} is {v} years old.", "", "How old is {it}?", "{v} years old."
    return detail("age, years, years old, age in years", "its age in years", range(2, 20), *texts)


def weight() -> Detail:
    """A weight."""
    texts = "{It} weighs {v} kilos.", "", "How heavy is {it}?", "{v} kilos."
    return detail("weight, kilos, mass, kg, how heavy", "its weight in kilos", DECIMALS, *texts)


def budget() -> Detail:
    """What a thing may cost."""
    texts = "{It} may cost {v} euros.", "for {v} euros at most", "How much may {it} cost?", "{v} euros."
    return detail("budget, most euros, price limit, euros, money", "the most it may cost", PRICES, *texts)


def having(extras: str) -> tuple[Detail, ...]:
    """For each extra: the thing should have it or not."""
    return tuple(
        detail(
            f"{extra}, with {extra}, needs {extra}, want {extra}",
            f"whether it should have {extra}",
            (True, False),
            f"{{It}} should have {extra}.|{{It}} should have no {extra}.",
            f"with {extra}|without {extra}",
            f"Should {{it}} have {extra}, yes or no?",
            f"Yes, with {extra}.|No, without {extra}.",
        )
        for extra in phrases(extras)
    )


def being(states: str) -> tuple[Detail, ...]:
    """For each state: the thing is in it or not."""
    return tuple(
        detail(
            f"{state}, is {state}, already {state}, was {state}",
            f"whether it is {state}",
            (True, False),
            f"{{It}} is {state}.|{{It}} is not {state}.",
            "",
            f"Is {{it}} {state}?",
            f"Yes, it is {state}.|No, it is not {state}.",
        )
        for state in phrases(states)
    )
