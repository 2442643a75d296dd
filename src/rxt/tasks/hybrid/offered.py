"""The tools that a conversation offers: the built-in ones, and others under the names that its split may show.

A tool has its usual name and arguments, or others out of the few that it may have. Of these, some combinations are of
the validation split and some of the test split alone, and so are whole tools.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from random import Random

from rxt.tasks.hybrid.uses import HELD_OUT, USES, Use
from rxt.tasks.hybrid.values import ValueSplit
from rxt.tools.builtin import Calculator, Clock, Notebook
from rxt.tools.tool import JsonValue, Tool

_EVERY = 5
"""One in so many of the unusual combinations of names is of the test split, and one of the validation split."""
BUILT_IN = ("calculator", "clock", "notebook")


@dataclass(frozen=True)
class Offered:
    """A tool that is offered, and what it is used for; None of a built-in one."""

    tool: Tool
    use: Use | None = None
    arguments: tuple[str, ...] = ()
    """Their names in this conversation, in the order of the use's."""


@cache
def built_in(name: str) -> Offered:
    """A tool as :mod:`rxt.tools.builtin` has it."""
    made = {"calculator": Calculator, "clock": Clock, "notebook": Notebook}
    return Offered(made[name]().tool)


@cache
def offered(use: Use, variant: int) -> Offered:
    """The tool of a use under the combination of names number ``variant``; 0 is the usual one."""
    name, *arguments = list(product(use.names, *(argument.names for argument in use.arguments)))[variant]
    properties: dict[str, JsonValue] = {
        found: {"type": "integer" if isinstance(argument.values, range) else "string"}
        for found, argument in zip(arguments, use.arguments, strict=True)
    }
    parameters: dict[str, JsonValue] = {"type": "object", "properties": properties, "required": list(arguments)}
    return Offered(Tool(name, use.description, parameters), use, tuple(arguments))


def variants(use: Use, split: ValueSplit) -> list[int]:
    """The combinations of unusual names that a split may show; no two arguments share a name."""
    found: list[int] = []
    for number, (_, *arguments) in enumerate(product(use.names, *(each.names for each in use.arguments))):
        owner = {3: "test", 4: "validation"}.get(number % _EVERY, "train")
        if number and owner == split and len(set(arguments)) == len(arguments):
            found.append(number)
    return found


def draw_tools(rng: Random, split: ValueSplit, most: int, renamed_rate: float) -> list[Offered]:
    """Two to ``most`` tools of different names for a conversation."""
    count = rng.randint(2, most)
    kinds: list[str | Use] = [*BUILT_IN, *BUILT_IN, *USES]
    chosen: list[Offered] = []
    while len(chosen) < count:
        kind = rng.choice(kinds)
        if isinstance(kind, str):
            found = built_in(kind)
        else:
            found = offered(kind, rng.choice(variants(kind, split)) if rng.random() < renamed_rate else 0)
        if all(found.tool.name != each.tool.name and (found.use is None or found.use != each.use) for each in chosen):
            chosen.append(found)
    return chosen


def new_tool(rng: Random, split: ValueSplit) -> Offered:
    """A tool that training never shows: of a use that only tests know, or under names that only ``split`` shows."""
    if split == "test" and rng.random() < 0.5:
        return offered(rng.choice(HELD_OUT), 0)
    use = rng.choice(USES)
    return offered(use, rng.choice(variants(use, split)))
