"""Memories that all conversations of one user share.

The turns that were told to a user's memory stand in one order, whichever conversations they were said in: the order in
which they were written down. Each names the one that it follows. The memory after a turn is a function of the memory of
the turn before it in its conversation, of the fragments after the turn that it follows, and of what was said; so it can
be made again wherever it is missing, and nobody has to wait until another conversation's answer is complete.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import replace

from rxt.engine.calls import StoreCalls
from rxt.engine.events import HasMemory, NotThere, OtherScope, Question, Scope
from rxt.engine.memories import Memories
from rxt.errors import UserError
from rxt.generation.pool_turn import PreparedPool
from rxt.store.base import Moved, Outrun, Store
from rxt.store.records import Turn, UserMemory, chain_prefix, new_id


class Users:
    """For one event loop."""

    def __init__(
        self, store: Store, calls: StoreCalls, memories: Memories, fingerprint: str, usual: Scope, possible: bool
    ) -> None:
        """``usual``: the scope of conversations that do not say, where their user is named; ``possible``: the model
        keeps fragments.

        Raises:
            UserError: users are to have memories, and cannot.
        """
        self._store, self._io, self._memories = store, calls, memories
        self._fingerprint, self._usual, self._possible = fingerprint, usual, possible
        if usual == "user":
            self._refuse_impossible()

    def user_of(self, question: Question, parent: Turn | None) -> str:
        """Whose memory a question is told to that goes on from ``parent``; empty: the conversation's own.

        Raises:
            OtherScope: what it goes on from is in another scope; the model keeps no fragments.
            NotThere: what it goes on from is another user's.
            UserError: no user is named.
        """
        if parent is not None:
            return self._same_user(question, parent)
        scope = question.scope or (self._usual if question.user else "conversation")
        if scope == "conversation":
            return ""
        if not question.user.strip():
            raise UserError("a memory of scope user needs to know whose it is: name the user")
        self._refuse_impossible()
        return question.user

    def _same_user(self, question: Question, parent: Turn) -> str:
        if parent.user and question.user not in ("", parent.user):
            raise (
                NotThere("response", parent.id)
                if question.conversation is None
                else NotThere("conversation", question.conversation)
            )
        if question.scope == "user" and not parent.user:
            raise OtherScope("this conversation keeps its memory to itself; begin another one with the scope user")
        if question.scope == "conversation" and parent.user:
            raise OtherScope(
                "this conversation shares its user's memory; begin another one with the scope conversation"
            )
        return parent.user

    def _refuse_impossible(self) -> None:
        if not self._possible:
            raise OtherScope(
                "this model keeps no fragments of memory, so it has no memories of users: only the scope conversation"
            )

    async def memory(self, owner: str, user: str) -> UserMemory:
        """A user's memory as it is now; one without a head where it has not begun."""
        now = time.time()
        found = await self._io(self._store.user_memory, owner, user, self._fingerprint)
        return found or UserMemory(owner, user, self._fingerprint, now, now)

    @property
    def possible(self) -> bool:
        """Whether this model keeps fragments, which users can share."""
        return self._possible

    async def all(self, owner: str) -> list[UserMemory]:
        """Those of an owner's users that this model made, the one that was told to last first."""
        found = await self._io(self._store.user_memories)
        own = [each for each in found if (each.owner, each.fingerprint) == (owner, self._fingerprint)]
        return sorted(own, key=lambda memory: -memory.updated)

    async def newest(self, memory: UserMemory) -> Turn | None:
        """The newest turn of a memory, None where it has not begun. ``Moved`` if it was deleted meanwhile."""
        if memory.head is None:
            return None
        found = await self._io(self._store.turn, memory.head)
        if found is None:
            raise Outrun(memory.user)
        return found

    async def add(
        self, turns: Sequence[Turn], conversation: str | None, expected: str | None, memory: UserMemory
    ) -> tuple[list[Turn], UserMemory]:
        """Write turns down as the newest of a user's memory, after whatever was told to it since it was ``memory`` ->
        the turns as they are written, and the memory.

        Raises:
            Moved: the conversation went on elsewhere, or the memory was deleted meanwhile.
            StoreFailed: they could not be written.
        """
        while True:
            follows, made = memory.head, list[Turn]()
            for turn in turns:
                made.append(replace(turn, follows=follows))
                follows = turn.id
            try:
                await self._io(self._store.add, made, conversation, expected, memory)
                return made, replace(memory, head=made[-1].id, updated=made[-1].created)
            except Outrun:
                now = await self.memory(memory.owner, memory.user)
                if memory.head is not None and (now.head is None or now.created != memory.created):
                    raise Moved("the user's memory was deleted in the meantime; nothing of this turn is kept") from None
                memory = now

    async def keep(self, memory: UserMemory) -> None:
        """Have a memory outlive its newest turn: a turn in which nothing was said follows, with the same fragments.

        Raises:
            UserError: the newest turn cannot be memorized.
        """
        newest = await self.newest(memory)
        assert newest is not None
        if memory.fingerprint == self._fingerprint:
            await self._memories.finish(newest)
        mark = _nothing_said(memory, newest.number, newest.id)
        try:
            await self._io(self._store.add, [mark], None, None, memory)
        except Outrun:
            return  # there is a newer one already
        await self._io(self._memories.stored.copy_fragments, newest.id, mark.id)

    async def pool(self, owner: str, user: str) -> PreparedPool:
        """A user's fragments as they are now, with nothing resident that was said. ``NotThere`` if there are none."""
        memory = await self.memory(owner, user)
        newest = await self.newest(memory)
        if newest is None:
            raise NotThere("memory", user[:100])
        found = await self._memories.beginning(None, newest, newest.seed)
        assert isinstance(found, PreparedPool)
        return found

    async def bring(self, owner: str, user: str, content: bytes) -> None:
        """Begin a user's memory with the fragments of a file, as it was exported. What was resident stays out of it.

        Raises:
            HasMemory: it has begun already.
            UserError: and its kinds OtherModel and OtherScope: it is no pool of this model's.
        """
        self._refuse_impossible()
        prepared = self._memories.stored.brought(content, "the memory")
        if not isinstance(prepared, PreparedPool):
            raise UserError("a user's memory is made of fragments, and this file is a memory without")
        memory = await self.memory(owner, user)
        if memory.head is not None:
            raise HasMemory(user)
        # The fragments are written down before the turn that makes them the user's: whole, or not at all.
        first = _nothing_said(memory, prepared.pool.turns, None)
        await self._io(self._store.add, [first])
        await self._memories.stored.put(first.id, prepared)
        newest = _nothing_said(memory, prepared.pool.turns, first.id)
        try:
            await self._io(self._store.add, [newest], None, None, memory)
        except Outrun:
            await self._io(self._store.delete_turn, first.id, owner)
            raise HasMemory(user) from None
        await self._io(self._memories.stored.copy_fragments, first.id, newest.id)

    async def delete(self, owner: str, user: str) -> None:
        """Forget a user's memory and all that was told to it. ``NotThere`` if there is none."""
        names = await self._io(self._store.delete_user_memory, owner, user)
        if not names:
            raise NotThere("memory", user[:100])
        for name in names:
            await self._memories.let_go(name)


def _nothing_said(memory: UserMemory, number: int, follows: str | None) -> Turn:
    """A turn of a user's memory in which nothing was said: it has the fragments of the one that it follows."""
    return Turn(
        new_id("resp"),
        memory.owner,
        time.time(),
        memory.fingerprint,
        kind="memory",
        number=number,
        prefix=chain_prefix("memory", secrets.token_hex(16), ""),
        user=memory.user,
        follows=follows,
    )
