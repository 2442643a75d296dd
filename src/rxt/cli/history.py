"""Earlier messages at the terminal, for the arrow keys."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory


class _CarefulHistory(FileHistory):
    """A file that has become unwritable costs the history, never the conversation."""

    def load_history_strings(self) -> Iterable[str]:
        with suppress(OSError):
            return list(super().load_history_strings())
        return []

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            super().store_string(string)


def open_history() -> History:
    """Earlier messages, for the arrow keys: in the user's state folder, for the user's eyes only; in memory where that
    fails."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    with contextlib.suppress(OSError, RuntimeError):
        path = Path(state).expanduser() / "rxt" / "chat_history"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        return _CarefulHistory(str(path))
    return InMemoryHistory()
