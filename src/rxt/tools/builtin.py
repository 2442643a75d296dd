"""The tools that are built in: a clock, a calculator, a notebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

from rxt.errors import UserError
from rxt.tools.calculator import calculate
from rxt.tools.tool import JsonValue, Tool, ToolCall

Arguments = Mapping[str, JsonValue]
MOST_NOTES = 1000


class BuiltIn(Protocol):
    """A tool that can be run here."""

    @property
    def tool(self) -> Tool:
        """What the model is told."""
        ...

    def run(self, arguments: Arguments) -> str:
        """The result, for arguments of the tool's schema. Raises ``UserError`` where there is none."""
        ...


@dataclass(frozen=True)
class Clock:
    """Tells the date and the time."""

    now: Callable[[], datetime] = datetime.now

    @property
    def tool(self) -> Tool:
        return Tool("clock", "The date and the time now.", _arguments({}))

    def run(self, arguments: Arguments) -> str:
        return self.now().strftime("%Y-%m-%d %H:%M, %A")


@dataclass(frozen=True)
class Calculator:
    """Computes an expression."""

    @property
    def tool(self) -> Tool:
        return Tool(
            "calculator",
            "The value of an expression of numbers, + - * / // % ** and parentheses.",
            _arguments({"expression": {"type": "string"}}),
        )

    def run(self, arguments: Arguments) -> str:
        return calculate(str(arguments["expression"]))


@dataclass
class Notebook:
    """Keeps notes by their key, as long as the program runs."""

    notes: dict[str, str] = field(default_factory=dict)

    @property
    def tool(self) -> Tool:
        needed: Arguments = {"action": {"enum": ["put", "get"]}, "key": {"type": "string"}}
        return Tool(
            "notebook",
            "Put a note down under a key, or get it back.",
            _arguments(needed, {"value": {"type": "string"}}),
        )

    def run(self, arguments: Arguments) -> str:
        key, value = str(arguments["key"]), arguments.get("value")
        if arguments["action"] == "put":
            if value is None:
                raise UserError("put needs a value")
            if key not in self.notes and len(self.notes) >= MOST_NOTES:
                raise UserError(f"the notebook is full: it has {MOST_NOTES} notes")
            self.notes[key] = str(value)
            return "noted"
        if key not in self.notes:
            raise UserError(f"there is no note {key!r:.80}")
        return self.notes[key]


BUILT_IN: dict[str, Callable[[], BuiltIn]] = {"calculator": Calculator, "clock": Clock, "notebook": Notebook}


class ToolBox:
    """Built-in tools, and their state, for one conversation."""

    def __init__(self, tools: Sequence[BuiltIn]) -> None:
        self._by_name = {each.tool.name: each for each in tools}
        self.tools = tuple(each.tool for each in tools)

    @classmethod
    def of_names(cls, names: str) -> ToolBox:
        """``"clock,calculator"``. Raises ``UserError`` for a name that none has, and for one that comes twice."""
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        for index, name in enumerate(wanted):
            if name not in BUILT_IN:
                raise UserError(f"there is no built-in tool {name!r:.80}; there are {', '.join(BUILT_IN)}")
            if name in wanted[:index]:
                raise UserError(f"the tool {name} is named twice")
        if not wanted:
            raise UserError(f"no tool is named; there are {', '.join(BUILT_IN)}")
        return cls([BUILT_IN[name]() for name in wanted])

    def run(self, call: ToolCall) -> str:
        """What a call gives, also where it is wrong: the model is told of the error as of any result."""
        if call.error is not None:
            return f"error: {call.error}"
        if call.name not in self._by_name:
            return f"error: {call.name} cannot be run here"
        try:
            return self._by_name[call.name].run(call.arguments)
        except UserError as error:
            return f"error: {error}"


def _arguments(needed: Arguments, optional: Arguments = MappingProxyType({})) -> Arguments:
    """A schema: an object of these properties and of nothing else."""
    return {
        "type": "object",
        "properties": {**needed, **optional},
        "required": [*needed],
        "additionalProperties": False,
    }
