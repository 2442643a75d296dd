"""What is spoken of in a hybrid conversation: a few messages that tell it, and what can be asked once all are told."""

from __future__ import annotations

from dataclasses import dataclass

from rxt.tasks.hybrid.questions import Calling

NO_TOOL = "I have no tool for that."


@dataclass(frozen=True)
class Telling:
    """A message that tells something, and what is said to it."""

    query: str
    answer: str


@dataclass(frozen=True)
class Ask:
    """A question, its steps, and its answer."""

    kind: str
    query: str
    answer: str
    """Of a question that needs a call: what is answered once the result is there."""
    value: str
    """What a right answer holds."""
    think: str
    """What thinking writes: what is needed of what was told, and how the answer follows."""
    others: tuple[str, ...] = ()
    """What a right answer does not hold."""
    chance: float = 0.0
    stepped: bool = False
    calling: Calling | None = None
    """The call that has to come before the answer."""
    told: int = -1
    """The last of the tellings that it needs, counted from 0; −1 is the last of all."""


@dataclass(frozen=True)
class Thread:
    """Something that is told in one or several messages, in their order, and can be asked for in some ways."""

    tellings: tuple[Telling, ...]
    asks: tuple[Ask, ...]


def without_tool(query: str) -> Ask:
    """A question that a tool is needed for which is not there."""
    return Ask("no_tool", query, NO_TOOL, "no tool", "There is no such tool.")
