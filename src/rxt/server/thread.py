"""Messages that a client brings, as turns: an answer belongs to the message before it, a result to its call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rxt.engine.events import Past
from rxt.server.errors import Refused
from rxt.store.records import Call, Role


@dataclass(frozen=True)
class Heard:
    """One message of a request."""

    role: str
    text: str
    where: str
    calls: tuple[Call, ...] = ()
    """After an answer."""
    result_of: str = ""
    """The call whose result it is."""


def told(messages: Sequence[Heard], asks: bool = False) -> tuple[Past, ...]:
    """Who said what to whom.

    A message that nobody has answered is memorized without an answer; so is an answer without a message. A turn has one
    call: of several that were made at once each but the first is told as if the model had made it when it had the
    result before. ``asks``: the last one is a result that is to be answered, so no other is missing.

    Raises:
        Refused: a result for a call that waits for none; of several calls that were made at once one has no result.
    """
    thread = Thread()
    for message in messages:
        thread.hear(message)
    return thread.told(asks)


def role_of(message: Heard) -> Role:
    """Who says it; what tools say is told like a user's message where the model has no place for results."""
    match message.role:
        case "system" | "developer":
            return message.role
    return "user"


class Thread:
    """Takes messages in, one after the other."""

    def __init__(self) -> None:
        self._turns: list[Past] = []
        self._waiting: Call | None = None
        """The newest call, until its result or another message comes."""
        self._more: list[Call] = []
        """Made at once with it."""
        self._early: dict[str, Heard] = {}
        """Results of those, by call."""
        self._closed: dict[str, str] = {}
        """Calls that wait for no result any more, and why."""
        self._called_at = ""
        """Where the newest calls stand in the request."""

    def hear(self, message: Heard) -> None:
        """The next message."""
        if message.result_of:
            self._result(message)
        elif message.role == "assistant":
            self._answer(message)
        elif message.text.strip():
            role = role_of(message)
            if role == "user":
                self._refuse_open()
                self._close("another message came after it")
            self._turns.append(Past(message.text, role=role, where=message.where))

    def told(self, asks: bool = False) -> tuple[Past, ...]:
        """All of it, as turns; ``asks``: no call waits any more."""
        self._refuse_open(asks)
        return tuple(self._turns)

    def _answer(self, message: Heard) -> None:
        before = self._turns[-1] if self._turns else None
        asks = before is not None and (before.role == "tool" or (before.role == "user" and bool(before.query)))
        if before is not None and asks and not before.answer and before.call is None:
            self._turns[-1] = replace(before, answer=message.text)
        elif message.text.strip():
            self._turns.append(Past("", message.text, where=message.where))
        for call in message.calls:
            self._called_at = message.where
            self._call(call, message.where)

    def _call(self, call: Call, where: str) -> None:
        if self._waiting is not None:
            self._more.append(call)
            return
        before = self._turns[-1] if self._turns else None
        if before is None or before.role not in ("user", "tool") or before.call is not None:
            before = Past(where=where)
            self._turns.append(before)
        self._turns[-1] = replace(before, call=call)
        self._waiting = call

    def _result(self, message: Heard) -> None:
        name = message.result_of
        if self._waiting is not None and self._waiting.id == name:
            self._tell(message)
        elif name not in self._early and any(call.id == name for call in self._more):
            self._early[name] = message
        elif not any(turn.role in ("user", "tool") for turn in self._turns):
            self._tell(message)  # its call was made before all this: the engine knows
        else:
            reason = self._closed.get(name, "there is no such call before it")
            if name in self._early:
                reason = "it has its result"
            raise Refused(400, f"no call {name!r:.80} waits for a result: {reason}", "call_not_waiting", message.where)

    def _tell(self, message: Heard) -> None:
        """A result as a turn; where other calls were made with its call, the reply is the next of them."""
        name = message.result_of
        self._turns.append(Past(message.text, role="tool", where=message.where, result_of=name))
        self._closed[name] = "it has its result"
        self._waiting = self._more.pop(0) if self._more else None
        if self._waiting is not None:
            self._turns[-1] = replace(self._turns[-1], call=self._waiting)
            if self._waiting.id in self._early:
                self._tell(self._early.pop(self._waiting.id))

    def _close(self, reason: str) -> None:
        if self._waiting is not None:
            self._closed[self._waiting.id] = reason
        self._waiting = None

    def _refuse_open(self, even_one: bool = False) -> None:
        """Of calls that were made at once all but the last need their results, for each is a turn of its own."""
        if self._waiting is not None and (self._more or even_one):
            open_calls = [call.id for call in (self._waiting, *self._more) if call.id not in self._early]
            message = f"of calls that were made at once, {', '.join(open_calls):.200} have no result"
            raise Refused(400, message, "missing_result", self._called_at)
