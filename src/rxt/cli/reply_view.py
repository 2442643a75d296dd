"""A reply at the terminal: thoughts dimmed or folded, the answer as it comes, tool calls on a line of their own."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rxt.generation.conversation import Event
    from rxt.tools.tool import ToolCall

FOLDED = "(thinking …)"


class ReplyView:
    """Writes what a model replies with."""

    def __init__(self, console: Console, write: Callable[[str], None], folded: bool) -> None:
        """``write``: shows a piece of the answer; ``folded``: of thoughts no more is shown than that there are some."""
        self._console, self._write, self._folded = console, write, folded

    def show(self, events: Generator[Event, None, None]) -> None:
        """Everything up to the complete answer."""
        from rxt.generation.conversation import Answered, Token

        thought = shown = False
        with closing(events):
            for event in events:
                if isinstance(event, Token):
                    if event.thinking and not (thought and self._folded):
                        self._dim(FOLDED if self._folded else event.thinking)
                    thought = thought or bool(event.thinking)
                    if thought and event.text and not shown:
                        self._console.print()
                    if not event.thinking and not event.tool_call:
                        self._write(event.text)
                    shown = shown or bool(event.text)
                elif isinstance(event, Answered):
                    self._console.print()
                    if event.finish_reason == "length":
                        self._console.print("(the answer was cut: it is as long as it may be)", style="dim")
                    return

    def show_call(self, call: ToolCall, result: str | None) -> None:
        """A tool call; None: nobody runs it."""
        from rxt.tools.tool import as_json

        told = result
        if result is None:
            told = "not run" if call.error is None else f"error: {call.error}"
        self._dim(f"[{call.name or call.text} {as_json(call.arguments)}] → {told}\n")

    def _dim(self, text: str) -> None:
        self._console.print(printable(text), style="dim", end="", soft_wrap=True)
        self._console.file.flush()


def printable(text: str) -> str:
    """A model's words, without the control characters that could take over the terminal."""
    return "".join(
        character
        for character in text
        if character in "\n\t" or not (ord(character) < 32 or 127 <= ord(character) < 160)
    )
