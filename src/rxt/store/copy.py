"""A store as lines of JSON, and back."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import Base64Bytes, TypeAdapter

from rxt.errors import UserError
from rxt.store.base import Store
from rxt.store.records import Dialogue, StoredFragment, Turn, UserMemory, memory_checksum, problem

Format = Literal["rxt-conversations-1"]
FORMAT: Format = "rxt-conversations-1"
MANY = 1_000_000_000


@dataclass(frozen=True)
class FragmentOfLine:
    """A fragment of a pool."""

    name: str
    content: Base64Bytes | None = None
    """None where an earlier line of the file has it."""

    def __post_init__(self) -> None:
        if self.content is not None and memory_checksum(self.content) != self.name:
            raise ValueError("the checksum of a fragment is another")


@dataclass(frozen=True)
class TurnLine:
    """A turn, and the memory after it where there is one."""

    format: Format
    turn: Turn
    digest: str
    memory: Base64Bytes | None = None
    checksum: str | None = None
    fragments: tuple[FragmentOfLine, ...] = ()

    def __post_init__(self) -> None:
        checksum = None if self.memory is None else memory_checksum(self.memory)
        if (self.turn.digest(), checksum) != (self.digest, self.checksum):
            raise ValueError("its checksum is another")


@dataclass(frozen=True)
class DialogueLine:
    """A conversation."""

    format: Format
    conversation: Dialogue


@dataclass(frozen=True)
class UserLine:
    """The memory of a user: its newest turn is one of the turns."""

    format: Format
    user: UserMemory


Line = TurnLine | DialogueLine | UserLine
_TURN_LINE, _DIALOGUE_LINE, _USER_LINE = TypeAdapter(TurnLine), TypeAdapter(DialogueLine), TypeAdapter(UserLine)


def exported(store: Store, name: str | None, head: str | None, owner: str) -> Iterator[str]:
    """All turns, conversations and users' memories; with a ``name``, what leads to ``head``, and the conversation of
    this name."""
    told = set[str]()
    names = store.scan() if name is None else (turn.id for turn in store.chain(head, owner, MANY))
    for turn_id in names:
        turn = store.turn(turn_id)
        if turn is None:
            continue  # forgotten in the meantime
        memory = store.memory(turn_id)
        line: dict[str, object] = {"format": FORMAT, "turn": json.loads(turn.to_json()), "digest": turn.digest()}
        if memory is not None:
            line |= {"memory": base64.b64encode(memory).decode(), "checksum": memory_checksum(memory)}
            fragments = store.fragments(turn_id)
            if fragments:
                line["fragments"] = [_fragment_line(fragment, told) for fragment in fragments]
        yield json.dumps(line)
    for dialogue in store.dialogues(limit=MANY):
        if name in (None, dialogue.id):
            yield json.dumps({"format": FORMAT, "conversation": asdict(dialogue)})
    for memory in store.user_memories() if name is None else ():
        yield json.dumps({"format": FORMAT, "user": asdict(memory)})


def _fragment_line(fragment: StoredFragment, told: set[str]) -> dict[str, str]:
    """With its content where it has not been ``told`` yet."""
    if fragment.name in told:
        return {"name": fragment.name}
    told.add(fragment.name)
    return {"name": fragment.name, "content": base64.b64encode(fragment.content).decode()}


@dataclass(frozen=True)
class Copied:
    """What :func:`exported` gave, read and checked."""

    turns: Sequence[TurnLine]
    dialogues: Sequence[Dialogue]
    memories: Sequence[UserMemory]


def read_copy(content: bytes, source: str) -> Copied:
    """Read what :func:`exported` gave. ``source`` is its name, for messages.

    Raises:
        UserError: it is something else, or damaged; the message says in which line.
    """
    turns: list[TurnLine] = []
    dialogues: list[Dialogue] = []
    memories: list[UserMemory] = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            match _read(line.decode()):
                case TurnLine() as found:
                    turns.append(found)
                case DialogueLine(_, dialogue):
                    dialogues.append(dialogue)
                case UserLine(_, memory):
                    memories.append(memory)
        except UnicodeDecodeError:
            raise UserError(f"{source} line {number}: not what rxt db export wrote (this is no text)") from None
        except ValueError as error:
            raise UserError(f"{source} line {number}: not what rxt db export wrote ({problem(error)})") from None
    return Copied(turns, dialogues, memories)


def imported(store: Store, copied: Copied) -> int:
    """Add it to a store -> how many turns, conversations and memories of users are new."""
    added, contents = 0, dict[str, bytes]()
    for found in copied.turns:
        contents |= {one.name: one.content for one in found.fragments if one.content is not None}
        if store.turn(found.turn.id) is None:
            store.add([found.turn])
            added += 1
        if found.memory is not None and store.memory(found.turn.id) is None:
            names = [one.name for one in found.fragments]
            new = [StoredFragment(name, contents[name]) for name in names if name in contents]
            store.memorize(found.turn.id, found.memory, names, new)
    for dialogue in copied.dialogues:
        if store.dialogue(dialogue.id) is None:
            store.put(dialogue)
            added += 1
    for memory in copied.memories:
        if store.user_memory(memory.owner, memory.user, memory.fingerprint) is None:
            store.put_user_memory(memory)
            added += 1
    return added


def _read(line: str) -> Line:
    values = json.loads(line)
    if isinstance(values, dict) and "conversation" in values:
        return _DIALOGUE_LINE.validate_python(values)
    if isinstance(values, dict) and "user" in values:
        return _USER_LINE.validate_python(values)
    return _TURN_LINE.validate_python(values)
