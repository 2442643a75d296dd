"""What requests may say of whether a model calls tools."""

from __future__ import annotations

from pydantic import JsonValue

from rxt.errors import UserError
from rxt.tools.choice import ToolChoice


def known_choice(value: JsonValue) -> JsonValue:
    """The value, if it is a choice of tools."""
    try:
        ToolChoice.of(value)
    except UserError as error:
        raise ValueError(str(error)) from None
    return value


def not_required(value: JsonValue) -> JsonValue:
    """The value, if it is a choice that an answer in words fulfils."""
    if value not in ("none", "auto"):
        raise ValueError("functions and function_call are an older form; use tools and tool_choice")
    return value
