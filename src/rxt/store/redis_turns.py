"""How turns and conversations stand in Redis: their keys, and what is read there."""

from __future__ import annotations

from rxt.store.base import read_turn
from rxt.store.records import Damaged, Status, Turn, memory_checksum

TURN, MEMORY = ("body", "digest", "status"), ("memory", "checksum")


def turn_of(name: str, body: bytes | None, digest: bytes | None, status: bytes | None) -> Turn | None:
    """A turn out of the fields ``TURN``, None where there is none; ``Damaged`` if it is not what was written."""
    if body is None:
        return None
    if digest is None or status not in (b"answered", b"memorized"):
        raise Damaged(f"{name}: this turn in the store is damaged (a part of it is missing)")
    kept: Status = "memorized" if status == b"memorized" else "answered"
    return read_turn(name, body.decode("utf-8", "replace"), digest.decode("utf-8", "replace"), kept)


def memory_of(name: str, memory: bytes | None, checksum: bytes | None) -> bytes | None:
    """A memory out of the fields ``MEMORY``, as :func:`turn_of`."""
    if memory is not None and checksum != memory_checksum(memory).encode():
        raise Damaged(f"{name}: its memory in the store is damaged (its checksum is another)")
    return memory


def turn_key(name: str) -> str:
    """Of a turn's hash."""
    return f"rxt:turn:{name}"


def next_key(name: str) -> str:
    """The turns after one, unfinished or not."""
    return f"rxt:next:{name}"


def dialogue_key(name: str) -> str:
    """Of a conversation's hash."""
    return f"rxt:conversation:{name}"


def prefix_key(turn: Turn) -> str:
    """Of the name of the newest turn with this history."""
    return f"rxt:prefix:{turn.owner}:{turn.prefix}:{turn.fingerprint}"
