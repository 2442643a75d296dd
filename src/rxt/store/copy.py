"""A store as lines of JSON, and back."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import Base64Bytes, TypeAdapter

from rxt.errors import UserError
from rxt.store.base import Store
from rxt.store.records import Dialogue, Turn, memory_checksum, problem

Format = Literal["rxt-conversations-1"]
FORMAT: Format = "rxt-conversations-1"
MANY = 1_000_000_000


@dataclass(frozen=True)
class TurnLine:
    """A turn, and the memory after it where there is one."""

    format: Format
    turn: Turn
    digest: str
    memory: Base64Bytes | None = None
    checksum: str | None = None

    def __post_init__(self) -> None:
        checksum = None if self.memory is None else memory_checksum(self.memory)
        if (self.turn.digest(), checksum) != (self.digest, self.checksum):
            raise ValueError("its checksum is another")


@dataclass(frozen=True)
class DialogueLine:
    """A conversation."""

    format: Format
    conversation: Dialogue


_TURN_LINE, _DIALOGUE_LINE = TypeAdapter(TurnLine), TypeAdapter(DialogueLine)


def exported(store: Store, name: str | None, head: str | None, owner: str) -> Iterator[str]:
    """All turns and conversations; with a ``name``, what leads to ``head``, and the conversation of this name."""
    names = store.scan() if name is None else (turn.id for turn in store.chain(head, owner, MANY))
    for turn_id in names:
        turn = store.turn(turn_id)
        if turn is None:
            continue  # forgotten in the meantime
        memory = store.memory(turn_id)
        line: dict[str, object] = {"format": FORMAT, "turn": json.loads(turn.to_json()), "digest": turn.digest()}
        if memory is not None:
            line |= {"memory": base64.b64encode(memory).decode(), "checksum": memory_checksum(memory)}
        yield json.dumps(line)
    for dialogue in store.dialogues(limit=MANY):
        if name in (None, dialogue.id):
            yield json.dumps({"format": FORMAT, "conversation": asdict(dialogue)})


def imported(store: Store, content: bytes, source: str) -> int:
    """Add what :func:`exported` gave -> how many turns and conversations are new. Everything is checked first."""
    turns: list[TurnLine] = []
    dialogues: list[Dialogue] = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            match _read(line):
                case TurnLine() as found:
                    turns.append(found)
                case DialogueLine(_, dialogue):
                    dialogues.append(dialogue)
        except ValueError as error:
            raise UserError(f"{source} line {number}: not what rxt db export wrote ({problem(error)})") from None
    added = 0
    for found in turns:
        if store.turn(found.turn.id) is None:
            store.add([found.turn])
            added += 1
        if found.memory is not None and store.memory(found.turn.id) is None:
            store.memorize(found.turn.id, found.memory)
    for dialogue in dialogues:
        if store.dialogue(dialogue.id) is None:
            store.put(dialogue)
            added += 1
    return added


def _read(line: bytes) -> TurnLine | DialogueLine:
    values = json.loads(line)
    if isinstance(values, dict) and "conversation" in values:
        return _DIALOGUE_LINE.validate_python(values)
    return _TURN_LINE.validate_python(values)
