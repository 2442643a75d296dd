"""The tools that a conversation offers: built-in ones, known ones, and some that are made up for it alone.

A known tool has its usual name and arguments, or others, composed anew, so that what is told of it has to be read. Of
these names some are of the validation split and some of the test split alone, and so are whole tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from rxt.tasks.hybrid.config import HybridConfig
from rxt.tasks.hybrid.made import ComposedTool, Made, draw_topic, make_tool
from rxt.tasks.hybrid.naming import argument_name, argument_nonsense, style_of, tool_name
from rxt.tasks.hybrid.uses import HELD_OUT, USES, Argument, Use
from rxt.tasks.hybrid.values import Draw
from rxt.tools.builtin import Calculator, Clock, Notebook
from rxt.tools.tool import JsonValue, Tool

BUILT_IN = ("calculator", "clock", "notebook")
_BUILT_IN_RATE = 0.3
"""Of the tools that are not made up."""
_SAME_THING = 0.4
"""Of the made-up tools: they are about the same thing as the one before, and do another thing to it."""
_USUAL_NAME = 0.2
"""Of the renamed tools in training: the names of the arguments alone are unusual."""
_RENAMED_ARGUMENT = 0.7
_FEWEST = 2
_ROOM = 780
"""Characters of all lines that tell of tools, at most: 300 tokens where a token has 2.6 characters, as in names."""
_TRIES = 12


@dataclass(frozen=True)
class Offered:
    """A tool that is offered, and what it is used for."""

    tool: Tool
    use: Use | None = None
    """Of a known tool."""
    arguments: tuple[str, ...] = ()
    """Of a known tool: their names in this conversation, in the order of the use's."""
    made: Made | None = None
    """Of a made-up one."""

    @property
    def length(self) -> int:
        """Characters that tell of it."""
        return len(self.tool.told)

    def like(self, other: Offered) -> bool:
        """Whether one of the two is enough."""
        return self.tool.name == other.tool.name or (self.use is not None and self.use == other.use)


@cache
def built_in(name: str) -> Offered:
    """A tool as :mod:`rxt.tools.builtin` has it."""
    made = {"calculator": Calculator, "clock": Clock, "notebook": Notebook}
    return Offered(made[name]().tool)


@cache
def usual(use: Use) -> Offered:
    """A known tool under its usual names."""
    return _offered(use, use.names[0], [(argument.names[0], False) for argument in use.arguments])


def renamed(draw: Draw, use: Use, nonsense_rate: float, usual_name: float = 0.0) -> Offered:
    """A known tool under a name that its split alone shows, or with the usual one and other names of arguments."""
    rng, style = draw.rng, style_of(draw.rng)
    keeps = rng.random() < usual_name
    name = use.names[0] if keeps else tool_name(rng, draw.split, style, use.names[1:], nonsense_rate)
    arguments: list[tuple[str, bool]] = []

    def called(argument: Argument) -> tuple[str, bool]:
        if not keeps and rng.random() >= _RENAMED_ARGUMENT:
            return argument.names[0], False
        if rng.random() < nonsense_rate:
            return argument_nonsense(rng, draw.split), True
        return argument_name(rng, draw.split, style, argument.names), False

    for argument in use.arguments:
        found = called(argument)
        while found[0] in [name for name, _ in arguments]:
            found = called(argument)
        arguments.append(found)
    return _offered(use, name, arguments)


def made_up(draw: Draw, nonsense_rate: float, among: Sequence[Offered] = ()) -> Offered:
    """A tool for a new thing, or one more for a thing that a tool ``among`` others is for."""
    things = [each.made.topic for each in among if each.made is not None]
    topic = draw.one(things) if things and draw.rng.random() < _SAME_THING else draw_topic(draw)
    there = [each.made.wish for each in among if each.made is not None and each.made.topic is topic]
    wishes = [wish for wish in topic.wishes(draw) if wish not in there]
    if not wishes:
        return made_up(draw, nonsense_rate)
    tool, made = make_tool(draw, topic, draw.one(wishes), nonsense_rate)
    return Offered(tool, made=made)


def draw_tools(draw: Draw, config: HybridConfig, extra: Offered | None = None) -> list[Offered]:
    """Two to ``config.tools`` tools for a conversation, in any order, ``extra`` among them; fewer if they are long."""
    rng = draw.rng
    count = rng.randint(_FEWEST, config.tools)
    chosen = [] if extra is None else [extra]
    room = _ROOM - sum(each.length for each in chosen)
    for _ in range(_TRIES):
        if len(chosen) == count:
            break
        found = _drawn(draw, config, chosen)
        if found.length <= room and not any(found.like(each) for each in chosen):
            chosen.append(found)
            room -= found.length
    rng.shuffle(chosen)
    return chosen


def new_tool(draw: Draw, config: HybridConfig) -> Offered:
    """A tool that training never shows: made up, of a use that only tests know, or under a name that only the split
    shows."""
    rng = draw.rng
    if rng.random() < config.made_rate:
        return made_up(draw, config.nonsense_rate)
    if draw.split == "test" and rng.random() < 0.5:
        return usual(rng.choice(HELD_OUT))
    return renamed(draw, rng.choice(USES), config.nonsense_rate)


def _drawn(draw: Draw, config: HybridConfig, chosen: Sequence[Offered]) -> Offered:
    """One more tool."""
    rng = draw.rng
    if rng.random() < config.made_rate:
        return made_up(draw, config.nonsense_rate, chosen)
    if rng.random() < _BUILT_IN_RATE:
        return built_in(rng.choice(BUILT_IN))
    use = rng.choice(USES)
    if rng.random() < config.renamed_rate:
        return renamed(draw, use, config.nonsense_rate, _USUAL_NAME if draw.split == "train" else 0.0)
    return usual(use)


def _offered(use: Use, name: str, arguments: Sequence[tuple[str, bool]]) -> Offered:
    """``arguments``: the name of each, and whether the schema describes it."""
    properties: dict[str, JsonValue] = {}
    for (found, described), argument in zip(arguments, use.arguments, strict=True):
        schema: dict[str, JsonValue] = {"type": "integer" if isinstance(argument.values, range) else "string"}
        properties[found] = schema | {"description": argument.meaning} if described else schema
    names = [found for found, _ in arguments]
    parameters: dict[str, JsonValue] = {"type": "object", "properties": properties, "required": names}
    return Offered(ComposedTool(name, use.description, parameters), use, tuple(names))
