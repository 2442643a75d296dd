"""What keeps an SQLite store small and sound: forgetting what is beyond limits, finding what does not fit together."""

from __future__ import annotations

import sqlite3

from rxt.store.records import Retention
from rxt.store.sqlite_fragments import RUNNING
from rxt.store.sqlite_users import LOST, NEEDED

PROTECTED = (
    "SELECT id FROM turns WHERE status = 'answered'"
    f" UNION SELECT parent FROM turns WHERE status = 'answered' AND parent IS NOT NULL UNION {NEEDED}"
)


def pruned(base: sqlite3.Connection, retention: Retention, now: float) -> int:
    """Delete the oldest turns beyond the limits, and what has lost its newest one, within a transaction -> how many
    turns."""
    gone = 0
    if retention.seconds is not None:
        gone += base.execute(
            f"DELETE FROM turns WHERE created < ? AND id NOT IN ({PROTECTED})", (now - retention.seconds,)
        ).rowcount
    if retention.turns is not None:
        newest = "SELECT id FROM turns ORDER BY number DESC LIMIT ?"
        gone += base.execute(
            f"DELETE FROM turns WHERE id NOT IN ({newest}) AND id NOT IN ({PROTECTED})", (retention.turns,)
        ).rowcount
    if retention.bytes is not None:
        beyond = f"SELECT id FROM ({RUNNING}) WHERE total > ?"
        gone += base.execute(
            f"DELETE FROM turns WHERE id IN ({beyond}) AND id NOT IN ({PROTECTED})", (retention.bytes,)
        ).rowcount
    if gone:
        base.execute(f"DELETE FROM conversations WHERE head IS NOT NULL AND {LOST}")
        base.execute(f"DELETE FROM user_memories WHERE {LOST}")
    return gone


def broken_links(base: sqlite3.Connection) -> list[str]:
    """Which turns are named and not there, one line each."""
    heads = (
        f"SELECT id, head FROM conversations WHERE head IS NOT NULL AND {LOST}"
        f" UNION ALL SELECT 'the memory of the user ' || user, head FROM user_memories WHERE {LOST}"
    )
    gone = "NOT IN (SELECT id FROM turns)"
    lost = (
        f"SELECT id FROM turns WHERE status = 'answered' AND ((parent IS NOT NULL AND parent {gone})"
        f" OR number IN (SELECT turn FROM told WHERE follows {gone}))"
    )
    problems = [f"{row[0]}: its newest turn {row[1]} is not there" for row in base.execute(heads)]
    return problems + [f"{row[0]}: the turn before it is gone" for row in base.execute(lost)]
