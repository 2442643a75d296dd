"""Token ids to text as they come, without ever showing half of a character."""

from __future__ import annotations

from rxt.data.template import Template
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

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = tokenizer
        self._held: list[int] = []
        """Ids that nothing has been shown of; the first one begins at the border of two characters."""
        self._reading = tokenizer.reading()

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


class AnswerStream:
    """The text of the answer part of what a model says, piece by piece: no thinking, no tool call, no special token."""

    def __init__(self, template: Template) -> None:
        self._text = TextStream(template.tokenizer)
        self._tokens = template.tokens
        self._silent = (template.tokens.think, template.tokens.tool_call) if template.name == "beta" else ()
        self._shown = True

    def push(self, token: int, last: bool = False) -> str:
        """The text that is certain with this token; with the ``last`` one, all that was held back."""
        if token in self._silent:
            self._shown = False
        elif token == self._tokens.answer:
            self._shown = True
        piece = self._text.push(token) if self._shown else ""
        return piece + self._text.finish() if last else piece
