"""What a conversation remembers of its last turn beside the memory: a tool call that may wait for its result."""

from __future__ import annotations

from dataclasses import dataclass

from rxt.data.template import Reply
from rxt.errors import UserError
from rxt.generation.manner import Manner
from rxt.tools.tool import ToolCall


@dataclass(frozen=True)
class LastTurn:
    """The last turn, and the newest tool call, which an earlier one may have made."""

    reply: Reply
    manner: Manner
    """How it was asked for, with the tools that it was told of."""
    call: ToolCall | None = None
    closed: str | None = None
    """Why the call waits for no result any more."""

    @property
    def waiting(self) -> ToolCall | None:
        """The call that waits for its result."""
        return self.call if self.closed is None else None

    def after(self, before: LastTurn | None, result: bool) -> LastTurn:
        """This turn where it followed ``before``; ``result``: it began with the result of that one's call."""
        if self.call is not None or before is None:
            return self
        closed = before.closed or ("it has its result" if result else "another message came after it")
        return LastTurn(self.reply, self.manner, before.call, closed)


def check_result(last: LastTurn | None, call_id: str) -> LastTurn:
    """The turn that made a call, if the result of ``call_id`` may come now.

    Raises:
        UserError: there was no such call, it has its result, or another message came after it.
    """
    if last is None or last.call is None:
        raise UserError(f"no call {call_id!r:.80} waits for a result: the model has called no tool")
    if last.call.id != call_id:
        raise UserError(f"no call {call_id!r:.80} waits for a result: the newest is {last.call.id}")
    if last.closed is not None:
        raise UserError(f"the call {call_id} waits for no result: {last.closed}")
    return last
