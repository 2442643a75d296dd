"""How open conversations are mixed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from pydantic import ConfigDict

from rxt.config import STRICT
from rxt.errors import UserError
from rxt.tasks.open.relations import RELATIONS
from rxt.tasks.rates import check_rates


@dataclass(frozen=True)
class OpenConfig:
    """How conversations are mixed. Rates are fractions; turns that neither ask nor are small talk tell facts."""

    question_rate: float = 0.42
    small_talk_rate: float = 0.13
    several_rate: float = 0.15
    """Of the telling turns: two or three facts in one message."""
    change_rate: float = 0.15
    """Of the telling turns: a fact told before gets a new value."""
    deny_rate: float = 0.02
    """Of the telling turns: that there is no such thing."""
    never_told_rate: float = 0.15
    """Of the questions: about something that was not told."""
    same_rate: float = 0.5
    """Of the facts told in one message after the first: about the same person, by a pronoun."""
    pronoun_rate: float = 0.5
    """Of the questions about somebody of whom the turn before spoke: by a pronoun."""
    reply_rate: float = 1.0
    """Of the turns that ask nothing: the answer is learned. The others are only memorized, in training: they teach
    little of memory, and cost as much as answers to questions."""
    find_rate: float = 0.15
    """Of the questions, where the relation has such: by the value, for whose it is."""
    other_people_rate: float = 0.3
    """Of the facts: about somebody else."""
    alike_rate: float = 0.3
    """Of the facts: of a relation told before, of somebody or something else."""
    surface: bool = True
    """Typed as people type; else with care."""
    max_facts: int = 16
    """Facts alive at once; when reached, only changes, questions and small talk follow."""
    distance_evenness: float = 2.0
    """2 asks for facts so that all distances are about equally frequent; 0 picks evenly among the facts alive."""
    novelty: float = 3.0
    """How much rather facts are asked for that were not asked for yet: asked n times, a fact weighs (1 + n) **
    -novelty."""
    people: int = 3
    """Different other people of one conversation, at most."""
    relations: tuple[str, ...] = ()
    """Relations spoken of; all when empty."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        check_rates(self, "open conversations")
        for field in fields(self):
            found = getattr(self, field.name)
            if isinstance(found, (int, float)) and found < 0:
                raise UserError(f"open conversations: {field.name} cannot be negative, found {found}")
        if self.question_rate + self.small_talk_rate >= 1:
            raise UserError(
                "open conversations: question_rate and small_talk_rate must leave room for telling, so lower one"
            )
        if self.max_facts < 1:
            raise UserError(f"open conversations: max_facts must be at least 1, found {self.max_facts}")
        if unknown := set(self.relations) - {relation.name for relation in RELATIONS}:
            raise UserError(f"open conversations: there is no relation {', '.join(sorted(unknown))}")
