"""How hybrid conversations are mixed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from pydantic import ConfigDict

from rxt.config import STRICT
from rxt.errors import UserError
from rxt.tasks.rates import check_rates


@dataclass(frozen=True)
class HybridConfig:
    """How conversations are mixed. Rates are fractions."""

    question_rate: float = 0.45
    """Of the turns at which something can be asked."""
    small_talk_rate: float = 0.12
    reply_rate: float = 1.0
    """Of the turns that ask nothing: the answer is learned; see :class:`rxt.tasks.open.OpenConfig`."""
    call_rate: float = 0.4
    """Of what is spoken of anew: something that a tool is needed for."""
    auto_rate: float = 0.5
    """Of the questions: the model decides whether to think, and learns to where steps are needed."""
    thinking_rate: float = 0.25
    """Of the questions: it is told to think, and does so also where no steps are needed. The others, it is told to
    answer at once, and learns the same answers without their steps."""
    idle_thinking_rate: float = 0.04
    """Of the turns that ask nothing: it is told to think all the same."""
    system_rate: float = 0.7
    """Of the conversations: the tools are told once, in the system prompt; in the others, in the turns that ask."""
    tools: int = 4
    """Offered in a conversation, at most; some of them nobody needs."""
    renamed_rate: float = 0.3
    """Of these, where they are not built in: under another name, or with other names of arguments, than usual, so that
    what is told of them has to be read."""
    missing_tool_rate: float = 0.1
    """Of what tools are needed for: the tool is not there."""
    distance_evenness: float = 2.0
    """2 asks so that all distances are about equally frequent; 0 picks evenly among all that can be asked."""
    open_threads: int = 4
    """Things that are spoken of at once; when reached, nothing new is begun before something is asked."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        check_rates(self, "hybrid conversations")
        for field in fields(self):
            found = getattr(self, field.name)
            if found < 0:
                raise UserError(f"hybrid conversations: {field.name} cannot be negative, found {found}")
        for first, second in (("question_rate", "small_talk_rate"), ("auto_rate", "thinking_rate")):
            if getattr(self, first) + getattr(self, second) > 1:
                raise UserError(f"hybrid conversations: {first} and {second} must be 1 at most together, so lower one")
        if not 2 <= self.tools <= 6:
            raise UserError(f"hybrid conversations: tools must be from 2 to 6, found {self.tools}")
        if self.open_threads < 1:
            raise UserError(f"hybrid conversations: open_threads must be at least 1, found {self.open_threads}")
