"""A server whose model says what it is told to."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from live import Live

from factories import scripted_model
from scripted_chat import ids

LENGTH = 640
ADD: dict[str, Any] = {
    "name": "add",
    "description": "",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    },
}
FLAT: Any = {"type": "function", **ADD}
"""As ``/v1/responses`` has it."""
NESTED: Any = {"type": "function", "function": ADD}
"""As ``/v1/chat/completions`` has it."""


class Scripted:
    """A server, and the script of its model's next replies."""

    def __init__(self, db: Path | str) -> None:
        model, tokenizer, self._head = scripted_model(LENGTH)
        self.live = Live(model, tokenizer, db)

    def says(self, *replies: str) -> None:
        """What comes next; each reply ends with ``<eos>``."""
        self._follow([token for reply in replies for token in ids(reply)])

    def wishes(self, *logits: dict[int, float], first: str = "") -> None:
        """What it would like to say: after ``first`` the same at every step."""
        self._follow([*ids(first), *(each for _ in range(LENGTH) for each in logits)])

    def _follow(self, script: Sequence[int | Mapping[int, float]]) -> None:
        """An answer that the server ends itself, at a stop text or after so many tokens, goes on in the engine's thread
        until that hears of it, though its reply is there: it must not read the new script."""
        engine, give_up = self.live.sessions.engine, time.monotonic() + 60
        while engine.running or engine.waiting:
            assert time.monotonic() < give_up, "an answer does not end"
            time.sleep(0.001)
        self._head.follow(script)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """The reply, which must be one."""
        reply = self.live.http.post(path, json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def refused(self, path: str, **body: Any) -> tuple[int, str | None, str | None, str]:
        """Status, code, parameter and message of what is wrong."""
        reply = self.live.http.post(path, json=body)
        error = reply.json()["error"]
        assert "\n" not in error["message"]
        return reply.status_code, error["code"], error["param"], error["message"]
