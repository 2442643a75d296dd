"""What is longer than an interaction, or of a kind that a template has no form for: how it is memorized all the same.

A long message becomes several interactions, cut where a sentence, a line or a word ends; the last one of a question
asks. Nothing of it is lost. Only a system prompt is cut, as it is one interaction, and whoever memorizes it is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from rxt.data.records import Interaction
from rxt.data.template import Encoded, Template
from rxt.errors import UserError

BORDERS = (re.compile(r"(?<=[.!?;。！？])\s+|\n+"), re.compile(r"\s+"))
"""Where a text is cut: between sentences or lines if they fit, else between words, else anywhere."""
CHARACTERS = 16
"""Of text that a token stands for at most, by a generous guess: what is longer is not tokenized to find that it is too
long."""
LEAST = 16
"""Tokens that the internal part must leave for a message."""
SHARE = 4
"""An answer begins beside its message where this part of the interaction is left for it."""


@dataclass(frozen=True)
class Pieces:
    """A message and, where it is known, its answer, as the interactions that they fit into."""

    lead: tuple[tuple[int, ...], ...]
    """Whole interactions, [EOS] included, to be memorized before the last one."""
    text: str
    """Of the message, as it stands in the last one."""
    prompt: tuple[int, ...]
    """Of the last one."""
    said: tuple[int, ...] = ()
    """The answer's tokens in the last one."""


def opening(template: Template, text: str) -> Encoded:
    """A system prompt, which is memorized before the first turn and cut at its end if need be (``cut`` says so).

    A template that has no form for it makes it a whole interaction, a message with an empty answer.

    Raises:
        UserError: the text is blank.
    """
    most = CHARACTERS * template.max_length
    if template.markup.system is not None or not text.strip():
        encoded = template.system(text[:most])
    else:
        encoded = template.interaction(Interaction(text[:most], ""))
    return Encoded(encoded.ids, [False] * len(encoded.ids), encoded.cut or len(text) > most)


def room_for_query(template: Template, internal: str | None = None) -> int:
    """Tokens of the longest query that is asked in one piece, beside an internal part.

    Raises:
        UserError: the internal part leaves no room for a query.
    """
    room = template.max_length - template.reserve - len(template.prompt("-")) + len(template.tokenizer.encode("-"))
    if internal is None:
        return room
    beside = room - (len(template.opened("", internal=internal)) - len(template.opened("")))
    if beside < LEAST:
        raise UserError(
            f"the internal part leaves {max(0, beside)} of {room} tokens for a message, at least {LEAST} must be left"
        )
    return beside


def in_pieces(template: Template, query: str, answer: str = "", internal: str | None = None) -> Pieces:
    """A message, and an answer to it that is given, as few interactions as they fit into.

    ``internal``: stands in the last one, and leaves less room in all of them.
    """
    count, room = _counter(template), room_for_query(template, internal)
    queries = cut_to_fit(query, count, room, room)
    lead = [tuple(template.complete(template.opened(part), [])) for part in queries[:-1]]
    prompt, said = template.opened(queries[-1], internal=internal), template.ids_of("answer", answer)
    beside = template.answer_room(prompt)
    if len(said) > beside:
        alone = template.opened("")
        first = beside if beside * SHARE >= template.max_length else 0
        parts = cut_to_fit(answer, count, first, template.answer_room(alone))
        for index, part in enumerate(parts):
            prompt, said = alone if index else prompt, template.ids_of("answer", part)
            lead.append(tuple(template.complete(prompt, said)))
        del lead[-1]
    return Pieces(tuple(lead), queries[-1], tuple(prompt), tuple(said))


def parts_in_pieces(template: Template, whole: Interaction) -> Pieces:
    """Any interaction that is given. Only what was asked is ever told in several pieces.

    Raises:
        UserError: the other parts do not fit into one interaction; the template has not these parts.
    """
    if whole.tool_use is None and whole.think is None and whole.tool_call is None:
        return in_pieces(template, whole.query, whole.answer, whole.internal)
    lead: tuple[tuple[int, ...], ...] = ()
    if whole.tool_use is None:
        cut = in_pieces(template, whole.query, internal=whole.internal)
        lead, whole = cut.lead, replace(whole, query=cut.text)
        if whole.query and template.interaction(whole).cut:
            lead, whole = (*lead, tuple(template.complete(template.opened(whole.query), []))), replace(whole, query="")
    encoded = template.interaction(whole)
    if encoded.cut:
        raise UserError(f"it does not fit into an interaction of {template.max_length} tokens; shorten it")
    asked = whole.query if whole.tool_use is None else whole.tool_use
    prompt = template.opened(asked, whole.tool_use is not None, whole.internal)
    if whole.think is not None:
        prompt.pop()  # [A] stands after the thinking
    said = encoded.ids[len(prompt) : len(encoded.ids) - len(template.markup.end)]
    return Pieces(lead, asked, tuple(prompt), tuple(said))


def _counter(template: Template) -> Callable[[str], int]:
    return lambda text: len(template.tokenizer.encode(text))


def cut_to_fit(text: str, count: Callable[[str], int], first: int, room: int) -> list[str]:
    """A text in pieces of at most ``room`` tokens, the first of at most ``first`` (it is empty where nothing fits).

    Only the space between two pieces is lost.
    """
    pieces = [""]
    for unit in _units(text, count, room):
        limit = first if len(pieces) == 1 else room
        if count((pieces[-1] + unit).strip()) <= limit:
            pieces[-1] += unit
        else:
            pieces.append(unit)
    return [piece.strip() for piece in pieces]


def _units(
    text: str, count: Callable[[str], int], room: int, borders: tuple[re.Pattern[str], ...] = BORDERS
) -> Iterator[str]:
    """Parts of a text that fit each, as large as they can be, with the space after them."""
    if count(text.strip()) <= room:
        yield text
    elif borders:
        start = 0
        for border in borders[0].finditer(text):
            yield from _units(text[start : border.end()], count, room, borders[1:])
            start = border.end()
        yield from _units(text[start:], count, room, borders[1:])
    else:
        middle = len(text) // 2
        yield from _units(text[:middle], count, room, ())
        yield from _units(text[middle:], count, room, ())
