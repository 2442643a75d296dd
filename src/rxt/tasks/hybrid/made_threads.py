"""What is told of the things that made-up tools are about, and what is asked then.

Questions say what the description of a tool says. Beside each that a tool is needed for stand others of the same thing:
for what was told, which needs none, and for what no tool is there for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random

from rxt.tasks.hybrid.details import DAYS, TIMES, Detail, Value
from rxt.tasks.hybrid.made import Made, Topic
from rxt.tasks.hybrid.questions import Calling
from rxt.tasks.hybrid.threads import Ask, Telling, Thread, without_tool
from rxt.tasks.hybrid.topics import Wish
from rxt.tasks.hybrid.values import NAMES, Draw
from rxt.tools.tool import JsonValue, Tool, as_json

_REPLIES = ("Good to know.", "I see.", "Okay, noted.", "All right.")
_OF_OTHERS = 0.35
"""Of the things that are spoken of: somebody else's."""
_TOGETHER = 0.25
"""Of the messages: they tell two details."""
_RECALLED = 2
"""Details that are asked for, at most."""
_TRIES = 40
"""Few things have so few values that none fits the split: then something else is spoken of."""
_DONE = (
    ("done, number {v}", "Done, the number is {v}.", "number"),
    ("confirmed at {v}", "It was confirmed at {v}.", "time"),
    ("planned for {v}", "It is planned for {v}.", "day"),
    ("accepted, {v} euros", "Done, it costs {v} euros.", "euros"),
    ("request {v} received", "Done, it is request {v}.", "number"),
)
"""What comes of a tool that does something, and what is answered with it."""


def made_thread(draw: Draw, topic: Topic, tools: Sequence[tuple[Tool, Made]], missing: int) -> Thread:
    """What is told of somebody's thing, and questions: for each tool, ``missing`` ones for tools that are not there,
    and for what was told.

    Raises:
        NothingLeft: no values were found that the split may show.
    """
    rng = draw.rng
    it = f"my {topic.thing}"
    if rng.random() < _OF_OTHERS or not draw.is_new(it):
        (name,) = draw.new(NAMES, 1)
        draw.use(name)
        it = f"{name}'s {topic.thing}"
    drawn = draw.fitting(f"thing {topic.thing}", lambda: _values(draw, topic.details), _TRIES)
    draw.use(it, *map(str, drawn))
    values = {detail.meaning: value for detail, value in zip(topic.details, drawn, strict=True)}
    tellings, places = _tellings(rng, topic, values, it)
    asks: list[Ask] = []
    for tool, made in tools:
        said = [detail for _, detail in made.arguments if detail in topic.asked]
        query = _query(rng, made.wish, it, said, values)
        given: dict[str, JsonValue] = {name: values[detail.meaning] for name, detail in made.arguments}
        told = max(places.get(detail.meaning, 0) for _, detail in made.arguments)
        asks.append(_call(rng, made.wish, query, tool, given, told))
    there = [made.wish for _, made in tools]
    absent = [wish for wish in topic.wishes(draw) if wish not in there]
    for wish in rng.sample(absent, min(missing, len(absent))):
        said = rng.sample(topic.asked, rng.randint(0, len(topic.asked)))
        asks.append(without_tool(_query(rng, wish, it, said, values)))
    asks += [
        _recall(detail, values, it, places[detail.meaning])
        for detail in rng.sample(topic.told, min(_RECALLED, len(topic.told)))
    ]
    return Thread(tellings, tuple(asks))


def _values(draw: Draw, details: Iterable[Detail]) -> tuple[Value, ...]:
    """Each one that was not spoken of, if one is found soon; no two are alike."""
    found: list[Value] = []
    for detail in details:
        value: Value = draw.one(detail.values)
        for _ in range(5):
            if isinstance(value, bool) or (draw.is_new(str(value)) and value not in found):
                break
            value = draw.one(detail.values)
        found.append(value)
    return tuple(found)


def _text(detail: Detail, template: str, values: Mapping[str, Value], it: str) -> str:
    return detail.text(template, values[detail.meaning], it)


def _tellings(
    rng: Random, topic: Topic, values: Mapping[str, Value], it: str
) -> tuple[tuple[Telling, ...], dict[str, int]]:
    """Messages, and by what a detail means the number of the one that tells it."""
    left = rng.sample(topic.told, len(topic.told))
    tellings: list[Telling] = []
    places: dict[str, int] = {}
    while left:
        detail = left.pop()
        places[detail.meaning] = len(tellings)
        said = _text(detail, detail.told, values, it)
        if left and rng.random() < _TOGETHER:
            other = left.pop()
            places[other.meaning] = len(tellings)
            said = f"{said} {_text(other, other.told, values, 'it')}"
        tellings.append(Telling(said, rng.choice(_REPLIES)))
    return tuple(tellings), places


def _query(rng: Random, wish: Wish, it: str, said: Iterable[Detail], values: Mapping[str, Value]) -> str:
    """A wish in the words of a tool's description, with details that were not told before."""
    about = " ".join([it, *(_text(detail, detail.asked, values, it) for detail in said)])
    if wish.outcome is None:
        verb = wish.words
        return rng.choice((f"{verb.capitalize()} {about}.", f"Please {verb} {about}.", f"Can you {verb} {about}?"))
    asked = rng.choice(("What is the {} of {}?", "Tell me the {} of {}.", "I want to know the {} of {}."))
    return asked.format(wish.words, about)


def _call(rng: Random, wish: Wish, query: str, tool: Tool, given: Mapping[str, JsonValue], told: int) -> Ask:
    """A question that a tool is needed for, with a result that is drawn."""
    if wish.outcome is None:
        template, answer, outcome = rng.choice(_DONE)
        value = _drawn(rng, outcome)
        result = template.format(v=value)
    else:
        value, unit = _drawn(rng, wish.outcome), _unit(wish.outcome)
        answer = f"It is {{v}} {unit}.".replace(" .", ".")
        plain = f"{value} {unit}".strip()
        result = rng.choice((plain, f"{wish.words}: {plain}", as_json({wish.words.replace(" ", "_"): plain})))
    calling = Calling(tool, given, result)
    return Ask("call", query, answer.format(v=value), value, calling.thought, calling=calling, told=told)


def _drawn(rng: Random, outcome: str) -> str:
    if outcome == "time":
        return rng.choice(TIMES)
    if outcome == "day":
        return rng.choice(DAYS)
    return str(rng.randint(1_001, 9_999) if outcome == "number" else rng.randint(3, 99))


def _unit(outcome: str) -> str:
    return "" if outcome in ("time", "day", "number") else outcome


def _recall(detail: Detail, values: Mapping[str, Value], it: str, told: int) -> Ask:
    """A question for what was told, for which no tool is needed."""
    value, query = values[detail.meaning], _text(detail, detail.query, values, it)
    answer = _text(detail, detail.answer, values, it)
    right = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    others = ({"yes": "no", "no": "yes"}[right],) if isinstance(value, bool) else ()
    chance = 1 / len(detail.values) if detail.listed or isinstance(value, bool) else 0.0
    thought = f"{it}: {right}"
    return Ask("recall", query, answer[0].upper() + answer[1:], right, thought, others, chance, told=told)
