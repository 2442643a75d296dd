"""The store in one SQLite file, in WAL mode: what a call has written survives the death of the process and of the
machine."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from rxt.errors import UserError
from rxt.store.base import Moved, Store, StoreFailed, read_fragment, read_turn
from rxt.store.records import Damaged, Dialogue, Retention, Stats, StoredFragment, Turn, UserMemory, memory_checksum
from rxt.store.sqlite_fragments import BYTES, OF_TURN, put_fragments, wrong_fragments
from rxt.store.sqlite_schema import FRAGMENTS, SCHEMA, USERS
from rxt.store.sqlite_upkeep import broken_links, pruned
from rxt.store.sqlite_users import COLUMNS, NEEDS, forget_user, go_on, note_told, put_memory, refuse_lost_heads

VERSION = 1
BUSY_SECONDS = 30.0
# What others go on from among the turns of the conversation ?1, which is deleted already: where they leave it, and all
# that is before.
FORKED = """WITH RECURSIVE forked (id) AS (
    SELECT said.id FROM turns AS said JOIN turns AS other ON other.parent = said.id
        WHERE said.conversation = ?1 AND other.conversation IS NOT ?1
    UNION SELECT said.id FROM turns AS said JOIN conversations ON head = said.id WHERE said.conversation = ?1
    UNION SELECT turns.parent FROM turns JOIN forked ON turns.id = forked.id WHERE turns.parent IS NOT NULL
)"""


class SqliteStore(Store):
    """One file. Several processes of one machine may use it at the same time."""

    def __init__(self, path: Path, create: bool = True) -> None:
        """Raises ``UserError`` if the file cannot be opened, or is something else."""
        if not create and not path.is_file():
            raise UserError(f"{path}: no such file")
        if path.is_dir() or not path.parent.is_dir():
            raise UserError(
                f"{path}: {'this is a folder; name a file' if path.is_dir() else f'there is no folder {path.parent}'}"
            )
        self._path = path
        self._lock = threading.RLock()
        try:
            self._base = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._open()
            except BaseException:
                self._base.close()
                raise
        except sqlite3.OperationalError as error:
            raise UserError(
                f"{path}: cannot be opened for writing ({error}); see to the folder's permissions and free space"
            ) from None
        except sqlite3.Error as error:
            raise UserError(f"{path}: not a store of conversations ({error})") from None

    @classmethod
    def open(cls, address: str, create: bool) -> Self:
        return cls(Path(address.removeprefix("file://")), create)

    def _open(self) -> None:
        run = self._base.execute
        run("PRAGMA foreign_keys = ON")
        run("PRAGMA secure_delete = ON")
        version = run("PRAGMA user_version").fetchone()[0]
        if version == 0:
            if run("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise UserError(f"{self._path}: an SQLite file of another program; name another file")
            run("PRAGMA auto_vacuum = INCREMENTAL")
        elif version != VERSION:
            raise UserError(
                f"{self._path}: a store of version {version}, this rxt reads version {VERSION}; "
                "use the rxt that wrote it"
            )
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")  # a commit is on disk, not only on its way
        if version == 0:
            self._base.executescript(f"BEGIN IMMEDIATE; {SCHEMA}; PRAGMA user_version = {VERSION}; COMMIT;")
        for name, tables in (("fragments", FRAGMENTS), ("told", USERS)):
            if not run("SELECT count(*) FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]:
                self._base.executescript(f"BEGIN IMMEDIATE; {tables}; COMMIT;")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Whole or not at all."""
        with self._lock, self._errors():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            kind = Damaged if "malformed" in str(error) or "not a database" in str(error) else StoreFailed
            raise kind(f"{self._path}: {error}") from None

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock, self._errors():
            return self._base.execute(query, values).fetchall()

    # Turns and memories.

    def add(
        self,
        turns: Sequence[Turn],
        conversation: str | None = None,
        expected: str | None = None,
        memory: UserMemory | None = None,
    ) -> None:
        with self._transaction() as base:
            for turn in turns:
                body = turn.to_json()
                keys = (
                    turn.id,
                    turn.owner,
                    turn.created,
                    turn.parent,
                    turn.conversation,
                    turn.prefix,
                    turn.fingerprint,
                )
                base.execute(
                    "INSERT INTO turns"
                    " (id, owner, created, parent, conversation, prefix, fingerprint, status, body, digest, bytes)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, 'answered', ?, ?, ?)",
                    (*keys, body, turn.digest(), len(body)),
                )
                note_told(base, turn)
            if memory is not None:
                go_on(base, memory, turns[-1])
            if conversation is not None:
                moved = base.execute(
                    "UPDATE conversations SET head = ?, updated = ? WHERE id = ? AND head IS ?",
                    (turns[-1].id, turns[-1].created, conversation, expected),
                )
                if not moved.rowcount:
                    raise Moved(f"the conversation {conversation} went on elsewhere in the meantime, or was deleted")

    def memorize(
        self, turn: str, memory: bytes, fragments: Sequence[str] = (), new: Sequence[StoredFragment] = ()
    ) -> None:
        with self._transaction() as base:
            found = base.execute("SELECT number FROM turns WHERE id = ?", (turn,)).fetchone()
            if found is None:
                return
            put_fragments(base, found[0], turn, fragments, new)
            base.execute(
                "UPDATE turns SET status = 'memorized', memory = ?, checksum = ?, bytes = length(body) + ?"
                " WHERE number = ?",
                (memory, memory_checksum(memory), len(memory), found[0]),
            )

    def turn(self, turn: str, owner: str | None = None) -> Turn | None:
        found = self._turns("id = ? AND (? IS NULL OR owner = ?)", (turn, owner, owner))
        return found[0] if found else None

    def memory(self, turn: str) -> bytes | None:
        rows = self._rows("SELECT memory, checksum FROM turns WHERE id = ? AND memory IS NOT NULL", (turn,))
        if not rows:
            return None
        memory, checksum = rows[0]
        if memory_checksum(memory) != checksum:
            raise Damaged(f"{turn}: its memory in the store is damaged (its checksum is another)")
        return memory

    def fragments(self, turn: str) -> list[StoredFragment]:
        return [read_fragment(turn, *row) for row in self._rows(OF_TURN, (turn,))]

    def by_prefix(self, owner: str, prefix: str, fingerprint: str) -> Turn | None:
        where = "owner = ? AND prefix = ? AND fingerprint = ? ORDER BY number DESC LIMIT 1"
        found = self._turns(where, (owner, prefix, fingerprint))
        return found[0] if found else None

    def children(self, turn: str) -> list[Turn]:
        return self._turns(f"(parent = ?1 OR {NEEDS}) AND status = 'answered' ORDER BY number", (turn,))

    def unfinished(self) -> list[Turn]:
        return self._turns("status = 'answered' ORDER BY number")

    def delete_turn(self, turn: str, owner: str) -> bool:
        with self._transaction() as base:
            gone = base.execute("SELECT parent FROM turns WHERE id = ? AND owner = ?", (turn, owner)).fetchone()
            if gone is None:
                return False
            base.execute("DELETE FROM turns WHERE id = ?", (turn,))
            base.execute(
                "UPDATE conversations SET head = ?1 WHERE head = ?2 AND (?1 IS NULL OR ?1 IN (SELECT id FROM turns))",
                (gone[0], turn),
            )
            base.execute("DELETE FROM conversations WHERE head = ?", (turn,))
            refuse_lost_heads(base, owner)
        self._give_back()  # what was deleted is not in the log either
        return True

    def scan(self) -> Iterator[str]:
        last = 0
        while rows := self._rows("SELECT number, id FROM turns WHERE number > ? ORDER BY number LIMIT 500", (last,)):
            yield from (row[1] for row in rows)
            last = rows[-1][0]

    def _turns(self, where: str, values: Sequence[Any] = ()) -> list[Turn]:
        return [
            read_turn(*row) for row in self._rows(f"SELECT id, body, digest, status FROM turns WHERE {where}", values)
        ]

    # Conversations.

    def put(self, dialogue: Dialogue) -> None:
        values = (dialogue.owner, dialogue.created, dialogue.updated, dialogue.head, json.dumps(dialogue.metadata))
        with self._transaction() as base:
            base.execute(
                "INSERT INTO conversations (id, owner, created, updated, head, metadata) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE"
                " SET updated = excluded.updated, head = excluded.head, metadata = excluded.metadata",
                (dialogue.id, *values),
            )

    def dialogue(self, dialogue: str, owner: str | None = None) -> Dialogue | None:
        found = self._dialogues("id = ? AND (? IS NULL OR owner = ?)", (dialogue, owner, owner))
        return found[0] if found else None

    def dialogues(self, owner: str | None = None, limit: int = 100) -> list[Dialogue]:
        return self._dialogues(
            "? IS NULL OR owner = ? ORDER BY updated DESC, created DESC LIMIT ?", (owner, owner, limit)
        )

    def _dialogues(self, where: str, values: Sequence[Any]) -> list[Dialogue]:
        rows = self._rows(
            f"SELECT id, owner, created, updated, head, metadata FROM conversations WHERE {where}", values
        )
        return [Dialogue(*row[:5], metadata=json.loads(row[5])) for row in rows]

    def delete_dialogue(self, dialogue: str, owner: str) -> bool:
        with self._transaction() as base:
            gone = base.execute("DELETE FROM conversations WHERE id = ? AND owner = ?", (dialogue, owner)).rowcount
            if gone:
                base.execute(
                    f"{FORKED} DELETE FROM turns WHERE conversation = ?1 AND owner = ?2 AND id NOT IN forked",
                    (dialogue, owner),
                )
                refuse_lost_heads(base, owner)
        if gone:
            self._give_back()
        return bool(gone)

    def lock(self, dialogue: str, holder: str, seconds: float) -> bool:
        now = time.time()
        with self._transaction() as base:
            taken = base.execute(
                "UPDATE conversations SET holder = ?, held_until = ?"
                " WHERE id = ? AND (holder IS NULL OR holder = ? OR held_until < ?)",
                (holder, now + seconds, dialogue, holder, now),
            )
            return bool(taken.rowcount)

    def holder(self, dialogue: str) -> str | None:
        rows = self._rows("SELECT holder FROM conversations WHERE id = ?", (dialogue,))
        return rows[0][0] if rows else None

    def unlock(self, dialogue: str, holder: str) -> None:
        with self._transaction() as base:
            base.execute(
                "UPDATE conversations SET holder = NULL, held_until = 0 WHERE id = ? AND holder = ?", (dialogue, holder)
            )

    # Memories of users.

    def user_memory(self, owner: str, user: str, fingerprint: str) -> UserMemory | None:
        where = "owner = ? AND user = ? AND fingerprint = ?"
        rows = self._rows(f"SELECT {COLUMNS} FROM user_memories WHERE {where}", (owner, user, fingerprint))
        return UserMemory(*rows[0]) if rows else None

    def user_memories(self) -> list[UserMemory]:
        return [UserMemory(*row) for row in self._rows(f"SELECT {COLUMNS} FROM user_memories ORDER BY created")]

    def put_user_memory(self, memory: UserMemory) -> None:
        with self._transaction() as base:
            put_memory(base, memory)

    def delete_user_memory(self, owner: str, user: str) -> list[str]:
        with self._transaction() as base:
            names = forget_user(base, owner, user)
        self._give_back()
        return names

    # The whole.

    def stats(self) -> Stats:
        turns, unfinished, size = self._rows(
            f"SELECT count(*), coalesce(sum(status = 'answered'), 0), coalesce(sum(bytes), 0) + {BYTES} FROM turns"
        )[0]
        return Stats(turns, unfinished, self._rows("SELECT count(*) FROM conversations")[0][0], size)

    def prune(self, retention: Retention, now: float) -> int:
        with self._transaction() as base:
            gone = pruned(base, retention, now)
        if gone:
            self._give_back()
        return gone

    def _give_back(self) -> None:
        """Free pages go back to the disk, out of the file and out of its log."""
        with self._lock, self._errors():
            # A script runs to its end; ``execute`` would stop after the first page.
            self._base.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);")

    def verify(self) -> list[str]:
        try:
            problems = [str(row[0]) for row in self._rows("PRAGMA integrity_check") if row[0] != "ok"]
            with self._lock, self._errors():
                problems += broken_links(self._base) + wrong_fragments(self._base)
            for name in self.scan():
                try:
                    self.turn(name)
                    self.memory(name)
                except Damaged as error:
                    problems.append(str(error))
        except UserError as error:
            return [str(error)]
        return problems

    def close(self) -> None:
        with self._lock:
            self._base.close()
