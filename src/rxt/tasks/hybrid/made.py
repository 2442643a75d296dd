"""Tools that are made up for one conversation.

What such a tool does is said by its description alone: its name, the names of its arguments, their types and how many
there are, are drawn. Some names, some things and some combinations of a thing and a wish are of one split alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from rxt.tasks.hybrid.details import Detail
from rxt.tasks.hybrid.naming import Style, argument_name, argument_nonsense, style_of, tool_name
from rxt.tasks.hybrid.topics import KINDS, Kind, Wish
from rxt.tasks.hybrid.values import Draw, split_of
from rxt.tools.tool import JsonValue, Tool

_FEWEST, _MOST = 2, 3
"""Details of a thing besides what is true or false of it."""
_FLAG_RATE = 0.35
"""Of the things: something is true of them or false."""
_IN_QUESTION = 0.3
"""Of the details that a question can say itself: they are not told before."""
_LISTED = 0.6
"""Of the details of few values: the schema lists some of them, and no other is told."""
_DESCRIBED = 0.2
"""Of the arguments whose name says what they are: the schema does, too."""
_OPTIONAL = 0.25
"""Of the arguments after the first: not required, though told and so to be given."""
_UNTOLD = 0.15
"""Of the tools: one more argument that is not required, and that nothing is told for."""
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


class ComposedTool(Tool):
    """A tool whose schema is right by construction: it is checked when it is first used, not as it is made, which would
    take longer than all else of a conversation."""

    def __post_init__(self) -> None:
        """Nothing to check."""


@dataclass(frozen=True)
class Topic:
    """A thing that tools of a conversation are about, and what of it matters."""

    kind: Kind
    thing: str
    told: tuple[Detail, ...]
    """Told before anything is asked; one at least."""
    asked: tuple[Detail, ...]
    """Said in the questions that need them."""

    @property
    def details(self) -> tuple[Detail, ...]:
        """All that matters."""
        return *self.told, *self.asked

    def wishes(self, draw: Draw) -> list[Wish]:
        """What the split may show to be wanted of it."""
        return [wish for wish in self.kind.wishes if split_of("wish", self.thing, wish.words) == draw.split]


@dataclass(frozen=True)
class Made:
    """What a made-up tool is for."""

    topic: Topic
    wish: Wish
    arguments: tuple[tuple[str, Detail], ...]
    """Those that are to be given, by their names."""


def draw_topic(draw: Draw) -> Topic:
    """A thing that is spoken of for the first time, and of which the split may show something to be wanted."""
    rng = draw.rng
    kind = rng.choice(KINDS)
    (thing,) = draw.new(kind.things, 1)
    details = rng.sample(kind.details, rng.randint(_FEWEST, _MOST))
    if rng.random() < _FLAG_RATE:
        details.append(rng.choice(kind.flags))
    details = [_narrowed(rng, detail) for detail in details]
    asked = [detail for detail in details[1:] if detail.asked and rng.random() < _IN_QUESTION]
    topic = Topic(kind, thing, tuple(detail for detail in details if detail not in asked), tuple(asked))
    if not topic.wishes(draw):
        return draw_topic(draw)
    draw.use(thing)
    return topic


def make_tool(draw: Draw, topic: Topic, wish: Wish, nonsense_rate: float) -> tuple[ComposedTool, Made]:
    """A tool for a wish, of one to three arguments; one at least is told."""
    rng, style = draw.rng, style_of(draw.rng)
    first = rng.choice(topic.told)
    others = [detail for detail in topic.details if detail is not first]
    given = [first, *rng.sample(others, rng.randint(0, min(2, len(others))))]
    optional = [detail for detail in given[1:] if rng.random() < _OPTIONAL]
    rng.shuffle(given)
    known = {detail.meaning for detail in topic.details}
    if rng.random() < _UNTOLD:
        further = [detail for detail in topic.kind.details if detail.meaning not in known]
        optional.append(_narrowed(rng, rng.choice(further)))
    named: dict[str, Detail] = {}
    properties: dict[str, JsonValue] = {}
    for detail in (*given, *(detail for detail in optional if detail not in given)):
        name, described = _argument(draw, style, detail, nonsense_rate, named)
        named[name] = detail
        properties[name] = _schema(detail, described)
    required = [name for name, detail in named.items() if detail not in optional]
    parameters: dict[str, JsonValue] = {"type": "object", "properties": properties, "required": required}
    name = tool_name(rng, draw.split, style, _phrases_of(wish, topic.thing), nonsense_rate)
    arguments = tuple((name, detail) for name, detail in named.items() if detail in given)
    return ComposedTool(name, _description(rng, wish, topic.thing), parameters), Made(topic, wish, arguments)


def _narrowed(rng: Random, detail: Detail) -> Detail:
    """Where a schema is to list its values: of a few of them."""
    if not detail.listed:
        return detail
    if rng.random() >= _LISTED:
        return replace(detail, listed=False)
    return replace(detail, values=tuple(rng.sample(detail.values, rng.randint(3, 4))))


def _argument(
    draw: Draw, style: Style, detail: Detail, nonsense_rate: float, taken: dict[str, Detail]
) -> tuple[str, bool]:
    """A name that no other argument has, and whether the schema describes it."""
    rng = draw.rng
    if described := rng.random() < nonsense_rate:
        name = argument_nonsense(rng, draw.split)
    else:
        name = argument_name(rng, draw.split, style, detail.names)
    if name in taken:
        return _argument(draw, style, detail, nonsense_rate, taken)
    return name, described or rng.random() < _DESCRIBED


def _schema(detail: Detail, described: bool) -> dict[str, JsonValue]:
    schema: dict[str, JsonValue] = {"type": _TYPES[type(detail.values[0])]}
    if detail.listed:
        schema["enum"] = [str(value) for value in detail.values]
    return schema | {"description": detail.meaning} if described else schema


def _phrases_of(wish: Wish, thing: str) -> Sequence[str]:
    """What a tool's name may be made of."""
    if wish.outcome is None:
        return wish.words, f"{wish.words} {thing}", f"{thing} {wish.words}"
    return wish.words, f"{thing} {wish.words}", f"{wish.words} of {thing}", f"get {thing} {wish.words}"


def _description(rng: Random, wish: Wish, thing: str) -> str:
    one = f"an {thing}" if thing[0] in "aeiou" else f"a {thing}"
    if wish.outcome is None:
        verb = wish.words.capitalize()
        return rng.choice((f"{_third_person(verb)} {one}.", f"{verb} {one}."))
    return rng.choice(("The {} of {}.", "Tells the {} of {}.", "Finds the {} of {}.")).format(wish.words, one)


def _third_person(verb: str) -> str:
    """``Books``, ``Washes``, ``Copies``"""
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return f"{verb[:-1]}ies"
    return f"{verb}es" if verb.endswith(("sh", "ch", "s", "x")) else f"{verb}s"
