"""From what a request says of thinking and tools to how its turn is replied to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from rxt.data.template import Mode, Template
from rxt.errors import UserError
from rxt.generation.json_answers import can_be_json
from rxt.generation.manner import FAST, Manner
from rxt.generation.parts_constraint import Calls, schema_of_calls
from rxt.server.errors import Refused
from rxt.server.requests import Common, Effort, is_function
from rxt.server.tool_choice import Choice, choice_of
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


@dataclass(frozen=True)
class Way:
    """How a turn is replied to."""

    manner: Manner = FAST
    calls: Calls = "may"
    call_schema: str | None = None


def way_of(request: Common, effort: Effort | None, template: Template) -> Way:
    """How this model is to reply. One that neither thinks nor calls tools answers in words, whatever is offered.

    Raises:
        Refused: a call is required where there can be none; a tool is none; the choice is of none that is offered.
    """
    choice = choice_of(request.tool_choice)
    if not template.has_tools:
        if choice.calls == "must":
            message = "this model calls no tools, so none can be required; 'auto' and 'none' are taken"
            raise Refused(400, message, "invalid_value", "tool_choice")
        return Way()
    mode, share = MODES[effort]
    budget = None if share is None else template.max_length // share
    offered = _offered(request.tools or ())
    tools = _chosen([tool for tool, _ in offered], choice)
    if not tools:
        return Way(Manner(mode, budget), "none")
    strict = frozenset(tool.name for tool, is_strict in offered if is_strict or choice.calls == "must")
    can_be = can_be_json()
    if choice.calls == "must" and not can_be:
        message = (
            "a call that is required needs llguidance where the server runs: pip install 'reactive-transformers[json]'"
        )
        raise Refused(400, message, "unsupported_value", "tool_choice")
    held = can_be and (choice.calls == "must" or any(tool.name in strict for tool in tools))
    return Way(Manner(mode, budget, tools), choice.calls, schema_of_calls(tools, strict) if held else None)


def _offered(values: Sequence[JsonValue]) -> list[tuple[Tool, bool]]:
    """The functions among tools, and whether calls of each have to be right."""
    found: list[tuple[Tool, bool]] = []
    for index, value in enumerate(values):
        if not is_function(value):
            continue
        try:
            if not isinstance(value, dict):
                raise UserError(
                    f'a tool is {{"type": "function", "name", "description", "parameters"}}, found {value!r:.80}'
                )
            found.append((Tool.of(value), _is_strict(value)))
        except UserError as error:
            raise Refused(400, str(error), "invalid_value", f"tools.{index}") from None
    try:
        tools_of([tool for tool, _ in found])
    except UserError as error:
        raise Refused(400, str(error), "invalid_value", "tools") from None
    return found


def _is_strict(tool: dict[str, JsonValue]) -> bool:
    inner = tool.get("function", tool)
    return isinstance(inner, dict) and inner.get("strict") is True


def _chosen(tools: Sequence[Tool], choice: Choice) -> tuple[Tool, ...]:
    """The tools that may be called."""
    if choice.calls == "none":
        return ()
    if choice.names is not None:
        names = [tool.name for tool in tools]
        if unknown := sorted(choice.names.difference(names)):
            offered = ", ".join(names) or "none"
            message = f"there is no tool {unknown[0]!r:.80} to choose; offered are: {offered}"
            raise Refused(400, message, "invalid_value", "tool_choice")
        tools = [tool for tool in tools if tool.name in choice.names]
    if choice.calls == "must" and not tools:
        raise Refused(400, "a call is required, but no tools are offered", "invalid_value", "tool_choice")
    return tuple(tools)
