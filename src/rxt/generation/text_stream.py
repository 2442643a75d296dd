"""Token ids to text as they come, without ever showing half of a character."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rxt.data.markup import SAID
from rxt.data.template import Mode, Template
from rxt.data.tokenizer import ChatTokenizer

REPLACEMENT = "\ufffd"
HALF = 3
"""Bytes, and so at most tokens, of a character that is not complete yet."""


class TextStream:
    """Feed ids one by one; the pieces that come back join to ``tokenizer.decode`` of all the ids.

    A piece never ends inside a character: bytes that may still become one are held back until they do, or cannot. A
    case mark is shown with its letter.
    Special tokens have no text.
    """

    def __init__(self, tokenizer: ChatTokenizer, space: bool = False) -> None:
        """``space``: one at the beginning of the text has none of its own; it belongs to the marker before it."""
        self._tokenizer = tokenizer
        self._held: list[int] = []
        """Ids that nothing has been shown of; the first one begins at the border of two characters."""
        self._reading = tokenizer.reading(" " if space else "")

    def push(self, token: int) -> str:
        """The text that is certain with this token, often its own, sometimes none."""
        if token not in self._tokenizer.special_ids:
            self._held.append(token)
        spelled = self._tokenizer.spell(self._held)
        if not spelled.endswith(REPLACEMENT):
            return self._show(len(self._held))
        # The end may be a broken character, or one that is not complete. Everything before a border is certain,
        # and a place is a border when cutting there does not change the text.
        for border in range(len(self._held) - 1, max(0, len(self._held) - HALF - 1), -1):
            parts = (self._held[:border], self._held[border:])
            if "".join(self._tokenizer.spell(part) for part in parts) == spelled:
                return self._show(border)
        return ""

    def finish(self) -> str:
        """What was held back, for no more ids come: an incomplete character is shown as U+FFFD."""
        return self._show(len(self._held))

    def _show(self, count: int) -> str:
        """The text of the first ``count`` ids held, which are held no longer."""
        ids, self._held = self._held[:count], self._held[count:]
        return self._reading.push(self._tokenizer.spell(ids))


class Piece(NamedTuple):
    """Text of each part that a model says. Together the pieces are the parts of ``Template.parse``."""

    think: str = ""
    answer: str = ""
    tool_call: str = ""


class PartStream:
    """The texts of the parts of what a model says, piece by piece, without special tokens."""

    def __init__(self, template: Template, mode: Mode = "fast") -> None:
        """``mode``: of the prompt, which names the part that comes first."""
        self._parts = {name: template.markup.parts[name] for name in SAID if name in template.markup.parts}
        self._markers = {marker.ids: name for name, marker in self._parts.items()}
        self._tokenizer = template.tokenizer
        self._part = "think" if mode == "thinking" else "answer"
        self._text = self._begun()
        self._end = template.markup.end
        self._ending: list[int] = []
        """Held back, for the end of the interaction begins like this."""

    @property
    def part(self) -> str:
        """The part that the newest token belongs to, where it is no marker."""
        return self._part

    def push(self, token: int, last: bool = False) -> Piece:
        """The text that is certain with this token; with the ``last`` one, all that was held back."""
        self._ending.append(token)
        shown = dict.fromkeys(self._parts, "")
        while self._ending and (tuple(self._ending) != self._end[: len(self._ending)] or last):
            if tuple(self._ending) == self._end:
                self._ending = []
                break
            held = self._ending.pop(0)
            opened = self._markers.get((held,), self._part)
            if opened != self._part:
                shown[self._part] += self._text.finish()
                self._part, self._text = opened, self._begun()
            shown[self._part] += self._text.push(held)
        if last:
            shown[self._part] += self._text.finish()
        return Piece(**shown)

    def _begun(self) -> TextStream:
        """The text of the part that begins here: no character reaches over a marker."""
        return TextStream(self._tokenizer, self._parts[self._part].space)


class AnswerStream:
    """The text of the answer part of what a model says, piece by piece: no thinking, no tool call, no special token."""

    def __init__(self, template: Template) -> None:
        self._parts = PartStream(template)

    def push(self, token: int, last: bool = False) -> str:
        """The text that is certain with this token; with the ``last`` one, all that was held back."""
        return self._parts.push(token, last).answer


class TextUntil:
    """A text that comes in pieces, up to the first of some texts that end it: that which is complete first, however the
    pieces are cut. What may become one is held back."""

    def __init__(self, ends: Sequence[str]) -> None:
        self._ends = ends
        self._held = ""
        self.shown = ""
        """All that was given back."""
        self.reached = False
        """It has come to its end; nothing more is shown."""

    def push(self, piece: str, last: bool = False) -> str:
        """What is certain with this piece; with the ``last`` one all that is before an end."""
        if self.reached:
            return ""
        self._held += piece
        found = [(place + len(end), place) for end in self._ends if (place := self._held.find(end)) >= 0]
        self.reached = bool(found)
        certain = min(found)[1] if found else len(self._held) - (0 if last else self._may_become_an_end())
        text, self._held = self._held[:certain], self._held[certain:]
        self.shown += text
        return text

    def _may_become_an_end(self) -> int:
        """Characters at the end of what is held that begin one of the texts."""
        lengths = [
            length
            for end in self._ends
            for length in range(1, min(len(end), len(self._held) + 1))
            if self._held.endswith(end[:length])
        ]
        return max(lengths, default=0)
