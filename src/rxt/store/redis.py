"""The store in Redis, for server processes that share conversations.

Every change is one transaction. What a call has written is as durable as the server's settings make it: ``appendonly
yes`` and ``appendfsync always`` for as much as the SQLite store gives.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

from rxt.store.base import Moved, Store, StoreFailed, read_turn
from rxt.store.records import Damaged, Dialogue, Retention, Stats, Status, StoredFragment, Turn, memory_checksum
from rxt.store.redis_connection import Changes, RedisConnection
from rxt.store.redis_fragments import RedisFragments, keys_of

UNLOCK = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
LOCK = """local holder = redis.call('get', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if redis.call('exists', KEYS[2]) == 0 then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1"""
TURN, MEMORY = ("body", "digest", "status"), ("memory", "checksum")
BATCH = 500


class RedisStore(Store):
    """Under the keys that begin with ``rxt:`` in one Redis database."""

    shared: ClassVar[bool] = True

    def __init__(self, address: str) -> None:
        """``redis://[:PASSWORD@]HOST:PORT/NUMBER``. Raises ``UserError`` if there is none, or its contents are of
        another version."""
        self._connection = RedisConnection(address)
        self._ask, self._change = self._connection.ask, self._connection.change
        self._fragments = RedisFragments(self._connection)

    @classmethod
    def open(cls, address: str, create: bool) -> Self:
        return cls(address)

    # Turns and memories.

    def add(self, turns: Sequence[Turn], conversation: str | None = None, expected: str | None = None) -> None:
        def work(changes: Changes) -> None:
            found = None if conversation is None else self.dialogue(conversation)
            if found is not None and found.head == turns[-1].id:
                return  # an earlier try was carried out, and only its answer was lost
            if conversation is not None and (found is None or found.head != expected):
                raise Moved(f"the conversation {conversation} went on elsewhere in the meantime, or was deleted")
            for turn in turns:
                if self._ask("EXISTS", _turn(turn.id)):
                    continue
                body, number = turn.to_json(), self._ask("INCR", "rxt:number")
                values = ("body", body, "digest", turn.digest(), "status", "answered", "bytes", len(body))
                changes.note("HSET", _turn(turn.id), *values)
                changes.note("ZADD", "rxt:turns", number, turn.id)
                changes.note("ZADD", "rxt:unfinished", number, turn.id)
                changes.note("INCRBY", "rxt:bytes", len(body))
                changes.note("SET", _prefix(turn), turn.id)
                if turn.parent is not None:
                    changes.note("SADD", f"rxt:children:{turn.parent}", turn.id)
                    changes.note("SADD", _next(turn.parent), turn.id)
                if turn.conversation is not None:
                    changes.note("SADD", f"rxt:said:{turn.conversation}", turn.id)
            if found is not None:
                self._head(changes, found, turns[-1].id, turns[-1].created)

        # What is added is watched too: a transaction whose answer was lost with the connection is looked at again, not
        # sent again.
        self._change(
            [*(_turn(turn.id) for turn in turns), *([] if conversation is None else [_dialogue(conversation)])], work
        )

    def _head(self, changes: Changes, dialogue: Dialogue, head: str | None, updated: float) -> None:
        if dialogue.head is not None:
            changes.note("SREM", f"rxt:heads:{dialogue.head}", dialogue.id)
        if head is not None:
            changes.note("SADD", f"rxt:heads:{head}", dialogue.id)
        changes.note("HSET", _dialogue(dialogue.id), "head", head or "", "updated", repr(updated))
        for names in ("rxt:conversations", f"rxt:conversations:{dialogue.owner}"):
            changes.note("ZADD", names, repr(updated), dialogue.id)

    def memorize(
        self, turn: str, memory: bytes, fragments: Sequence[str] = (), new: Sequence[StoredFragment] = ()
    ) -> None:
        def work(changes: Changes) -> None:
            found = self.turn(turn)
            if found is None:
                return
            size = len(memory) + int(self._ask("HSTRLEN", _turn(turn), "body"))
            before = int(self._ask("HGET", _turn(turn), "bytes") or 0)
            values = ("status", "memorized", "memory", memory, "checksum", memory_checksum(memory), "bytes", size)
            self._fragments.put(changes, _turn(turn), turn, fragments, new)
            changes.note("HSET", _turn(turn), *values)
            changes.note("INCRBY", "rxt:bytes", size - before)
            changes.note("ZREM", "rxt:unfinished", turn)
            if found.parent is not None:
                changes.note("SREM", f"rxt:children:{found.parent}", turn)

        self._change([_turn(turn), *keys_of(fragments)], work)

    def turn(self, turn: str, owner: str | None = None) -> Turn | None:
        found = _read_turn(turn, *self._ask("HMGET", _turn(turn), *TURN))
        return found if found is not None and owner in (None, found.owner) else None

    def memory(self, turn: str) -> bytes | None:
        return _read_memory(turn, *self._ask("HMGET", _turn(turn), *MEMORY))

    def fragments(self, turn: str) -> list[StoredFragment]:
        return self._fragments.read(_turn(turn), turn)

    def by_prefix(self, owner: str, prefix: str, fingerprint: str) -> Turn | None:
        name = self._ask("GET", f"rxt:prefix:{owner}:{prefix}:{fingerprint}")
        return None if name is None else self.turn(name.decode(), owner)

    def children(self, turn: str) -> list[Turn]:
        return self._turns(self._ask("SMEMBERS", f"rxt:children:{turn}"))

    def unfinished(self) -> list[Turn]:
        return self._turns(self._ask("ZRANGE", "rxt:unfinished", 0, -1))

    def _turns(self, names: Sequence[bytes]) -> list[Turn]:
        found = [self.turn(name.decode()) for name in names]
        return [turn for turn in found if turn is not None]

    def delete_turn(self, turn: str, owner: str) -> bool:
        found = self.turn(turn, owner)
        if found is None:
            return False

        def work(changes: Changes) -> None:
            there = found.parent is None or self._ask("EXISTS", _turn(found.parent))
            for name in self._ask("SMEMBERS", f"rxt:heads:{turn}"):
                dialogue = self.dialogue(name.decode())
                if dialogue is not None and there:
                    self._head(changes, dialogue, found.parent, dialogue.updated)
                elif dialogue is not None:
                    self._drop(changes, dialogue)
            self._forget(changes, turn)

        before = [] if found.parent is None else [_turn(found.parent)]
        self._change([_turn(turn), f"rxt:heads:{turn}", *before], work)
        return True

    def _forget(self, changes: Changes, name: str) -> None:
        """A turn and everything that leads to it; the conversations that it is the head of are seen to before."""
        size = self._ask("HGET", _turn(name), "bytes")
        if size is None:
            return
        changes.note("INCRBY", "rxt:bytes", -int(size))
        self._fragments.drop(changes, _turn(name))
        try:
            turn = self.turn(name)
        except Damaged:
            turn = None
        if turn is not None:
            if self._ask("GET", _prefix(turn)) == name.encode():
                changes.note("DEL", _prefix(turn))
            if turn.parent is not None:
                changes.note("SREM", f"rxt:children:{turn.parent}", name)
                changes.note("SREM", _next(turn.parent), name)
            if turn.conversation is not None:
                changes.note("SREM", f"rxt:said:{turn.conversation}", name)
        changes.note("DEL", _turn(name), f"rxt:heads:{name}")
        for names in ("rxt:turns", "rxt:unfinished"):
            changes.note("ZREM", names, name)

    def _forget_with_dialogues(self, changes: Changes, name: str) -> None:
        for heading in self._ask("SMEMBERS", f"rxt:heads:{name}"):
            dialogue = self.dialogue(heading.decode())
            if dialogue is not None:
                self._drop(changes, dialogue)
        self._forget(changes, name)

    def scan(self) -> Iterator[str]:
        last = "-inf"
        while names := self._ask("ZRANGE", "rxt:turns", last, "+inf", "BYSCORE", "LIMIT", 0, BATCH):
            score = self._ask("ZSCORE", "rxt:turns", names[-1])
            yield from (name.decode() for name in names)
            if score is None:
                break
            last = f"({float(score):.0f}"  # "(": those after it

    # Conversations.

    def put(self, dialogue: Dialogue) -> None:
        def work(changes: Changes) -> None:
            before = self.dialogue(dialogue.id)
            values = (
                "owner",
                dialogue.owner,
                "created",
                repr(dialogue.created),
                "metadata",
                json.dumps(dialogue.metadata),
            )
            changes.note("HSET", _dialogue(dialogue.id), *values)
            self._head(changes, before or dialogue, dialogue.head, dialogue.updated)

        self._change([_dialogue(dialogue.id)], work)

    def dialogue(self, dialogue: str, owner: str | None = None) -> Dialogue | None:
        names = ("owner", "created", "updated", "head", "metadata")
        values = self._ask("HMGET", _dialogue(dialogue), *names)
        if None in values:
            return None
        of, created, updated, head, metadata = (value.decode() for value in values)
        return (
            Dialogue(dialogue, of, float(created), float(updated), head or None, json.loads(metadata))
            if owner in (None, of)
            else None
        )

    def dialogues(self, owner: str | None = None, limit: int = 100) -> list[Dialogue]:
        names = "rxt:conversations" if owner is None else f"rxt:conversations:{owner}"
        found = [self.dialogue(name.decode()) for name in self._ask("ZRANGE", names, 0, limit - 1, "REV")]
        return [dialogue for dialogue in found if dialogue is not None]

    def delete_dialogue(self, dialogue: str, owner: str) -> bool:
        found = self.dialogue(dialogue, owner)
        if found is None:
            return False

        said = [name.decode() for name in self._ask("SMEMBERS", f"rxt:said:{dialogue}")]

        def work(changes: Changes) -> None:
            forked = self._forked(dialogue, said)
            for name in said:
                if name not in forked:
                    self._forget(changes, name)
            self._drop(changes, found)

        after = [key for name in said for key in (_next(name), f"rxt:heads:{name}")]
        self._change([_dialogue(dialogue), *after], work)
        return True

    def _forked(self, dialogue: str, said: Sequence[str]) -> set[str]:
        """What others go on from among the turns of a conversation: where they leave it, and all that is before."""
        forked: set[str] = set()
        for name in said:
            others = self._turns(self._ask("SMEMBERS", _next(name)))
            left = any(other.conversation != dialogue for other in others)
            at: str | None = name if left or self._ask("SMEMBERS", f"rxt:heads:{name}") - {dialogue.encode()} else None
            while at is not None and at not in forked and (turn := self.turn(at)) is not None:
                forked.add(at)
                at = turn.parent
        return forked

    def _drop(self, changes: Changes, dialogue: Dialogue) -> None:
        changes.note("DEL", _dialogue(dialogue.id))
        if dialogue.head is not None:
            changes.note("SREM", f"rxt:heads:{dialogue.head}", dialogue.id)
        for names in ("rxt:conversations", f"rxt:conversations:{dialogue.owner}"):
            changes.note("ZREM", names, dialogue.id)

    def lock(self, dialogue: str, holder: str, seconds: float) -> bool:
        return bool(
            self._ask("EVAL", LOCK, 2, f"rxt:lock:{dialogue}", _dialogue(dialogue), holder, int(seconds * 1000))
        )

    def holder(self, dialogue: str) -> str | None:
        found = self._ask("GET", f"rxt:lock:{dialogue}")
        return None if found is None else found.decode()

    def unlock(self, dialogue: str, holder: str) -> None:
        self._ask("EVAL", UNLOCK, 1, f"rxt:lock:{dialogue}", holder)

    # The whole.

    def stats(self) -> Stats:
        turns, unfinished, dialogues = (
            int(self._ask("ZCARD", f"rxt:{what}")) for what in ("turns", "unfinished", "conversations")
        )
        return Stats(turns, unfinished, dialogues, int(self._ask("GET", "rxt:bytes") or 0))

    def prune(self, retention: Retention, now: float) -> int:
        unfinished = self.unfinished()
        kept = {turn.id for turn in unfinished} | {turn.parent for turn in unfinished}
        count, gone = self.stats().turns, 0
        oldest = -float("inf") if retention.seconds is None else now - retention.seconds
        for name in list(self.scan()):
            too_many = retention.turns is not None and count > retention.turns
            too_large = retention.bytes is not None and self.stats().bytes > retention.bytes
            turn = self.turn(name)
            if turn is None or name in kept:
                continue
            if not (too_many or too_large or turn.created < oldest):
                break
            self._change([_turn(name)], lambda changes, name=name: self._forget_with_dialogues(changes, name))
            count, gone = count - 1, gone + 1
        return gone

    def verify(self) -> list[str]:
        problems, checked = list[str](), dict[str, bool]()
        try:
            for name in self.scan():
                problems += self._fragments.problems(_turn(name), name, checked)
                try:  # read at once: a server may be writing
                    body, digest, status, content, checksum = self._ask("HMGET", _turn(name), *TURN, *MEMORY)
                    turn, memory = _read_turn(name, body, digest, status), _read_memory(name, content, checksum)
                except Damaged as error:
                    problems.append(str(error))
                    continue
                if turn is None:
                    problems.append(f"{name}: this turn is not there")
                elif (turn.status == "memorized") != (memory is not None):
                    problems.append(f"{name}: is {turn.status}, but there is {'a' if memory else 'no'} memory")
                elif memory is None and turn.parent is not None and not self._ask("EXISTS", _turn(turn.parent)):
                    problems.append(f"{name}: the turn before it is gone")
            for dialogue in self.dialogues(limit=1 << 40):
                if dialogue.head is not None and not self._ask("EXISTS", _turn(dialogue.head)):
                    problems.append(f"{dialogue.id}: its newest turn {dialogue.head} is not there")
        except StoreFailed as error:
            problems.append(str(error))
        return problems

    def close(self) -> None:
        self._connection.close()


def _read_turn(name: str, body: bytes | None, digest: bytes | None, status: bytes | None) -> Turn | None:
    if body is None:
        return None
    if digest is None or status not in (b"answered", b"memorized"):
        raise Damaged(f"{name}: this turn in the store is damaged (a part of it is missing)")
    kept: Status = "memorized" if status == b"memorized" else "answered"
    return read_turn(name, body.decode("utf-8", "replace"), digest.decode("utf-8", "replace"), kept)


def _read_memory(name: str, memory: bytes | None, checksum: bytes | None) -> bytes | None:
    if memory is not None and checksum != memory_checksum(memory).encode():
        raise Damaged(f"{name}: its memory in the store is damaged (its checksum is another)")
    return memory


def _turn(name: str) -> str:
    return f"rxt:turn:{name}"


def _next(name: str) -> str:
    """The turns after one, unfinished or not."""
    return f"rxt:next:{name}"


def _dialogue(name: str) -> str:
    return f"rxt:conversation:{name}"


def _prefix(turn: Turn) -> str:
    return f"rxt:prefix:{turn.owner}:{turn.prefix}:{turn.fingerprint}"
