"""Questions that a tool is needed for, with arguments that were told before."""

from __future__ import annotations

from datetime import datetime, timedelta

from rxt.tasks.hybrid.arithmetic import multiplied
from rxt.tasks.hybrid.details import DAYS
from rxt.tasks.hybrid.offered import Offered
from rxt.tasks.hybrid.questions import Calling
from rxt.tasks.hybrid.threads import Ask, Telling, Thread, without_tool
from rxt.tasks.hybrid.uses import Wanted
from rxt.tasks.hybrid.values import CITIES, NAMES, ROLES, SECRETS, Draw, number_of
from rxt.tools.calculator import calculate
from rxt.tools.tool import JsonValue, Tool

_SKIES = ("sunny", "cloudy", "rainy", "foggy", "windy", "snowy")
_REPLIES = ("Good to know.", "I see.", "Okay, noted.")


def use_thread(draw: Draw, found: Offered, there: bool = True) -> Thread:
    """What a tool's arguments are, and a question that it is needed for; ``there``: it is offered, too."""
    use = found.use
    assert use is not None

    def arguments() -> tuple[str | int, ...]:
        found: list[str | int] = []
        for each in use.arguments:
            values = each.values
            found.append(draw.one(values) if isinstance(values, range) else draw.new(values, 1)[0])
        return tuple(found) if len(set(found)) == len(found) else arguments()

    values = draw.fitting(f"tool {use.names[0]}", arguments)
    (who,), (role,) = draw.new(NAMES, 1), draw.new(ROLES, 1)
    of_oneself = [text for text in use.tellings if "{who}" not in text and "{role}" not in text]
    draw.new(of_oneself, len(of_oneself))  # nobody lives in two cities
    draw.use(*map(str, values), who, role, *of_oneself)
    fields = {**_result(use.names[0], values), "who": who, "role": role}
    tellings = tuple(Telling(text.format(*values, **fields), draw.one(_REPLIES)) for text in use.tellings)
    given: dict[str, JsonValue] = dict(zip(found.arguments, values, strict=True))
    result = use.result.format(*values, **fields)

    def ask(wanted: Wanted) -> Ask:
        query, value = wanted.query.format(*values, **fields), wanted.value.format(*values, **fields)
        if not there:
            return without_tool(query)
        calling = Calling(found.tool, given, result)
        return Ask("call", query, wanted.answer.format(*values, **fields), value, calling.thought, calling=calling)

    return Thread(tellings, (ask(draw.one(use.wanted)),))


def product_thread(draw: Draw, calculator: Tool | None) -> Thread:
    """A product of two told numbers: by the calculator where there is one, else in steps."""
    if draw.rng.random() < 0.5:
        number, times = draw.fitting("product", lambda: (draw.rng.randint(11, 99), 12))
        (name,) = draw.new(NAMES, 1)
        draw.use(name)
        told = (f"{name} has been with us for {number} years.",)
        query, answer = f"For how many months has {name} been with us?", "For {} months."
        about = f"{name} {number} years"
    else:
        number, times = draw.fitting("product", lambda: (draw.rng.randint(11, 99), draw.rng.randint(3, 9)))
        (place,) = draw.new(CITIES, 1)
        draw.use(place)
        told = (f"A ticket to {place} costs {number} euros.", f"We are {times} people who go to {place}.")
        query, answer = f"What do our tickets to {place} cost?", "They cost {} euros."
        about = f"ticket {number}, people {times}"
    expression, value = f"{number} * {times}", str(number * times)
    tellings = tuple(Telling(text, draw.one(_REPLIES)) for text in told)
    if calculator is None:
        think = f"{about}. {multiplied(number, times)}"
        return Thread(tellings, (Ask("product", query, answer.format(value), value, think, stepped=True),))
    calling = Calling(calculator, {"expression": expression}, calculate(expression))
    return Thread(tellings, (Ask("call", query, answer.format(value), value, calling.thought, calling=calling),))


def clock_thread(draw: Draw, clock: Tool | None) -> Thread:
    """The time or the day, for which nothing has to be told; None: there is no clock."""
    rng = draw.rng
    now = datetime(2026, 1, 1) + timedelta(minutes=rng.randrange(525_600))
    time, day = f"{now:%H:%M}", DAYS[now.weekday()]
    query, answer, value = rng.choice(
        (("What time is it?", "It is {}.", time), ("What day is it today?", "Today is {}.", day))
    )
    if clock is None:
        return Thread((), (without_tool(query),))
    calling = Calling(clock, {}, f"{now:%Y-%m-%d} {time}, {day}")
    return Thread((), (Ask("call", query, answer.format(value), value, calling.thought, calling=calling),))


def notebook_thread(draw: Draw, notebook: Tool) -> Thread:
    """A code that is told and to be noted, or one to be looked up."""
    (what,) = draw.new(SECRETS, 1)
    (code,) = draw.fitting("notebook", lambda: (str(draw.rng.randint(1_001, 9_999)),))
    draw.use(what)
    if draw.rng.random() < 0.7:
        given: dict[str, JsonValue] = {"action": "put", "key": what, "value": code}
        query, answer, result = f"Write my {what} into the notebook.", f"I noted {code}.", "noted"
        tellings = (Telling(f"My {what} is {code}.", draw.one(_REPLIES)),)
    else:
        given = {"action": "get", "key": what}
        query, answer, result = f"What does the notebook say about my {what}?", f"It says {code}.", code
        tellings = ()
    calling = Calling(notebook, given, result)
    return Thread(tellings, (Ask("call", query, answer, code, calling.thought, calling=calling),))


def _result(name: str, values: tuple[str | int, ...]) -> dict[str, str]:
    """The fields of a tool's result, which its arguments decide."""

    def number(low: int, high: int, about: str) -> int:
        return number_of(low, high, name, about, *values)

    syllables = ("ka", "lo", "mi", "ru", "ten", "vas", "pel", "sho")
    return {
        "n": str(number(2, 60, "n")),
        "m": str(number(61, 99, "m")),
        "time": f"{number(6, 22, 'hour'):02}:{number(0, 59, 'minute'):02}",
        "sky": _SKIES[number(0, len(_SKIES) - 1, "sky")],
        "town": CITIES[number(0, len(CITIES) - 1, "town")],
        "coined": "".join(syllables[number(0, 7, f"syllable {place}")] for place in range(3)),
    }
