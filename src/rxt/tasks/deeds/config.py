"""How conversations about deeds are mixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from rxt.config import STRICT
from rxt.errors import UserError
from rxt.tasks.rates import check_rates


@dataclass(frozen=True)
class DeedsConfig:
    """How conversations are mixed. Rates are fractions; turns that neither ask nor are small talk tell deeds."""

    question_rate: float = 0.5
    small_talk_rate: float = 0.1
    several_rate: float = 0.3
    """Of the telling turns: two or three deeds in one message."""
    change_rate: float = 0.1
    """Of the telling turns: a part of a deed told before is different now."""
    never_told_rate: float = 0.15
    """Of the questions: for a part, or a deed, that was not told."""
    alike_rate: float = 0.4
    """Of the deeds: somebody else does as somebody did before."""
    other_people_rate: float = 0.45
    """Of the deeds: somebody else's."""
    relative_rate: float = 0.15
    """Of the other people with a name: told with what they are to the person, "my sister Ana"."""
    again_rate: float = 0.4
    """Of the questions about the deed of which the turn before spoke: without saying again what was done."""
    reply_rate: float = 1.0
    """Of the turns that ask nothing: the answer is learned; see :class:`rxt.tasks.open.OpenConfig`."""
    surface: bool = True
    """Typed as people type; else with care."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        check_rates(self, "deeds")
        if self.question_rate + self.small_talk_rate >= 1:
            raise UserError("deeds: question_rate and small_talk_rate must leave room for telling, so lower one")
