"""What a turn asks for, and what happens in it, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rxt.errors import UserError
from rxt.generation.manner import FAST, Manner
from rxt.generation.sampling import Sampling
from rxt.generation.turn import MemoryUpdated, Token
from rxt.store.records import Call, Role, Turn


class NotThere(UserError):
    """There is no such turn or conversation, or it is somebody else's."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"there is no {what} {name}")
        self.what = what


class Occupied(UserError):
    """Another turn of this conversation is still being answered."""


class OtherScope(UserError):
    """A conversation keeps its memory to itself, or shares it with its user's other ones: from its first turn on."""


class HasMemory(UserError):
    """A user whose memory is brought has one already."""

    def __init__(self, user: str) -> None:
        super().__init__(f"the user {user!r:.80} has a memory already; delete it before another one is brought")


class TooMany(UserError):
    """One owner asks for more at once than one may."""


class OtherModel(UserError):
    """Made by other weights than this server's: its memory would mean nothing here."""

    def __init__(self, name: str, found: str, expected: str) -> None:
        super().__init__(
            f"{name} was made by other weights: it has fingerprint {found}, this server's model {expected}"
        )


class TooLong(UserError):
    """A message is longer than may be."""

    def __init__(self, message: str, where: str) -> None:
        super().__init__(message)
        self.where = where or None
        """Of the message in the request."""


class NotWaiting(UserError):
    """A tool's result comes for a call that waits for none."""

    def __init__(self, call: str, reason: str, where: str) -> None:
        super().__init__(f"no call {call!r:.80} waits for a result: {reason}")
        self.where = where or None
        """Of the result in the request."""


Scope = Literal["conversation", "user"]
"""Who has the fragments of a memory: each conversation its own, or all conversations of a user together."""


@dataclass(frozen=True)
class Past:
    """Something that was said before, and is memorized as it is: a message and its answer, either of them alone, or
    instructions. A message may be a tool's result, and an answer end with a tool call."""

    query: str = ""
    answer: str = ""
    role: Role = "user"
    """Whose ``query`` is; instructions have no answer."""
    where: str = ""
    """In the request, for errors."""
    call: Call | None = None
    """After the answer."""
    result_of: str = ""
    """The call whose result ``query`` is, where the role is ``tool``."""


@dataclass(frozen=True)
class Question:
    """What is asked, after what."""

    owner: str
    query: str
    history: tuple[Past, ...] = ()
    """What the client brings; it is memorized as it is, before the query is answered."""
    instructions: str | None = None
    """A system prompt, memorized at the start; later only where it is another one."""
    previous: str | None = None
    """The turn after which this is asked, whatever came after it elsewhere."""
    conversation: str | None = None
    """The conversation whose newest turn this is asked after."""
    sampling: Sampling = field(default_factory=Sampling)
    most: int | None = None
    """Tokens of the longest answer; by default what fits."""
    store: bool = True
    """Without it nothing of this turn is kept, and nobody can go on from it."""
    settings: str = "{}"
    """Kept with the turn."""
    where: str = ""
    """The query in the request, for errors."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer, which goes up to the first of them."""
    alternatives: int | None = None
    """Have each token told with its likelihood, and with so many of the likeliest ones."""
    schema: str | None = None
    """Of an answer in JSON, as JSON."""
    manner: Manner = FAST
    """Whether the model thinks first, which tools it is told of, and whether it has to call one."""
    result_of: str = ""
    """The call whose result the query is, where it is one."""
    user: str = ""
    """Who asks, as the client names the user."""
    scope: Scope | None = None
    """Of the memory; None: that of what the question goes on from, at a beginning what is usual here."""


@dataclass(frozen=True)
class TurnFragments:
    """What a turn did with the fragments of a pool, which count from 0."""

    count: int
    """There are after it."""
    slots: int
    """Of a fragment."""
    seen: tuple[int, ...]
    """By the answer, the one most like the query first; empty where nothing was answered here."""
    written: tuple[int, ...]
    """In their order; one that was not seen is new."""


@dataclass(frozen=True)
class Finished:
    """The answer is complete, and written down."""

    turn: Turn


@dataclass(frozen=True)
class Memorized:
    """The turn has been memorized."""

    turn: Turn
    update: MemoryUpdated


Event = Token | Finished | Memorized
