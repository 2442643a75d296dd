"""What a store keeps: turns and conversations, as values."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from rxt.errors import UserError

Status = Literal["answered", "memorized"]
Kind = Literal["turn", "history", "memory"]
"""``turn``: answered here; ``history``: an interaction that a client brought; ``memory``: only a memory, from a
file."""

Role = Literal["user", "system", "developer", "tool"]
Mode = Literal["fast", "thinking", "auto"]


class Damaged(UserError):
    """What the store holds is not what was written."""


@dataclass(frozen=True)
class Call:
    """A tool call of the model."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: str
    """By which its result is given back."""
    name: str
    """Of the tool; empty where the call cannot be read."""
    arguments: str
    """In JSON; all that the model wrote where the call cannot be read."""
    error: str | None = None
    """In one line, why this is no call of a tool that was offered."""


@dataclass(frozen=True)
class Turn:
    """One finished interaction. It never changes, except that its memory is added: ``answered`` becomes
    ``memorized``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: str
    owner: str
    """Who may see it: what stands for an API key; empty where the server asks for none."""
    created: float
    """Seconds since 1970."""
    fingerprint: str
    """Of the weights that answered."""
    parent: str | None = None
    """The turn whose memory this one was answered with; None: a fresh memory."""
    conversation: str | None = None
    """The conversation in which it was said."""
    kind: Kind = "turn"
    seed: int = 0
    """Of the fresh memory at the start."""
    instructions: str | None = None
    """The system prompt of all the turns from the start to here."""
    opening: tuple[int, ...] = ()
    """Tokens of the system prompt, memorized before this turn; the first turn has them."""
    lead: tuple[tuple[int, ...], ...] = ()
    """Tokens of interactions that were memorized before this one and are no turns: a system prompt that came later, the
    first parts of a long message."""
    role: Role = "user"
    """Whose query is."""
    name: str = ""
    """Of its messages where they are an earlier turn's: in a conversation that an item was deleted from."""
    query: str = ""
    answer: str = ""
    prompt: tuple[int, ...] = ()
    """Tokens of the query with its markers."""
    said: tuple[int, ...] = ()
    """Tokens of the answer."""
    finish_reason: Literal["stop", "length"] = "stop"
    number: int = 1
    """Of this turn among its ancestors, counted from 1."""
    prefix: str = ""
    """Stands for the texts of all turns from the start to here."""
    knowledge: str = ""
    """What stands for the fragments that the fresh memory at the start had already; the first turn has it."""
    chosen: tuple[int, ...] = ()
    """Fragments of a pool that the answer looked up, the one most like the query first."""
    settings: str = "{}"
    """What the server wants to know of it again, as JSON: sampling, metadata."""
    mode: Mode = "fast"
    """Which part ``said`` begins in: thinking after ``thinking``, what the model chose in ``auto``, else the answer."""
    internal: str | None = None
    """What the model was told beside the query: the tools of this turn."""
    think: str | None = None
    """What the model thought; None where it did not think."""
    thinking_tokens: int = 0
    """Of ``said``, markers not counted."""
    call: Call | None = None
    """The tool call at its end."""
    result_of: str = ""
    """The call whose result the query is, where ``role`` is ``tool``."""
    user: str = ""
    """Whose memory it was told to, as the client names the user; empty where the conversation keeps it to itself."""
    follows: str | None = None
    """The newest turn of that memory before this one, whichever conversation it was said in."""
    status: Status = "answered"

    def digest(self) -> str:
        """Of everything that never changes."""
        values = {name: value for name, value in asdict(self).items() if name != "status"}
        for name in _LATER:  # turns of before these fields keep their checksums
            if values[name] == getattr(Turn, name):
                del values[name]
        return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]

    def to_json(self) -> str:
        """As one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Turn:
        """What :meth:`to_json` wrote. ``Damaged`` if it is something else."""
        try:
            return _TURN.validate_python(json.loads(text))
        except ValueError as error:
            raise Damaged(f"a turn in the store cannot be read ({problem(error)})") from None

    def memorized(self) -> Turn:
        """The same turn, with its memory written."""
        return replace(self, status="memorized")


@dataclass(frozen=True)
class StoredFragment:
    """A fragment of a pool, which the memories of many turns may have in common."""

    name: str
    """Its checksum."""
    content: bytes

    @classmethod
    def of(cls, content: bytes) -> Self:
        """With the name that this content has."""
        return cls(memory_checksum(content), content)


@dataclass(frozen=True)
class Dialogue:
    """A conversation by name: it has one head, the newest turn, and grows by one turn at a time."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: str
    owner: str
    created: float
    updated: float
    head: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class UserMemory:
    """The memory that all conversations of one user share: the fragments after its newest turn."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    owner: str
    """Whose key asked: the same name under another key is somebody else."""
    user: str
    fingerprint: str
    """Of the weights that made it; other weights begin another one."""
    created: float
    """When it began, which also tells it from one that was deleted."""
    updated: float
    head: str | None = None
    """The newest turn; None: nothing was said yet, and the store does not have it."""


@dataclass(frozen=True)
class Stats:
    """How much a store holds."""

    turns: int
    unfinished: int
    """Answered, and not memorized yet."""
    conversations: int
    bytes: int
    """Of turns and memories."""


@dataclass(frozen=True)
class Retention:
    """What is kept. None: no limit."""

    seconds: float | None = None
    """Turns that are older go."""
    turns: int | None = None
    """The newest ones stay."""
    bytes: int | None = None
    """Of turns and memories; the newest stay."""


_TURN = TypeAdapter(Turn)
_LATER = (
    "lead",
    "role",
    "name",
    "mode",
    "internal",
    "think",
    "thinking_tokens",
    "call",
    "result_of",
    "chosen",
    "knowledge",
    "user",
    "follows",
)


def problem(error: ValueError) -> str:
    """What is wrong with JSON that was read, in one line, without repeating what people said."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_input=False)[0]
    what = first["msg"].removeprefix("Value error, ").lower()
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), what)))


def new_id(kind: Literal["resp", "conv", "chatcmpl"]) -> str:
    """A name that nobody can guess."""
    return f"{kind}_{secrets.token_hex(16)}"


def chain_prefix(before: str, query: str, answer: str) -> str:
    """What stands for a history that goes on with one more turn."""
    return sha256(json.dumps([before, query, answer]).encode()).hexdigest()[:32]


def next_prefix(before: str, query: str, answer: str, of_tool: bool = False, call: Call | None = None) -> str:
    """``chain_prefix`` of a turn that may begin with a tool's result, or end with a call.

    Neither names of calls nor thinking count: clients send the same history without them.
    """
    plain = chain_prefix(before, query, answer)
    if not of_tool and call is None:
        return plain
    called = None if call is None else [call.name, _in_one_form(call.arguments)]
    return chain_prefix("parts", plain, json.dumps([of_tool, called]))


def _in_one_form(text: str) -> str:
    """JSON as everybody writes it who means the same; other texts as they are."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return text


def memory_checksum(memory: bytes) -> str:
    """Of a memory's bytes."""
    return sha256(memory).hexdigest()[:32]
