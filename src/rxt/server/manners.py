"""From what a request says of thinking and tools to how its turn is replied to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import JsonValue

from rxt.data.template import Mode, Template
from rxt.errors import UserError
from rxt.generation.json_answers import JSON_EXTRA, can_be_json
from rxt.generation.manner import FAST, Manner
from rxt.server.errors import Refused
from rxt.server.requests import Common, Effort, is_function
from rxt.tools.choice import NONE, ToolChoice
from rxt.tools.tool import Tool, tools_of

MODES: dict[Effort | None, tuple[Mode, int | None]] = {
    None: ("fast", None),
    "none": ("fast", None),
    "minimal": ("fast", None),
    "low": ("auto", 8),
    "medium": ("auto", 4),
    "high": ("thinking", None),
    "xhigh": ("thinking", None),
}
"""How a turn of an effort begins, and which part of the model's length its thinking may have; None: all that is left
beside the room for an answer."""


def manner_of(request: Common, effort: Effort | None, template: Template) -> Manner:
    """How this model is to reply. One that neither thinks nor calls tools answers in words, whatever is offered.

    Raises:
        Refused: a call is required where there can be none; a tool is none; the choice is of none that is offered.
    """
    choice = ToolChoice.of(request.tool_choice)
    if not template.has_tools:
        if choice.calls == "must":
            message = "this model calls no tools, so none can be required; 'auto' and 'none' are taken"
            raise Refused(400, message, "invalid_value", "tool_choice")
        return FAST
    mode, share = MODES[effort]
    budget = None if share is None else template.max_length // share
    tools = _offered(request.tools or ())
    try:
        tools = choice.among(tools)
    except UserError as error:
        raise Refused(400, str(error), "invalid_value", "tool_choice") from None
    if not tools:
        return Manner(mode, budget, tool_choice=NONE)
    if not can_be_json():
        if choice.calls == "must":
            message = f"a call that is required needs llguidance where the server runs: {JSON_EXTRA}"
            raise Refused(400, message, "unsupported_value", "tool_choice")
        tools = tuple(replace(tool, strict=False) for tool in tools)
    return Manner(mode, budget, tools, tool_choice=choice)


def _offered(values: Sequence[JsonValue]) -> tuple[Tool, ...]:
    """The functions among tools."""
    found: list[Tool] = []
    for index, value in enumerate(values):
        if not is_function(value):
            continue
        try:
            if not isinstance(value, dict):
                raise UserError(
                    f'a tool is {{"type": "function", "name", "description", "parameters"}}, found {value!r:.80}'
                )
            found.append(Tool.of(value))
        except UserError as error:
            raise Refused(400, str(error), "invalid_value", f"tools.{index}") from None
    try:
        return tools_of(found)
    except UserError as error:
        raise Refused(400, str(error), "invalid_value", "tools") from None
