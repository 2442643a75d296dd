"""Kinds of wrong answers that a task may put beside a right one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import ClassVar, Literal

from pydantic import ConfigDict

from rxt.config import STRICT
from rxt.data.records import Interaction, PreferenceConversation, PreferenceTurn
from rxt.errors import UserError

Rejected = Literal[
    "wrong_value",
    "told_value",
    "stale_value",
    "copy",
    "evasive",
    "invented_value",
    "wrong_step",
    "wrong_call",
    "no_call",
    "needless_call",
]
"""A kind of wrong answer."""


@dataclass(frozen=True)
class RejectedMix:
    """How often which kind of wrong answer is taken, in proportion, among those that a question allows."""

    wrong_value: float = 3.0
    """A value that nobody spoke of."""
    told_value: float = 3.0
    """The value that a fact of this kind has of somebody else."""
    stale_value: float = 4.0
    """The value that the fact had before it changed."""
    copy: float = 1.0
    """The last turn's answer, word by word."""
    evasive: float = 1.0
    """"I don't know", or that it was not told, though it was."""
    invented_value: float = 3.0
    """Some value, though none was told."""
    wrong_step: float = 3.0
    """Thinking that goes wrong at its end, and the answer that follows from it."""
    wrong_call: float = 3.0
    """A call of another tool, or with other arguments."""
    no_call: float = 2.0
    """An answer, though it takes a tool to know it."""
    needless_call: float = 1.0
    """A call, though what is asked for was told."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        for field in fields(self):
            weight = getattr(self, field.name)
            if weight < 0:
                raise UserError(f"rejected answers: {field.name} cannot be negative, found {weight}")
        if not self.evasive:
            raise UserError("rejected answers: evasive must be above 0: some questions allow nothing else")

    def weight(self, kind: Rejected) -> float:
        """Of one kind."""
        weights: dict[Rejected, float] = {
            "wrong_value": self.wrong_value,
            "told_value": self.told_value,
            "stale_value": self.stale_value,
            "copy": self.copy,
            "evasive": self.evasive,
            "invented_value": self.invented_value,
            "wrong_step": self.wrong_step,
            "wrong_call": self.wrong_call,
            "no_call": self.no_call,
            "needless_call": self.needless_call,
        }
        return weights[kind]


def with_wrong_answers(
    said: Sequence[Interaction],
    wrong: Callable[[int], Mapping[Rejected, str]],
    mix: RejectedMix,
    neutral_rate: float,
    draw: Random,
) -> tuple[PreferenceConversation, dict[int, Rejected]]:
    """As :func:`with_wrong_ways`, where a wrong way to answer is a query and another answer."""

    def ways(turn: int) -> dict[Rejected, Interaction]:
        return {kind: Interaction(said[turn].query, answer) for kind, answer in wrong(turn).items()}

    return with_wrong_ways(said, ways, mix, neutral_rate, draw)


def with_wrong_ways(
    said: Sequence[Interaction],
    wrong: Callable[[int], Mapping[Rejected, Interaction]],
    mix: RejectedMix,
    neutral_rate: float,
    draw: Random,
) -> tuple[PreferenceConversation, dict[int, Rejected]]:
    """A conversation with wrong ways to answer beside its own, and by turn what is wrong with each.

    Args:
        wrong: the wrong ways that a turn allows, each a whole interaction; none where it asks for nothing.
        neutral_rate: the share of the turns without a wrong answer that have their own as a neutral one, to stay as
            likely as it is.
    """
    turns: list[PreferenceTurn] = []
    kinds: dict[int, Rejected] = {}
    for turn, interaction in enumerate(said):
        ways = wrong(turn)
        weights = [mix.weight(kind) for kind in ways]
        if not any(weights):
            held = neutral_rate > 0 and draw.random() < neutral_rate
            turns.append(PreferenceTurn(interaction, neutral=interaction if held else None))
            continue
        kinds[turn] = draw.choices(list(ways), weights)[0]
        turns.append(PreferenceTurn(interaction, ways[kinds[turn]]))
    return PreferenceConversation(tuple(turns)), kinds
