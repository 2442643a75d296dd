"""Questions of hybrid conversations, and whether what is said to them is right, decided exactly."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from rxt.errors import UserError
from rxt.tools.calculator import calculate
from rxt.tools.tool import JsonValue, Tool, ToolCall, as_json, call_text, read_call

_NUMBER = re.compile(r"\d+")
_SIGNS = re.compile(r"(?:[^\w:]|(?<!\d):|:(?!\d))+")
"""All signs but the colon of a time."""
NOTHING_FOUND = "error: nothing found"


@dataclass(frozen=True)
class Calling:
    """The call that a question needs, and what comes of calls."""

    tool: Tool
    arguments: Mapping[str, JsonValue]
    """The right ones."""
    result: str
    """Of the right call."""

    @property
    def text(self) -> str:
        """The call as the model is to write it."""
        return call_text(self.tool.name, self.arguments)

    @property
    def thought(self) -> str:
        """What thinking writes before it: ``weather: city Oslo``."""
        given = ", ".join(f"{name} {_plainly(value)}" for name, value in self.arguments.items())
        return f"{self.tool.name}: {given}" if given else self.tool.name

    def right(self, call: ToolCall) -> bool:
        """Whether a call is one of this tool with these arguments."""
        same = call.error is None and call.name == self.tool.name and call.arguments.keys() == self.arguments.keys()
        return same and all(_same(call.arguments[name], wanted, name) for name, wanted in self.arguments.items())

    def run(self, call: ToolCall) -> str:
        """What a call gives: the result where it is right, else what a tool says that finds nothing."""
        if call.error is not None:
            return f"error: {call.error}"
        return self.result if self.right(call) else NOTHING_FOUND


@dataclass(frozen=True)
class HybridQuestion:
    """A question of a conversation and what is right to say to it."""

    turn: int
    told_turn: int | None
    """The interaction that told the last of what it needs; None where it needs nothing that was told."""
    kind: str
    value: str | None
    """What a right answer holds."""
    others: tuple[str, ...] = ()
    """What it does not hold."""
    chance: float = 0.0
    """The share of right answers to be expected of guessing."""
    stepped: bool = False
    """Steps lead to the answer, each out of the one before."""
    calling: Calling | None = None
    """The call that has to come, in place of an answer."""

    def correct(self, answer: str) -> bool:
        """Whether an answer is right. Where a call has to come, its last line has to be the right one, and elsewhere
        there has to be none (``rxt.data.said.spoken``)."""
        if self.calling is not None:
            call = answer.rstrip().rpartition("\n")[2]
            return self.calling.right(read_call(call, [self.calling.tool], "call"))
        needless = '{"name":' in answer
        return not needless and self.value is not None and holds(answer, self.value, self.others)


def holds(answer: str, value: str, others: tuple[str, ...] = ()) -> bool:
    """Whether an answer holds a value, no number besides those of it, and none of ``others``."""
    said = plain(answer)
    if plain(value) not in said or not set(_NUMBER.findall(answer)) <= set(_NUMBER.findall(value)):
        return False
    return not any(plain(other) in said for other in others)


def plain(text: str) -> str:
    """Small letters, digits and colons, with one space between words and around the whole."""
    return f" {_SIGNS.sub(' ', text.casefold()).strip()} "


def _plainly(value: JsonValue) -> str:
    return value if isinstance(value, str) else as_json(value)


def _same(found: JsonValue, wanted: JsonValue, name: str) -> bool:
    if name == "expression":
        return _same_expression(str(found), str(wanted))
    if isinstance(found, str) and isinstance(wanted, str):
        return found.strip().casefold() == wanted.strip().casefold()
    return json.dumps(found) == json.dumps(wanted)  # 1 is neither true nor 1.0


def _same_expression(found: str, wanted: str) -> bool:
    """The same numbers with the same value: their order does not matter."""
    try:
        equal = calculate(found) == calculate(wanted)
    except UserError:
        return False
    return equal and sorted(_NUMBER.findall(found)) == sorted(_NUMBER.findall(wanted))
