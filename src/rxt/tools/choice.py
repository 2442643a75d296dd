"""Whether a model may call tools, or has to, as OpenAI's clients say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rxt.errors import UserError
from rxt.tools.tool import JsonValue, Tool

Calls = Literal["may", "none", "must"]
"""Whether a reply ends with a tool call: as the model likes, never, or always, with an empty answer."""
WORDS: Mapping[str, Calls] = {"auto": "may", "none": "none", "required": "must"}


@dataclass(frozen=True)
class ToolChoice:
    """What ``tool_choice`` asks for."""

    calls: Calls = "may"
    names: frozenset[str] | None = None
    """Of the tools that may be called; None: all that are offered."""

    @classmethod
    def of(cls, value: ToolChoice | JsonValue) -> ToolChoice:
        """As OpenAI's interfaces write it, either of them: ``"auto"``, ``"none"``, ``"required"``, a function by its
        name, or ``allowed_tools``; None is ``"auto"``.

        Raises:
            UserError: it is none.
        """
        match value:
            case ToolChoice():
                return value
            case None:
                return cls()
            case str(word) if word in WORDS:
                return cls(WORDS[word])
            case {"type": "function", "name": str(name)} | {"type": "function", "function": {"name": str(name)}}:
                return cls("must", frozenset({name}))
            case {"type": "allowed_tools", "allowed_tools": {"mode": str(mode), "tools": list(tools)}} | {
                "type": "allowed_tools",
                "mode": str(mode),
                "tools": list(tools),
            } if mode in ("auto", "required"):
                return cls(WORDS[mode], frozenset(name for tool in tools for name in _names(tool)))
        raise UserError(f"tool_choice is 'auto', 'none', 'required', or names a function, found {value!r:.80}")

    def allowed(self, tools: Iterable[Tool]) -> tuple[Tool, ...]:
        """Those of some tools that may be called."""
        if self.calls == "none":
            return ()
        return tuple(tool for tool in tools if self.names is None or tool.name in self.names)

    def among(self, tools: Sequence[Tool]) -> tuple[Tool, ...]:
        """Those that may be called of all that are offered.

        Raises:
            UserError: one that is named is not offered; a call is required where there can be none.
        """
        if self.calls == "none":
            return ()
        if unknown := sorted((self.names or frozenset()).difference(tool.name for tool in tools)):
            offered = ", ".join(tool.name for tool in tools) or "none"
            raise UserError(f"there is no tool {unknown[0]!r:.80} to choose; offered are: {offered}")
        allowed = self.allowed(tools)
        if self.calls == "must" and not allowed:
            raise UserError("a call is required, but no tools are offered")
        return allowed


AUTO, NONE = ToolChoice(), ToolChoice("none")
"""Whether it calls is the model's decision; it calls nothing."""


def _names(tool: JsonValue) -> list[str]:
    match tool:
        case {"name": str(name)} | {"function": {"name": str(name)}}:
            return [name]
    return []
