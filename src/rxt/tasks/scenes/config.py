"""How conversations about scenes are mixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from rxt.config import STRICT
from rxt.errors import UserError
from rxt.tasks.rates import check_rates


@dataclass(frozen=True)
class ScenesConfig:
    """How conversations are mixed. Rates are fractions; turns that neither ask nor are small talk tell a scene."""

    question_rate: float = 0.55
    small_talk_rate: float = 0.1
    change_rate: float = 0.2
    """Of the telling turns: something of a scene told before is different now."""
    addition_rate: float = 0.15
    """Of the telling turns: more is told of a scene told before."""
    follow_rate: float = 0.3
    """Of the questions, changes and additions: about the scene that the turn before spoke of, where there is one, in
    words that only make sense after it, where there are such."""
    check_rate: float = 0.1
    """Of the questions about what was told: whether it is so, answered with yes or no."""
    never_told_rate: float = 0.15
    """Of the questions: about something that was not told, of a scene that was told or of another one."""
    reply_rate: float = 1.0
    """Of the turns that ask nothing: the answer is learned; see :class:`rxt.tasks.open.OpenConfig`."""
    distance_evenness: float = 2.0
    """2 asks so that all distances are about equally frequent; 0 picks evenly among what was told."""
    novelty: float = 3.0
    """How much rather something is asked for that was not asked for yet; see :class:`rxt.tasks.open.OpenConfig`."""
    longest: int = 360
    """Characters of a message and its answer, at most; a scene that cannot be told in so many is left out."""
    surface: bool = True
    """Typed as people type; else with care."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        check_rates(self, "scenes")
        if self.change_rate + self.addition_rate > 1:
            raise UserError("scenes: change_rate and addition_rate must not be more than 1 together, so lower one")
        if self.question_rate + self.small_talk_rate >= 1:
            raise UserError("scenes: question_rate and small_talk_rate must leave room for telling, so lower one")
        if self.longest < 100:
            raise UserError(f"scenes: longest must be at least 100 characters, found {self.longest}")
