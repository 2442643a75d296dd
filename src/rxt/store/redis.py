"""The store in Redis, for server processes that share conversations.

Every change is one transaction. What a call has written is as durable as the server's settings make it: ``appendonly
yes`` and ``appendfsync always`` for as much as the SQLite store gives.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

from rxt.store.base import Moved, StillHead, Store
from rxt.store.records import Damaged, Dialogue, Retention, Stats, StoredFragment, Turn, UserMemory, memory_checksum
from rxt.store.redis_check import problems_of
from rxt.store.redis_connection import LOCK, UNLOCK, Changes, RedisConnection
from rxt.store.redis_fragments import RedisFragments, keys_of
from rxt.store.redis_turns import MEMORY, TURN, dialogue_key, memory_of, next_key, prefix_key, turn_key, turn_of
from rxt.store.redis_users import RedisUsers, key_of_user

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
        self._users = RedisUsers(self._connection)

    @classmethod
    def open(cls, address: str, create: bool) -> Self:
        return cls(address)

    # Turns and memories.

    def add(
        self,
        turns: Sequence[Turn],
        conversation: str | None = None,
        expected: str | None = None,
        memory: UserMemory | None = None,
    ) -> None:
        def work(changes: Changes) -> None:
            found = None if conversation is None else self.dialogue(conversation)
            if found is not None and found.head == turns[-1].id:
                return  # an earlier try was carried out, and only its answer was lost
            if memory is not None and self._ask("EXISTS", turn_key(turns[-1].id)):
                return
            if conversation is not None and (found is None or found.head != expected):
                raise Moved(f"the conversation {conversation} went on elsewhere in the meantime, or was deleted")
            for turn in turns:
                if self._ask("EXISTS", turn_key(turn.id)):
                    continue
                body, number = turn.to_json(), self._ask("INCR", "rxt:number")
                values = ("body", body, "digest", turn.digest(), "status", "answered", "bytes", len(body))
                changes.note("HSET", turn_key(turn.id), *values)
                changes.note("ZADD", "rxt:turns", number, turn.id)
                changes.note("ZADD", "rxt:unfinished", number, turn.id)
                changes.note("INCRBY", "rxt:bytes", len(body))
                changes.note("SET", prefix_key(turn), turn.id)
                self._users.note_told(changes, turn)
                if turn.parent is not None:
                    changes.note("SADD", f"rxt:children:{turn.parent}", turn.id)
                    changes.note("SADD", next_key(turn.parent), turn.id)
                if turn.conversation is not None:
                    changes.note("SADD", f"rxt:said:{turn.conversation}", turn.id)
            if found is not None:
                self._head(changes, found, turns[-1].id, turns[-1].created)
            if memory is not None:
                self._users.go_on(changes, memory, turns[-1])

        # What is added is watched too: a transaction whose answer was lost with the connection is looked at again, not
        # sent again.
        watched = [turn_key(turn.id) for turn in turns]
        watched += [] if conversation is None else [dialogue_key(conversation)]
        watched += [] if memory is None else [key_of_user(memory.owner, memory.user)]
        self._change(watched, work)

    def _head(self, changes: Changes, dialogue: Dialogue, head: str | None, updated: float) -> None:
        if dialogue.head is not None:
            changes.note("SREM", f"rxt:heads:{dialogue.head}", dialogue.id)
        if head is not None:
            changes.note("SADD", f"rxt:heads:{head}", dialogue.id)
        changes.note("HSET", dialogue_key(dialogue.id), "head", head or "", "updated", repr(updated))
        for names in ("rxt:conversations", f"rxt:conversations:{dialogue.owner}"):
            changes.note("ZADD", names, repr(updated), dialogue.id)

    def memorize(
        self, turn: str, memory: bytes, fragments: Sequence[str] = (), new: Sequence[StoredFragment] = ()
    ) -> None:
        def work(changes: Changes) -> None:
            found = self.turn(turn)
            if found is None:
                return
            size = len(memory) + int(self._ask("HSTRLEN", turn_key(turn), "body"))
            counted = int(self._ask("HGET", turn_key(turn), "bytes") or 0)
            values = ("status", "memorized", "memory", memory, "checksum", memory_checksum(memory), "bytes", size)
            self._fragments.put(changes, turn_key(turn), turn, fragments, new)
            changes.note("HSET", turn_key(turn), *values)
            changes.note("INCRBY", "rxt:bytes", size - counted)
            changes.note("ZREM", "rxt:unfinished", turn)
            for before in filter(None, (found.parent, found.follows)):
                changes.note("SREM", f"rxt:children:{before}", turn)

        self._change([turn_key(turn), *keys_of(fragments)], work)

    def turn(self, turn: str, owner: str | None = None) -> Turn | None:
        found = turn_of(turn, *self._ask("HMGET", turn_key(turn), *TURN))
        return found if found is not None and owner in (None, found.owner) else None

    def memory(self, turn: str) -> bytes | None:
        return memory_of(turn, *self._ask("HMGET", turn_key(turn), *MEMORY))

    def fragments(self, turn: str) -> list[StoredFragment]:
        return self._fragments.read(turn_key(turn), turn)

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
            self._refuse_heads([found])
            there = found.parent is None or self._ask("EXISTS", turn_key(found.parent))
            for name in self._ask("SMEMBERS", f"rxt:heads:{turn}"):
                dialogue = self.dialogue(name.decode())
                if dialogue is not None and there:
                    self._head(changes, dialogue, found.parent, dialogue.updated)
                elif dialogue is not None:
                    self._drop(changes, dialogue)
            self._forget(changes, turn)

        before = [] if found.parent is None else [turn_key(found.parent)]
        self._change([turn_key(turn), f"rxt:heads:{turn}", key_of_user(owner, found.user), *before], work)
        return True

    def _refuse_heads(self, turns: Sequence[Turn]) -> None:
        """``StillHead`` if one of them is the newest of a user's memory."""
        for memory in map(self._users.headed_by, turns):
            if memory is not None:
                raise StillHead(memory)

    def _forget(self, changes: Changes, name: str) -> None:
        """A turn and everything that leads to it; the conversations that it is the head of are seen to before."""
        size = self._ask("HGET", turn_key(name), "bytes")
        if size is None:
            return
        changes.note("INCRBY", "rxt:bytes", -int(size))
        self._fragments.drop(changes, turn_key(name))
        turn = self._readable(name)
        if turn is not None:
            if self._ask("GET", prefix_key(turn)) == name.encode():
                changes.note("DEL", prefix_key(turn))
            self._users.drop(changes, turn)
            for before in filter(None, (turn.parent, turn.follows)):
                changes.note("SREM", f"rxt:children:{before}", name)
            if turn.parent is not None:
                changes.note("SREM", next_key(turn.parent), name)
            if turn.conversation is not None:
                changes.note("SREM", f"rxt:said:{turn.conversation}", name)
        changes.note("DEL", turn_key(name), f"rxt:heads:{name}")
        for names in ("rxt:turns", "rxt:unfinished"):
            changes.note("ZREM", names, name)

    def _readable(self, name: str) -> Turn | None:
        """A turn, None where it is damaged."""
        try:
            return self.turn(name)
        except Damaged:
            return None

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
            changes.note("HSET", dialogue_key(dialogue.id), *values)
            self._head(changes, before or dialogue, dialogue.head, dialogue.updated)

        self._change([dialogue_key(dialogue.id)], work)

    def dialogue(self, dialogue: str, owner: str | None = None) -> Dialogue | None:
        names = ("owner", "created", "updated", "head", "metadata")
        values = self._ask("HMGET", dialogue_key(dialogue), *names)
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
        turns = [turn for turn in map(self._readable, said) if turn is not None]

        def work(changes: Changes) -> None:
            forked = self._forked(dialogue, said)
            self._refuse_heads([turn for turn in turns if turn.id not in forked])
            for name in said:
                if name not in forked:
                    self._forget(changes, name)
            self._drop(changes, found)

        after = [key for name in said for key in (next_key(name), f"rxt:heads:{name}")]
        after += {key_of_user(turn.owner, turn.user) for turn in turns}
        self._change([dialogue_key(dialogue), *after], work)
        return True

    def _forked(self, dialogue: str, said: Sequence[str]) -> set[str]:
        """What others go on from among the turns of a conversation: where they leave it, and all that is before."""
        forked: set[str] = set()
        for name in said:
            others = self._turns(self._ask("SMEMBERS", next_key(name)))
            left = any(other.conversation != dialogue for other in others)
            at: str | None = name if left or self._ask("SMEMBERS", f"rxt:heads:{name}") - {dialogue.encode()} else None
            while at is not None and at not in forked and (turn := self.turn(at)) is not None:
                forked.add(at)
                at = turn.parent
        return forked

    def _drop(self, changes: Changes, dialogue: Dialogue) -> None:
        changes.note("DEL", dialogue_key(dialogue.id))
        if dialogue.head is not None:
            changes.note("SREM", f"rxt:heads:{dialogue.head}", dialogue.id)
        for names in ("rxt:conversations", f"rxt:conversations:{dialogue.owner}"):
            changes.note("ZREM", names, dialogue.id)

    def lock(self, dialogue: str, holder: str, seconds: float) -> bool:
        return bool(
            self._ask("EVAL", LOCK, 2, f"rxt:lock:{dialogue}", dialogue_key(dialogue), holder, int(seconds * 1000))
        )

    def holder(self, dialogue: str) -> str | None:
        found = self._ask("GET", f"rxt:lock:{dialogue}")
        return None if found is None else found.decode()

    def unlock(self, dialogue: str, holder: str) -> None:
        self._ask("EVAL", UNLOCK, 1, f"rxt:lock:{dialogue}", holder)

    # Memories of users.

    def user_memory(self, owner: str, user: str, fingerprint: str) -> UserMemory | None:
        return self._users.get(owner, user, fingerprint)

    def user_memories(self) -> list[UserMemory]:
        return self._users.all()

    def put_user_memory(self, memory: UserMemory) -> None:
        self._change([], lambda changes: self._users.put(changes, memory))

    def delete_user_memory(self, owner: str, user: str) -> list[str]:
        def work(changes: Changes) -> list[str]:
            names = self._users.turns(owner, user)
            for name in names:
                turn = self._readable(name)
                begun = None if turn is None or turn.conversation is None else self.dialogue(turn.conversation)
                if begun is not None and begun.head is None:
                    self._drop(changes, begun)
                self._forget_with_dialogues(changes, name)
            return names

        return self._change([key_of_user(owner, user)], work)

    # The whole.

    def stats(self) -> Stats:
        turns, unfinished, dialogues = (
            int(self._ask("ZCARD", f"rxt:{what}")) for what in ("turns", "unfinished", "conversations")
        )
        return Stats(turns, unfinished, dialogues, int(self._ask("GET", "rxt:bytes") or 0))

    def prune(self, retention: Retention, now: float) -> int:
        unfinished = self.unfinished()
        kept = {name for turn in unfinished for name in (turn.id, turn.parent, turn.follows)}
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
            self._change([turn_key(name)], lambda changes, name=name: self._forget_with_dialogues(changes, name))
            count, gone = count - 1, gone + 1
        return gone

    def verify(self) -> list[str]:
        return problems_of(self, self._ask, self._fragments)

    def close(self) -> None:
        self._connection.close()
