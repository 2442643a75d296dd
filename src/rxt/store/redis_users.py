"""Memories of users in Redis: a hash for each user, with an entry for each model, and the names of the user's turns."""

from __future__ import annotations

import json
from dataclasses import asdict

from rxt.store.base import Outrun
from rxt.store.records import Turn, UserMemory
from rxt.store.redis_connection import Changes, RedisConnection

LEAVE = """local found = redis.call('hget', KEYS[1], ARGV[1])
if found and cjson.decode(found)['head'] == ARGV[2] then redis.call('hdel', KEYS[1], ARGV[1]) end
if redis.call('exists', KEYS[1]) == 0 then redis.call('srem', 'rxt:users', KEYS[1]) end"""


class RedisUsers:
    """Of one database."""

    def __init__(self, connection: RedisConnection) -> None:
        self._ask = connection.ask

    def get(self, owner: str, user: str, fingerprint: str) -> UserMemory | None:
        """The memory of a user; None if there is none."""
        found = self._ask("HGET", key_of_user(owner, user), fingerprint)
        return None if found is None else UserMemory(**json.loads(found))

    def all(self) -> list[UserMemory]:
        """Those of all users."""
        found = [self._ask("HVALS", key) for key in self._ask("SMEMBERS", "rxt:users")]
        memories = [UserMemory(**json.loads(value)) for values in found for value in values]
        return sorted(memories, key=lambda memory: memory.created)

    def headed_by(self, turn: Turn) -> UserMemory | None:
        """The memory whose newest turn this is."""
        found = self.get(turn.owner, turn.user, turn.fingerprint) if turn.user else None
        return found if found is not None and found.head == turn.id else None

    def put(self, changes: Changes, memory: UserMemory) -> None:
        """Note one that is added or changed."""
        key = key_of_user(memory.owner, memory.user)
        changes.note("HSET", key, memory.fingerprint, json.dumps(asdict(memory)))
        changes.note("SADD", "rxt:users", key)

    def go_on(self, changes: Changes, memory: UserMemory, newest: Turn) -> None:
        """Note that a turn is the newest of a memory, whose key is watched. ``Outrun`` if that is not as it was
        found."""
        found = self.get(memory.owner, memory.user, memory.fingerprint)
        known = (None, None) if found is None else (found.head, found.created)
        if known != ((None, None) if memory.head is None else (memory.head, memory.created)):
            raise Outrun(memory.user)
        changed = asdict(memory) | {"head": newest.id, "updated": newest.created}
        self.put(changes, UserMemory(**changed))

    def note_told(self, changes: Changes, turn: Turn) -> None:
        """Note a turn that is added, where it is told to a user's memory."""
        if turn.user:
            changes.note("SADD", _turns_of(turn.owner, turn.user), turn.id)
            if turn.follows is not None:
                changes.note("SADD", f"rxt:children:{turn.follows}", turn.id)

    def drop(self, changes: Changes, turn: Turn) -> None:
        """Note that a turn goes; a memory whose newest it is goes with it."""
        if turn.user:
            changes.note("SREM", _turns_of(turn.owner, turn.user), turn.id)
            changes.note("EVAL", LEAVE, 1, key_of_user(turn.owner, turn.user), turn.fingerprint, turn.id)

    def turns(self, owner: str, user: str) -> list[str]:
        """The names of all turns that were told to a user's memory."""
        return [name.decode() for name in self._ask("SMEMBERS", _turns_of(owner, user))]


def key_of_user(owner: str, user: str) -> str:
    """Of a user's hash, to be watched. An owner's name has no colon."""
    return f"rxt:user:{owner}:{user}"


def _turns_of(owner: str, user: str) -> str:
    return f"rxt:told:{owner}:{user}"
