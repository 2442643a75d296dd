"""The conversation at a terminal: streamed answers, memory updated while the next message is typed, slash commands."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.styles import Style
from rich.console import Console
from rich.table import Table

from rxt.cli.history import open_history
from rxt.cli.reply_view import ReplyView, printable
from rxt.cli.tool_loop import reply_to, results
from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.generation.conversation import Conversation
    from rxt.generation.turn import MemoryUpdated
    from rxt.tools.builtin import ToolBox

COMMANDS = {
    "/memory": "what the memory is, and what the last turn changed in it",
    "/save": "FILE  write the memory to a file",
    "/load": "FILE  go on from the memory in a file",
    "/fork": "try something: a copy of this conversation, until /back",
    "/back": "return from the fork to where it began",
    "/thoughts": "fold the model's thoughts away, or show them again",
    "/reset": "forget everything",
    "/help": "this list; Ctrl-C stops an answer, Ctrl-D leaves",
    "/quit": "leave",
}
STYLE = Style.from_dict({"bottom-toolbar": "noreverse", "status": "fg:ansibrightblack", "sign": "bold"})
BAR = 24


class Terminal:
    """One person, one model; ``conversations`` is the conversation and the forks begun in it, the current one last."""

    def __init__(
        self,
        chat: Conversation,
        name: str,
        memory: Path | None,
        console: Console | None = None,
        tools: ToolBox | None = None,
    ) -> None:
        """
        Args:
            memory: the file that holds the conversation's memory after every turn; forks are never saved by themselves.
            tools: run what the model calls.
        """
        self._conversations = [chat]
        self._tools = tools
        self._folded = False
        self._name = name
        self._file = memory
        self._console = console or Console(highlight=False, markup=False, emoji=False)
        self._session: PromptSession[str] | None = None
        self._work: threading.Thread | None = None
        self.status = ""
        """What stands below the line that is typed in: how far the memory is."""
        self._failure: str | None = None

    @property
    def chat(self) -> Conversation:
        """The conversation that the next message goes to."""
        return self._conversations[-1]

    def run(self) -> None:
        """Read, answer, repeat, until the person leaves."""
        self._session = PromptSession(history=open_history(), style=STYLE)
        self._say(f"{self._name} · {self._where()} · /help lists the commands", "dim")
        while True:
            try:
                line = self._read(self._session)
            except KeyboardInterrupt:
                continue
            except EOFError:
                break
            try:
                if not self.handle(line):
                    break
            except KeyboardInterrupt:
                self._say("stopped", "dim")
        self._finish_work()

    def handle(self, line: str) -> bool:
        """Answer a message or obey a command; False when the person wants to leave. A mistake becomes one line."""
        line = line.strip()
        self._finish_work()
        try:
            if line.startswith("/"):
                return self._command(line)
            if line:
                self._answer(line)
        except UserError as error:
            self._say(f"rxt: {error}", "red")
        return True

    def _read(self, session: PromptSession[str]) -> str:
        sign = "fork > " if len(self._conversations) > 1 else "> "
        return session.prompt(
            [("class:sign", sign)], bottom_toolbar=lambda: FormattedText([("class:status", self.status)])
        )

    # A turn.

    def _answer(self, query: str) -> None:
        chat, before = self.chat, self.chat.turns
        try:
            with quiet_keys():
                self._stream(chat, query)
        except KeyboardInterrupt:
            self._console.print()
            # The interrupt may have come in the very moment when the answer was complete.
            if chat.turns == before:
                self._say("stopped; this turn is not remembered", "dim")
                return
        self.status = f"turn {before + 1}: memory is being updated …"
        self._begin_work()

    def _stream(self, chat: Conversation, query: str) -> None:
        view = ReplyView(self._console, self._write, self._folded)
        view.show(chat.stream(query))
        for call, result in results(chat, self._tools):
            view.show_call(call, result)
            view.show(reply_to(chat, call, result))
        if chat.call is not None:
            view.show_call(chat.call, None)

    def _begin_work(self) -> None:
        """Wait for the memory, and save it, while the person types."""
        file = self._file if len(self._conversations) == 1 else None
        self._work = threading.Thread(target=self._after_turn, args=(self.chat, file), name="rxt-after-turn")
        self._work.start()

    def _after_turn(self, chat: Conversation, file: Path | None) -> None:
        try:
            update = chat.last_update
            if file is not None:
                chat.save(file)
        except Exception as error:
            self.status, self._failure = "", f"rxt: {error}"
        else:
            took = "" if update is None else f"turn {update.turn} is remembered ({update.seconds * 1000:.0f} ms)"
            self.status = took if file is None else f"{took} and saved to {file}"
        if self._session is not None:
            self._session.app.invalidate()

    def _finish_work(self) -> None:
        if self._work is not None:
            self._work.join()
            self._work = None
        if self._failure is not None:
            self._say(self._failure, "red")
            self._failure = None

    # Commands.

    def _command(self, line: str) -> bool:
        name, _, argument = line.partition(" ")
        argument = argument.strip()
        if name not in COMMANDS:
            close = get_close_matches(name, COMMANDS, n=1)
            raise UserError(
                f"{name}: no such command; " + (f"did you mean {close[0]}?" if close else "/help lists them")
            )
        takes_file = COMMANDS[name].startswith("FILE")
        if takes_file != bool(argument):
            raise UserError(
                f"{name} needs a file name: {name} FILE" if takes_file else f"{name} takes nothing after it"
            )
        match name:
            case "/memory":
                self._show_memory()
            case "/save":
                self.chat.save(Path(argument).expanduser())
                self._say(f"saved to {argument}", "dim")
            case "/load":
                self._load(Path(argument).expanduser())
            case "/fork":
                self._conversations.append(self.chat.fork())
                self._say("a fork; what is said now is forgotten with /back, unless you /save it", "dim")
            case "/back":
                if len(self._conversations) == 1:
                    raise UserError("this is no fork; /fork begins one")
                self._conversations.pop()
                self._say(f"back in the conversation · {self._where()}", "dim")
            case "/thoughts":
                self._folded = not self._folded
                self._say("thoughts are folded away" if self._folded else "thoughts are shown", "dim")
            case "/reset":
                self.chat.reset()
                self._changed("forgotten")
            case "/help":
                self._help()
            case "/quit":
                return False
        return True

    def _load(self, path: Path) -> None:
        from rxt.model.pool import load_memory

        self.chat.restore(load_memory(path))
        self._changed(f"loaded {path}")

    def _changed(self, what: str) -> None:
        """The memory was exchanged between two turns: keep the file in step with it."""
        self.status = ""
        if self._file is not None and len(self._conversations) == 1:
            self.chat.save(self._file)
        self._say(f"{what} · {self._where()}", "dim")

    def _where(self) -> str:
        turns = self.chat.turns
        return "a new conversation" if turns == 0 else f"{turns} {'turn' if turns == 1 else 'turns'} remembered"

    def _show_memory(self) -> None:
        memory, update = self.chat.memory, self.chat.last_update
        layers, _, slots, width = memory.slots.shape
        self._say(
            f"{self._where()} · {memory.nbytes:,} bytes: "
            f"{layers} layers x {slots} slots x {width} numbers, however many turns"
        )
        if (pool := self.chat.pool) is not None:
            known = f", of them {pool.sealed} of knowledge" if pool.sealed else ""
            count = len(pool.fragments)
            self._say(f"the part that is active of {pool.nbytes:,} bytes, {count} fragments{known}", "dim")
            if update is not None:
                self._say(told_fragments(update), "dim")
        if update is None:
            self._say("no turn has changed it here yet", "dim")
            return
        table = Table(
            box=None,
            pad_edge=False,
            title=f"mean change of a number in turn {update.turn}",
            title_justify="left",
            title_style="dim",
        )
        table.add_column("layer", justify="right", style="dim")
        table.add_column("change", justify="right")
        table.add_column("")
        largest = max(update.change) or 1
        for layer, change in enumerate(update.change, start=1):
            table.add_row(str(layer), f"{change:.4f}", "█" * round(BAR * change / largest))
        self._console.print(table)

    def _help(self) -> None:
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, summary in COMMANDS.items():
            table.add_row(name, summary)
        self._console.print(table)

    # Output.

    def _say(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, soft_wrap=True)

    def _write(self, text: str) -> None:
        self._console.file.write(printable(text))
        self._console.file.flush()


def told_fragments(update: MemoryUpdated) -> str:
    """What a turn did with the fragments of a pool, in words; people count them from 1."""
    seen, new = update.seen, [index for index in update.written if index not in update.seen]
    text = f"turn {update.turn} looked up {_numbers(seen)}" + (" (the most alike first)" if len(seen) > 1 else "")
    return f"{text} and was written into {_numbers(update.written)}" + (f"; {_numbers(new)} is new" if new else "")


def _numbers(fragments: Sequence[int]) -> str:
    word = "fragment" if len(fragments) == 1 else "fragments"
    return f"{word} {', '.join(str(index + 1) for index in fragments)}"


@contextmanager
def loading() -> Iterator[None]:
    """Say that something is going on, until it has gone on."""
    with Console(stderr=True).status("loading the model …", spinner="dots"):
        yield


@contextmanager
def quiet_keys() -> Iterator[None]:
    """Keys pressed while an answer is written do not show up in it; they are there at the next prompt. They do where
    the system has no termios (Windows)."""
    if find_spec("termios") is None:
        yield
        return
    import termios

    try:
        saved = termios.tcgetattr(sys.stdin)
    except (termios.error, ValueError, OSError):  # no terminal
        yield
        return
    quiet = [*saved]
    quiet[3] &= ~termios.ECHO
    try:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
