"""Whether a model may call tools, or has to, as OpenAI's clients say it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from rxt.generation.parts_constraint import Calls


@dataclass(frozen=True)
class Choice:
    """What ``tool_choice`` asks for."""

    calls: Calls = "may"
    names: frozenset[str] | None = None
    """Of the tools that may be called; None: all that are offered."""


MODES: dict[str, Calls] = {"auto": "may", "none": "none", "required": "must"}


def choice_of(value: JsonValue) -> Choice:
    """Either API's form of it; ``ValueError`` if it is none."""
    match value:
        case None:
            return Choice()
        case "auto" | "none" | "required":
            return Choice(MODES[value])
        case {"type": "function", "name": str(name)} | {"type": "function", "function": {"name": str(name)}}:
            return Choice("must", frozenset({name}))
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required" as mode, "tools": list(tools)}} | {
            "type": "allowed_tools",
            "mode": "auto" | "required" as mode,
            "tools": list(tools),
        }:
            return Choice(MODES[mode], frozenset(name for tool in tools for name in _names(tool)))
    raise ValueError("it is 'auto', 'none', 'required', or names a function")


def _names(tool: JsonValue) -> list[str]:
    match tool:
        case {"name": str(name)} | {"function": {"name": str(name)}}:
            return [name]
    return []


def known_choice(value: JsonValue) -> JsonValue:
    """The value, if it is a choice of tools."""
    choice_of(value)
    return value


def not_required(value: JsonValue) -> JsonValue:
    """The value, if it is a choice that an answer in words fulfils."""
    if value not in ("none", "auto"):
        raise ValueError("functions and function_call are an older form; use tools and tool_choice")
    return value
