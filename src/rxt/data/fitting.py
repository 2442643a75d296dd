"""Interactions that are longer than a model has room for: split into several turns, cut, or left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Literal

from rxt.data.encoding import encode_conversation, without_targets
from rxt.data.markup import Encoded, Part
from rxt.data.records import Conversation
from rxt.data.template import Template
from rxt.errors import UserError

Long = Literal["split", "cut", "drop"]
UNLIMITED = 2**31 - 1
"""The length of a template that cuts nothing."""
ASKED = ("query", "tool_use")


def unlimited(template: Template) -> Template:
    """The same template without a limit."""
    whole = copy(template)
    whole.max_length = UNLIMITED
    return whole


def fitted(encoded: Encoded, template: Template, is_system: bool = False) -> Encoded:
    """A whole interaction or system prompt as the template has room for it, or cut as the template does it.

    A system prompt is cut at its end, where the template has a form for it; else it is an interaction like others. Of
    one that is nothing to learn from, nothing is learned.
    """
    markup, size = template.markup, template.max_length
    if len(encoded.ids) <= size:
        return encoded
    if is_system and markup.system is not None:
        end = len(markup.system.end)
        kept = [*encoded.ids[: size - end], *encoded.ids[len(encoded.ids) - end :]]
        return Encoded(kept, [False] * len(kept), True)
    cut = markup.whole(markup.parts_of(encoded), size)
    return cut if any(encoded.loss) else without_targets(cut)


def fitted_turns(encoded: Encoded, template: Template, long: Long) -> list[Encoded]:
    """A whole interaction as turns that the template has room for: itself, or what becomes of it when it is long."""
    if len(encoded.ids) <= template.max_length:
        return [encoded]
    if long == "drop":
        return []
    turns = split_interaction(encoded, template) if long == "split" else []
    return turns or [fitted(encoded, template)]


def split_interaction(encoded: Encoded, template: Template) -> list[Encoded]:
    """An interaction as several turns, none of whose tokens is lost; none where what stands beside query and answer
    (thinking, a tool call) leaves too little room.

    What does not fit of the query is told in turns before, whose answers are empty and not learned; the turn that asks
    keeps the query's end. What does not fit of the answer goes on in turns after it, whose queries are empty.
    """
    markup, most = template.markup, template.max_length
    parts = {part.name: part for part in markup.parts_of(encoded)}
    asked = next((parts[name] for name in ASKED if name in parts), Part("query"))
    answer = parts.get("answer", Part("answer"))
    beside = [part for name, part in parts.items() if name not in (*ASKED, "answer")]
    room = most - len(markup.begun([Part(asked.name), Part("answer"), *beside])) - len(markup.end)
    if room < most // 4:
        return []
    kept = min(len(asked.ids), max(room - len(answer.ids), room // 2))
    before, ending = asked.ids[: len(asked.ids) - kept], asked.ids[len(asked.ids) - kept :]
    first = room - kept
    told = [[Part(asked.name, piece), Part("answer")] for piece in _chunks(before, room)]
    answers = [answer.ids[:first], *_chunks(answer.ids[first:], room)]
    order = list(parts)
    said: list[list[Part]] = []
    for number, piece in enumerate(answers):
        here = {"answer": replace(answer, ids=piece), asked.name: Part(asked.name, [] if number else ending)}
        here |= {part.name: part for part in beside if _belongs(part.name, number, len(answers))}
        said.append([here[name] for name in order if name in here])
    learned = any(encoded.loss)
    return [
        *(without_targets(markup.whole(turn, most)) for turn in told),
        *(whole if learned else without_targets(whole) for whole in (markup.whole(turn, most) for turn in said)),
    ]


def _belongs(name: str, number: int, turns: int) -> bool:
    """Whether a part beside query and answer stands in a turn of the answer: a tool call in the last, others first."""
    return number == (turns - 1 if name == "tool_call" else 0)


def _chunks(ids: Sequence[int], most: int) -> list[list[int]]:
    """Pieces of nearly equal length, each of at most ``most``."""
    count = -(-len(ids) // most)
    bounds = [len(ids) * index // max(1, count) for index in range(count + 1)]
    return [list(ids[start:end]) for start, end in pairwise(bounds)]


def fitted_conversation(conversation: Conversation, template: Template, long: Long, turns: int) -> list[list[Encoded]]:
    """A conversation as tokens, in consecutive pieces of at most ``turns`` turns, each with its system prompt."""
    whole = encode_conversation(conversation, unlimited(template))
    return fitted_pieces(whole, bool(conversation.system), template, long, turns)


def fitted_pieces(
    sequences: Sequence[Encoded], has_system: bool, template: Template, long: Long, turns: int
) -> list[list[Encoded]]:
    """The same of whole sequences, the first of which may be a system prompt."""
    system = [fitted(each, template, is_system=True) for each in sequences[:has_system]]
    said = list(chain.from_iterable(fitted_turns(each, template, long) for each in sequences[has_system:]))
    return [[*system, *said[start : start + turns]] for start in range(0, len(said), turns)]


@dataclass(frozen=True)
class Lengths:
    """How many of some sequences are longer than a template has room for."""

    sequences: int = 0
    longer: int = 0
    longest: int = 0
    """In tokens."""

    def __add__(self, other: Lengths) -> Lengths:
        return Lengths(self.sequences + other.sequences, self.longer + other.longer, max(self.longest, other.longest))

    def warning(self, most: int, long: Long) -> str | None:
        """What happens to the long ones, and how there is room for all; None where all fit."""
        if not self.longer:
            return None
        fate = {
            "split": "are split into several turns (--long cut or --long drop does otherwise)",
            "cut": "are cut, their questions first (--long split loses nothing)",
            "drop": "are left out (--long split loses nothing)",
        }[long]
        sides = ("decoder", "encoder")
        room = " ".join(f"--set model.{side}.max_length={self.longest}" for side in sides)
        return (
            f"{self.longer:,} of {self.sequences:,} interactions are longer than {most} tokens and {fate}; the longest "
            f"has {self.longest:,}: {room} makes room for all"
        )


def lengths_of(conversations: Iterable[Conversation], template: Template) -> Lengths:
    """Those of the interactions and system prompts of conversations.

    Raises:
        UserError: a conversation has a part that the template has not.
    """
    whole, found = unlimited(template), Lengths()
    for conversation in conversations:
        try:
            sizes = [len(each.ids) for each in encode_conversation(conversation, whole)]
        except UserError as error:
            begin = conversation.interactions[0].query[:40]
            raise UserError(f"the conversation that begins {begin!r}: {error}") from None
        found += Lengths(len(sizes), sum(size > template.max_length for size in sizes), max(sizes))
    return found
