"""How a model is to reply: at once or after thinking, and which tools it may or has to call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import get_args

from rxt.data.pieces import opening
from rxt.data.template import Mode, Template
from rxt.errors import UserError
from rxt.tools.choice import AUTO, ToolChoice
from rxt.tools.tool import JsonValue, Tool, tools_of, tools_text

Offered = Iterable[Tool | Mapping[str, JsonValue]]
"""Tools as a caller gives them, also as OpenAI's clients write them."""
Chosen = ToolChoice | str | Mapping[str, JsonValue]
"""A choice of tools as OpenAI's clients write it: ``"auto"``, ``"none"``, ``"required"``, or a function by its name."""


@dataclass(frozen=True)
class Manner:
    """How one turn is replied to, or by default all of a conversation's."""

    mode: Mode = "fast"
    """``fast``: the answer at once; ``thinking``: thinking first; ``auto``: what the model thinks likelier."""
    budget: int | None = None
    """Tokens of thinking at most, after which the model has to answer; by default all but what the template reserves
    for an answer."""
    tools: tuple[Tool, ...] = ()
    """Those of a turn are told in its internal part, those of a conversation once, in its system prompt."""
    memorize_thinking: bool = True
    """Otherwise the turn is memorized as if the model had answered at once."""
    strict_calls: bool = False
    """Every call is one of a tool that is offered, with arguments that its schema allows; the model still decides
    whether it calls. Otherwise that holds of the tools that are ``strict``."""
    tool_choice: ToolChoice = AUTO
    """A call that is required comes instead of an answer, and is strict."""

    def __post_init__(self) -> None:
        """
        Raises:
            UserError: no such mode, a budget below 0, a tool or a choice that is none, two tools of one name.
        """
        object.__setattr__(self, "tools", tools_of(self.tools))  # also as clients write them
        object.__setattr__(self, "tool_choice", ToolChoice.of(self.tool_choice))
        if self.mode not in get_args(Mode):
            raise UserError(f"mode must be fast, thinking or auto, found {self.mode!r:.80}")
        if self.budget is not None and self.budget < 0:
            raise UserError(f"the budget of thinking tokens must be 0 or more, found {self.budget}")

    def turned(
        self, mode: Mode | None, budget: int | None, tools: tuple[Tool, ...], tool_choice: Chosen | None = None
    ) -> Manner:
        """That of one turn, with these ``tools`` told in it; None: as in this one."""
        return replace(
            self,
            mode=self.mode if mode is None else mode,
            budget=self.budget if budget is None else budget,
            tools=tools,
            tool_choice=self.tool_choice if tool_choice is None else ToolChoice.of(tool_choice),
        )

    def after_call(self) -> Manner:
        """That of the turn with a call's result: what had to be called has been."""
        return replace(self, tool_choice=AUTO) if self.tool_choice.calls == "must" else self

    def check(self, template: Template) -> None:
        """Raises ``UserError`` where the template has not the parts for it."""
        if self.mode != "fast":
            template.require("think")
        if self.tools or self.tool_choice.calls == "must":
            template.require("tool_call")

    @property
    def told(self) -> tuple[Tool, ...]:
        """The tools that a turn tells of: those that may be called in it."""
        return self.tool_choice.allowed(self.tools)

    def strict_names(self, offered: Iterable[Tool]) -> frozenset[str]:
        """Of tools that may be called, those whose calls are held to their schemas."""
        every = self.strict_calls or self.tool_choice.calls == "must"
        return frozenset(tool.name for tool in offered if every or tool.strict)


FAST = Manner()
"""The answer at once, without tools."""


def system_prompt(template: Template, system: str | None, tools: tuple[Tool, ...]) -> list[int] | None:
    """What is memorized before the first turn, as token ids: instructions, and which tools there are.

    Raises:
        UserError: the instructions are blank; they and the tools do not fit together.
    """
    if system is not None and not system.strip():
        raise UserError("the system prompt is empty")
    told = [text for text in (system, tools_text(tools) if tools else None) if text is not None]
    if not told:
        return None
    encoded = opening(template, "\n\n".join(told))
    if encoded.cut and tools:
        raise UserError(
            f"the tools do not fit into a system prompt of {template.max_length} tokens; offer fewer, or say less"
        )
    return encoded.ids
