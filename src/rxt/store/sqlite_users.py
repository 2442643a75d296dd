"""Memories of users in an SQLite store: which turns were told to them, and which of these is the newest."""

from __future__ import annotations

import sqlite3

from rxt.store.base import Outrun, StillHead
from rxt.store.records import Turn, UserMemory

COLUMNS = "owner, user, fingerprint, created, updated, head"
NEEDS = "number IN (SELECT turn FROM told WHERE follows = ?1)"
"""Of turns: that they were told to a user's memory after turn ?1."""
NEEDED = "SELECT follows FROM told JOIN turns ON number = turn WHERE status = 'answered' AND follows IS NOT NULL"
OF_USER = "SELECT id FROM turns JOIN told ON turn = number WHERE told.owner = ?1 AND user = ?2"
LOST = "head NOT IN (SELECT id FROM turns)"


def note_told(base: sqlite3.Connection, turn: Turn) -> None:
    """A turn that has just been added, where it was told to a user's memory."""
    if turn.user:
        base.execute(
            "INSERT INTO told (turn, owner, user, follows) SELECT number, owner, ?, ? FROM turns WHERE id = ?",
            (turn.user, turn.follows, turn.id),
        )


def go_on(base: sqlite3.Connection, memory: UserMemory, newest: Turn) -> None:
    """Make a turn the newest of a memory. ``Outrun`` if the memory is not as it was found."""
    if memory.head is None:
        values = (memory.owner, memory.user, memory.fingerprint, memory.created, newest.created, newest.id)
        query = f"INSERT OR IGNORE INTO user_memories ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
    else:
        values = (newest.created, newest.id, memory.owner, memory.user, memory.fingerprint, memory.created, memory.head)
        query = (
            "UPDATE user_memories SET updated = ?, head = ?"
            " WHERE owner = ? AND user = ? AND fingerprint = ? AND created = ? AND head = ?"
        )
    if not base.execute(query, values).rowcount:
        raise Outrun(memory.user)


def put_memory(base: sqlite3.Connection, memory: UserMemory) -> None:
    """Add one, or change it."""
    values = (memory.owner, memory.user, memory.fingerprint, memory.created, memory.updated, memory.head)
    base.execute(f"INSERT OR REPLACE INTO user_memories ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", values)


def refuse_lost_heads(base: sqlite3.Connection, owner: str) -> None:
    """``StillHead`` if the newest turn of one of an owner's memories has been deleted; within a transaction, so that it
    has not been."""
    for row in base.execute(f"SELECT {COLUMNS} FROM user_memories WHERE owner = ? AND {LOST}", (owner,)):
        raise StillHead(UserMemory(*row))


def forget_user(base: sqlite3.Connection, owner: str, user: str) -> list[str]:
    """Delete a user's turns and memories, and conversations that were about to go on from them -> the turns' names."""
    names = [row[0] for row in base.execute(OF_USER, (owner, user))]
    base.execute(
        f"DELETE FROM conversations WHERE head IN ({OF_USER}) OR (head IS NULL AND id IN (SELECT conversation"
        " FROM turns JOIN told ON turn = number WHERE told.owner = ?1 AND user = ?2))",
        (owner, user),
    )
    base.execute(
        "DELETE FROM turns WHERE number IN (SELECT turn FROM told WHERE owner = ? AND user = ?)", (owner, user)
    )
    base.execute("DELETE FROM user_memories WHERE owner = ? AND user = ?", (owner, user))
    return names
