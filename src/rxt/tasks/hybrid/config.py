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

    question_rate: float = 0.6
    """Of the turns at which a question is due; when one is due is planned as what it needs is told."""
    small_talk_rate: float = 0.12
    reply_rate: float = 1.0
    """Of the turns that ask nothing: the answer is learned; see :class:`rxt.tasks.open.OpenConfig`."""
    call_rate: float = 0.5
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
    made_rate: float = 0.5
    """Of these: made up for the conversation, so that it says itself all that can be known of them."""
    renamed_rate: float = 0.5
    """Of the others, where they are not built in: under another name, or with other names of arguments, than usual."""
    nonsense_rate: float = 0.25
    """Of the names of made-up and renamed tools, and of their arguments: syllables that mean nothing; what they are for
    stands in the description beside them."""
    missing_tool_rate: float = 0.25
    """Of what tools are needed for: no tool that is offered does it. And of the things that made-up tools are for: one
    question more, which none of these answers."""
    withheld_rate: float = 0.1
    """Of the questions that need a tool, in conversations whose turns tell of tools: the turn tells of others alone."""
    needless_tools_rate: float = 0.4
    """Of the questions that need no tool, in such conversations: the turn tells of some all the same."""
    idle_tools_rate: float = 0.04
    """Of the turns that ask nothing, in such conversations: as well."""
    distance_evenness: float = 2.0
    """2 plans questions so that they come after 1 to 4, 5 to 8, 9 to 16 and more turns about equally often, those that
    a tool is for as well as the others. 0 picks any of these spans that the turns left have room for, which makes long
    ones rare, as only what is told early can be asked for so late."""
    open_threads: int = 12
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
