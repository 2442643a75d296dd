"""Questions that need steps: sums, comparisons, chains, counting, dates, over what was told in several messages.

Beside each stands a plain one that asks for what was told, so that a model has to tell the two apart.
"""

from __future__ import annotations

from collections.abc import Callable

from rxt.tasks.hybrid.arithmetic import MONTHS, added, later, later_in_steps, subtracted
from rxt.tasks.hybrid.threads import Ask, Telling, Thread
from rxt.tasks.hybrid.values import CITIES, DRINKS, EVENTS, JOBS, NAMES, OBJECTS, ROLES, THINGS, Draw

LEAST, MOST = 11, 99
"""Of the numbers that are told, so that two are never added by heart."""

COUNTING_TRIES = 100
"""Four people and two drinks have few combinations, of which perhaps none is the split's."""


def amounts(draw: Draw) -> Thread:
    """How many of two or three things somebody has."""
    things = draw.new(THINGS, draw.one((2, 2, 3)))
    numbers = draw.fitting("numbers", lambda: tuple(draw.rng.sample(range(LEAST, MOST + 1), len(things))))
    draw.use(*things)
    tellings: list[Telling] = []
    asks: list[Ask] = []
    for place, (thing, number) in enumerate(zip(things, numbers, strict=True)):
        said = (f"I have {number} {thing}.", f"There are {number} {thing} in my house.", f"I own {number} {thing}.")
        noted = (f"{number} {thing}, noted.", f"{number} {thing}, I see.", "Okay, I will remember that.")
        tellings.append(Telling(draw.one(said), draw.one(noted)))
        asks.append(_recall(f"How many {thing} do I have?", "You have {}.", str(number), thing, place))
    names = " and ".join([", ".join(things[:-1]), things[-1]])
    total, steps = numbers[0], list[str]()
    for number in numbers[1:]:
        steps.append(added(total, number))
        total += number
    recalled = ", ".join(f"{thing} {number}" for thing, number in zip(things, numbers, strict=True))
    together = (f"How many {names} do I have in all?", f"How many are my {names} together?")
    asks.append(_stepped("sum", draw.one(together), "That makes {}.", str(total), f"{recalled}. {'. '.join(steps)}"))
    (more, most), (fewer, least) = sorted(zip(things[:2], numbers[:2], strict=True), key=lambda pair: -pair[1])
    recalled = f"{more} {most}, {fewer} {least}"
    asked = f"How many more {more} than {fewer} do I have?"
    asks.append(_stepped("difference", asked, "{} more.", str(most - least), f"{recalled}. {subtracted(most, least)}"))
    either = f"Do I have more {things[0]} or more {things[1]}?"
    asks.append(_comparison(either, "More {}.", more, fewer, recalled, most, least))
    return Thread(tuple(tellings), tuple(asks))


def ages(draw: Draw) -> Thread:
    """How old two people are."""
    names = draw.new(NAMES, 2)
    numbers = draw.fitting("numbers", lambda: tuple(draw.rng.sample(range(LEAST, MOST + 1), 2)))
    draw.use(*names)
    tellings = [
        Telling(
            draw.one((f"{name} is {number} years old.", f"{name} turned {number} this year.")), f"{name} is {number}."
        )
        for name, number in zip(names, numbers, strict=True)
    ]
    (older, most), (younger, least) = sorted(zip(names, numbers, strict=True), key=lambda pair: -pair[1])
    recalled = f"{older} {most}, {younger} {least}"
    first, second = names
    return Thread(
        tuple(tellings),
        (
            _recall(f"How old is {first}?", f"{first} is {{}}.", str(numbers[0]), first, 0),
            _recall(f"How old is {second}?", f"{second} is {{}}.", str(numbers[1]), second, 1),
            _comparison(f"Who is older, {first} or {second}?", "{} is.", older, younger, recalled, most, least),
            _stepped(
                "difference",
                draw.one(
                    (f"How many years older is {older} than {younger}?", f"By how much is {older} the older one?")
                ),
                "By {} years.",
                str(most - least),
                f"{recalled}. {subtracted(most, least)}",
            ),
            _stepped(
                "sum",
                f"How old are {first} and {second} together?",
                "Together they are {}.",
                str(most + least),
                f"{recalled}. {added(most, least)}",
            ),
        ),
    )


def prices(draw: Draw) -> Thread:
    """What two things cost."""
    things = draw.new(OBJECTS, 2)
    numbers = draw.fitting("numbers", lambda: tuple(draw.rng.sample(range(LEAST, MOST + 1), 2)))
    draw.use(*things)
    tellings = [
        Telling(
            draw.one((f"The {thing} costs {number} euros.", f"They want {number} euros for the {thing}.")), "Noted."
        )
        for thing, number in zip(things, numbers, strict=True)
    ]
    (dear, most), (cheap, least) = sorted(zip(things, numbers, strict=True), key=lambda pair: -pair[1])
    recalled = f"{dear} {most}, {cheap} {least}"
    first, second = things
    return Thread(
        tuple(tellings),
        (
            _recall(f"What does the {first} cost?", "It costs {} euros.", str(numbers[0]), first, 0),
            _recall(f"What does the {second} cost?", "It costs {} euros.", str(numbers[1]), second, 1),
            _comparison(
                f"Which is dearer, the {first} or the {second}?", "The {}.", dear, cheap, recalled, most, least
            ),
            _stepped(
                "sum",
                f"What do the {first} and the {second} cost together?",
                "Together they cost {} euros.",
                str(most + least),
                f"{recalled}. {added(most, least)}",
            ),
        ),
    )


def chain(draw: Draw) -> Thread:
    """Who somebody is, and where that person lives, or what that person does."""
    name, other = draw.new(NAMES, 2)
    (role,) = draw.new(ROLES, 1)
    lives = draw.rng.random() < 0.6
    values = CITIES if lives else JOBS
    known, wrong = draw.fitting(f"chain {role} {lives}", lambda: draw.new(values, 2))
    draw.use(name, other, role, known, wrong)

    def fact(who: str, value: str) -> str:
        return f"{who} lives in {value}." if lives else f"{who} is a {value}."

    tellings = [
        Telling(draw.one((f"My {role} is called {name}.", f"{name} is my {role}.")), f"{name} is your {role}."),
        Telling(fact(other, wrong), draw.one(("I see.", "Good to know."))),
        Telling(fact(name, known), draw.one(("I see.", "Good to know."))),
    ]
    asked = f"Where does my {role} live?" if lives else f"What does my {role} do for a living?"
    answer = "In {}." if lives else "Your " + role + " is a {}."
    plainly = f"Where does {name} live?" if lives else f"What is {name} by profession?"
    return Thread(
        tuple(tellings),
        (
            _recall(f"Who is my {role}?", "{} is.", name, role, 0, 1 / len(NAMES)),
            _recall(plainly, answer, known, name, 2, 1 / len(values)),
            Ask(
                "chain",
                asked,
                answer.format(known),
                known,
                f"The {role} is {name}. {fact(name, known)} {known}",
                others=(wrong,),
                chance=1 / len(values),
                stepped=True,
            ),
        ),
    )


def counting(draw: Draw) -> Thread:
    """What some people drink, of whom some are to be counted."""
    people = draw.new(NAMES, 4)
    drinks = draw.new(DRINKS, 2)
    kind = f"counting {' '.join(sorted(drinks))}"
    likes = draw.fitting(kind, lambda: tuple(draw.rng.choices(drinks, k=len(people))), tries=COUNTING_TRIES)
    wanted = likes[0]
    draw.use(*people, *drinks)
    tellings = [
        Telling(draw.one((f"{name} drinks {drink}.", f"{name} always has {drink}.")), f"{drink.capitalize()}, okay.")
        for name, drink in zip(people, likes, strict=True)
    ]
    number, steps = 0, list[str]()
    for name, drink in zip(people, likes, strict=True):
        number += drink == wanted
        steps.append(f"{name} {drink}, {number}")
    somebody, last = people[-1], likes[-1]
    asked = draw.one((f"How many people drink {wanted}?", f"How many of them have {wanted}?"))
    return Thread(
        tuple(tellings),
        (
            Ask("count", asked, f"{number} of them.", str(number), ". ".join(steps), chance=0.25, stepped=True),
            _recall(
                f"What does {somebody} drink?",
                f"{somebody} drinks {{}}.",
                last,
                somebody,
                3,
                0.5,
                tuple({*drinks} - {last}),
            ),
        ),
    )


def dates(draw: Draw) -> Thread:
    """When something begins and how long it takes."""
    (event,) = draw.new(EVENTS, 1)
    month = draw.one(tuple(MONTHS))
    day, days = draw.fitting(f"dates {month}", lambda: (draw.rng.randint(1, 28), draw.rng.randint(LEAST, 28)))
    draw.use(event)
    begins, ends = f"{day} {month}", later(day, month, days)
    told = (f"My {event} begins on {begins}.", f"The {event} starts on {begins}.")
    return Thread(
        (
            Telling(draw.one(told), f"On {begins}, noted."),
            Telling(f"The {event} takes {days} days.", "Okay."),
        ),
        (
            _recall(f"When does my {event} begin?", "On {}.", begins, event, 0),
            _stepped(
                "date",
                draw.one((f"On what date is my {event} over?", f"When does my {event} end?")),
                "It ends on {}.",
                ends,
                f"{event} {begins}, {days} days. {later_in_steps(day, month, days)}",
            ),
        ),
    )


STEPS: tuple[Callable[[Draw], Thread], ...] = (amounts, ages, prices, chain, counting, dates)


def _recall(
    query: str,
    answer: str,
    value: str,
    about: str,
    place: int,
    chance: float = 0.0,
    others: tuple[str, ...] = (),
) -> Ask:
    """A question for what telling number ``place`` told."""
    return Ask(
        "recall",
        query,
        answer.format(value),
        value,
        f"{about}: {value}",
        others=others,
        chance=chance,
        told=place,
    )


def _stepped(kind: str, query: str, answer: str, value: str, think: str) -> Ask:
    return Ask(kind, query, answer.format(value), value, think, stepped=True)


def _comparison(query: str, answer: str, first: str, second: str, recalled: str, more: int, less: int) -> Ask:
    """Which of two is the greater one: ``first``."""
    think = f"{recalled}. {more} > {less}, so {first}"
    return Ask("comparison", query, answer.format(first), first, think, (second,), 0.5, stepped=True)
