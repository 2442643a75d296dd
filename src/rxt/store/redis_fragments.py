"""Fragments of pools in Redis: each is there once, with the number of turns whose memory has it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rxt.store.base import Lacking, damaged_fragment, read_fragment
from rxt.store.records import StoredFragment, memory_checksum
from rxt.store.redis_connection import Changes, RedisConnection

TAKE = "for _, name in ipairs(ARGV) do redis.call('hincrby', 'rxt:uses', name, 1) end"
LEAVE = """for _, name in ipairs(ARGV) do
    if redis.call('hincrby', 'rxt:uses', name, -1) <= 0 then
        local fragment = 'rxt:fragment:' .. name
        redis.call('incrby', 'rxt:bytes', -redis.call('strlen', fragment))
        redis.call('hdel', 'rxt:uses', name)
        redis.call('del', fragment)
    end
end"""
BATCH = 200


class RedisFragments:
    """Of one database. The field ``fragments`` of a turn has their names, in order, with spaces between them."""

    def __init__(self, connection: RedisConnection) -> None:
        self._ask = connection.ask

    def put(self, changes: Changes, key: str, turn: str, names: Sequence[str], new: Sequence[StoredFragment]) -> None:
        """Note what makes these the fragments of a turn (``key``: of its hash). What is watched: :func:`keys_of`.

        Raises:
            Lacking: one is neither there nor among ``new``.
        """
        held, wanted = set(self.names(key)), set(names)
        added = {one.name: one.content for one in new}
        others = [name for name in wanted - held if name not in added]
        if len(self._there(others)) < len(others):
            raise Lacking(turn)
        there = self._there(added)
        for name, content in added.items():
            if name not in there:
                changes.note("SET", _fragment(name), content)
                changes.note("INCRBY", "rxt:bytes", len(content))
        if wanted - held:
            changes.note("EVAL", TAKE, 0, *sorted(wanted - held))
        if held - wanted:
            changes.note("EVAL", LEAVE, 0, *sorted(held - wanted))
        if names:
            changes.note("HSET", key, "fragments", " ".join(names))
        elif held:
            changes.note("HDEL", key, "fragments")

    def drop(self, changes: Changes, key: str) -> None:
        """Note that a turn goes. Fragments that no other one has go with it."""
        held = set(self.names(key))
        if held:
            changes.note("EVAL", LEAVE, 0, *sorted(held))

    def names(self, key: str) -> list[str]:
        """Of the fragments of a turn, in their order."""
        found = self._ask("HGET", key, "fragments")
        return [] if found is None else found.decode().split()

    def read(self, key: str, turn: str) -> list[StoredFragment]:
        """The fragments of a turn. ``Damaged`` if one is gone, or is not what was written."""
        names, found = self.names(key), list[StoredFragment]()
        for start in range(0, len(names), BATCH):
            some = names[start : start + BATCH]
            contents = self._ask("MGET", *map(_fragment, some))
            found += [read_fragment(turn, name, content) for name, content in zip(some, contents, strict=True)]
        return found

    def problems(self, key: str, turn: str, checked: dict[str, bool]) -> list[str]:
        """What is wrong with a turn's fragments. ``checked`` has those that were looked at before, and whether they
        were well."""
        for name in self.names(key):
            if name not in checked:
                content = self._ask("GET", _fragment(name))
                if content is None and name in self.names(key):  # the turn has not been forgotten meanwhile
                    return [f"{turn}: a fragment of its memory is gone from the store"]
                checked[name] = content is None or memory_checksum(content) == name
            if not checked[name]:
                return [str(damaged_fragment(turn))]
        return []

    def _there(self, names: Collection[str]) -> set[str]:
        """Those of these that the store has."""
        found, asked = set[str](), list(names)
        for start in range(0, len(asked), BATCH):
            some = asked[start : start + BATCH]
            uses = self._ask("HMGET", "rxt:uses", *some)
            found |= {name for name, count in zip(some, uses, strict=True) if count is not None}
        return found


def keys_of(names: Sequence[str]) -> list[str]:
    """Of fragments with these names."""
    return [_fragment(name) for name in dict.fromkeys(names)]


def _fragment(name: str) -> str:
    return f"rxt:fragment:{name}"
