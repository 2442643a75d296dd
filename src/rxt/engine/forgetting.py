"""Forgetting turns, conversations and users' memories; what stays does not depend on what goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from rxt.engine.calls import StoreCalls
from rxt.engine.events import NotThere
from rxt.engine.memories import Memories
from rxt.engine.users import Users
from rxt.store.base import StillHead, Store
from rxt.store.records import Turn


class Forgetting:
    """For one event loop."""

    def __init__(self, store: Store, calls: StoreCalls, memories: Memories, users: Users) -> None:
        self._store, self._io, self._memories, self._users = store, calls, memories, users

    async def turn(self, owner: str, name: str) -> None:
        """Forget a turn. Those after it keep their own memories, and a user's memory that it was told to its
        fragments. ``NotThere`` if there is none."""
        found = await self._io(self._store.turn, name, owner)
        if found is None:
            raise NotThere("response", name)
        await self._without_heads([found], lambda: self._io(self._store.delete_turn, name, owner))

    async def dialogue(self, owner: str, name: str) -> None:
        """Forget a conversation and what was said in it; a user's memory that it was told to keeps its fragments.
        ``NotThere`` if there is none."""
        found = await self._io(self._store.dialogue, name, owner)
        if found is None:
            raise NotThere("conversation", name)
        chain = await self._io(self._store.chain, found.head, owner)
        await self._without_heads(chain, lambda: self._io(self._store.delete_dialogue, name, owner))

    async def _without_heads(self, turns: Sequence[Turn], delete: Callable[[], Awaitable[bool]]) -> None:
        """Delete as soon as nothing that stays needs the turns any more."""
        while True:
            for turn in turns:
                for child in await self._io(self._store.children, turn.id):
                    await self._memories.after(child)
                self._memories.forget(turn.id)
            try:
                await delete()
                return
            except StillHead as error:
                await self._users.keep(error.memory)
