"""Fragments of pools in an SQLite store: each is there once, and goes with the last turn whose memory has it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from rxt.store.base import Lacking, damaged_fragment
from rxt.store.records import StoredFragment, memory_checksum

BYTES = "(SELECT coalesce(sum(length(content)), 0) FROM fragments)"
# Turns with the bytes of all that is needed for them and newer ones: a fragment counts with the newest that has it.
RUNNING = """SELECT id, sum(bytes + coalesce(own, 0)) OVER (ORDER BY number DESC) AS total FROM turns LEFT JOIN (
    SELECT newest, sum(length(content)) AS own
    FROM (SELECT fragment, max(turn) AS newest FROM uses GROUP BY fragment) JOIN fragments ON number = fragment
    GROUP BY newest
) ON newest = number"""


OF_TURN = """SELECT name, content FROM turns JOIN uses ON turn = turns.number
    JOIN fragments ON fragments.number = fragment WHERE turns.id = ? ORDER BY place"""
NAMES = "SELECT name FROM uses JOIN fragments ON number = fragment WHERE turn = ? ORDER BY place"
USERS = "SELECT id FROM uses JOIN turns ON number = turn WHERE fragment = ? ORDER BY number"
UNUSED = "SELECT name FROM fragments WHERE number NOT IN (SELECT fragment FROM uses)"


def put_fragments(
    base: sqlite3.Connection, number: int, turn: str, names: Sequence[str], new: Sequence[StoredFragment]
) -> None:
    """Make these the fragments of the turn with this number, within a transaction. ``Lacking`` if one is missing."""
    held = [row[0] for row in base.execute(NAMES, (number,))]
    if held == list(names):
        return
    base.execute("DELETE FROM uses WHERE turn = ?", (number,))
    base.executemany(
        "INSERT OR IGNORE INTO fragments (name, content) VALUES (?, ?)", [(one.name, one.content) for one in new]
    )
    base.executemany(
        "INSERT INTO uses (turn, place, fragment) SELECT ?, ?, number FROM fragments WHERE name = ?",
        [(number, place, name) for place, name in enumerate(names)],
    )
    if base.execute("SELECT count(*) FROM uses WHERE turn = ?", (number,)).fetchone()[0] != len(names):
        raise Lacking(turn)


def wrong_fragments(base: sqlite3.Connection) -> list[str]:
    """What is wrong with them, one line each."""
    problems = [f"{row[0]}: this fragment belongs to no memory" for row in base.execute(UNUSED)]
    problems += [
        "a fragment of a memory is gone from the store" for _ in base.execute("PRAGMA foreign_key_check (uses)")
    ]
    for number, name, content in base.execute("SELECT number, name, content FROM fragments ORDER BY number"):
        if memory_checksum(content) != name:
            turns = base.execute(USERS, (number,)).fetchall()
            problems += [str(damaged_fragment(row[0])) for row in turns]
    return problems
