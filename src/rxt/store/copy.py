"""A store as lines of JSON, and back."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rxt.errors import UserError
from rxt.store.base import Store
from rxt.store.records import Dialogue, Turn, memory_checksum

FORMAT = "rxt-conversations-1"
MANY = 1_000_000_000


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
    turns: list[tuple[Turn, bytes | None]] = []
    dialogues: list[Dialogue] = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            values: dict[str, Any] = json.loads(line)
            if values["format"] != FORMAT:
                raise ValueError("it is of another format")
            if "conversation" in values:
                dialogues.append(Dialogue(**values["conversation"]))
                continue
            turn = Turn.from_json(json.dumps(values["turn"]))
            memory = base64.b64decode(values["memory"], validate=True) if "memory" in values else None
            if turn.digest() != values["digest"] or (
                memory is not None and memory_checksum(memory) != values["checksum"]
            ):
                raise ValueError("its checksum is another")
            turns.append((turn, memory))
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, UserError) as error:
            raise UserError(f"{source} line {number}: not what rxt db export wrote ({error})") from None
    added = 0
    for turn, memory in turns:
        if store.turn(turn.id) is None:
            store.add([turn])
            added += 1
        if memory is not None and store.memory(turn.id) is None:
            store.memorize(turn.id, memory)
    for dialogue in dialogues:
        if store.dialogue(dialogue.id) is None:
            store.put(dialogue)
            added += 1
    return added
