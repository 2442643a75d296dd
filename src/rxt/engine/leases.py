"""One turn at a time in a conversation: in this process by standing in line, among processes by a lease in the
store."""

from __future__ import annotations

import asyncio
import logging

from rxt.engine.calls import StoreCalls
from rxt.engine.events import NotThere, Occupied
from rxt.engine.holders import has_died, holder_name
from rxt.engine.scheduler import Overloaded
from rxt.errors import UserError
from rxt.store.base import Store

log = logging.getLogger("rxt.engine")

LEASE_SECONDS = 10.0
"""A process that holds a conversation and dies leaves it to others after this time; on the same machine at once. As
long as it lives it renews what it holds."""
LOOK_SECONDS = 0.1
"""Between two looks at whether another process has given a conversation back."""


class Leases:
    """For one event loop. Whoever takes a conversation gives it back; who stops waiting, for whatever reason, leaves
    nothing behind."""

    def __init__(self, store: Store, calls: StoreCalls, wait_seconds: float, most_waiting: int) -> None:
        """``wait_seconds``: how long a turn waits for the one before it; ``most_waiting``: how many may wait for one
        conversation."""
        self._store, self._calls = store, calls
        self._wait_seconds, self._most_waiting = wait_seconds, most_waiting
        self._holder = holder_name()
        self._lines: dict[str, tuple[asyncio.Lock, int]] = {}
        """With the number of those who hold or await it."""
        self._returns: set[asyncio.Task[None]] = set()
        self._held: set[str] = set()
        self._renewing = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None

    async def take(self, owner: str, name: str) -> None:
        """Wait for one's turn, in the order of the calls.

        Raises:
            NotThere: the owner has no such conversation.
            Occupied: the turn did not come in time.
            Overloaded: too many wait already.
        """
        lock, waiting = self._lines.get(name, (asyncio.Lock(), 0))
        if waiting > self._most_waiting:
            raise Overloaded(f"{waiting} turns of this conversation are waiting already; try again later")
        self._lines[name] = (lock, waiting + 1)
        time_is_up = asyncio.timeout(self._wait_seconds)
        try:
            async with time_is_up:
                try:
                    await lock.acquire()
                except BaseException:
                    self._leave_line(name)
                    raise
                try:
                    await self._lease(owner, name)
                except BaseException:
                    self.give_back(name)  # the store may have granted it to somebody who does not wait any more
                    raise
        except TimeoutError:
            if not time_is_up.expired():
                raise
            raise Occupied(f"another turn of {name} is still being answered; wait for it, or ask again later") from None

    async def _lease(self, owner: str, name: str) -> None:
        if await self._calls(self._store.dialogue, name, owner) is None:
            raise NotThere("conversation", name)
        while not await self._calls(self._store.lock, name, self._holder, LEASE_SECONDS):
            holder = await self._calls(self._store.holder, name)
            if holder is not None and has_died(holder):
                await self._calls(self._store.unlock, name, holder)  # of this very holder: a newer one keeps it
            else:
                await asyncio.sleep(LOOK_SECONDS)
        self._held.add(name)
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.ensure_future(self._keep())

    async def _keep(self) -> None:
        """Renew leases as long as there are any."""
        while self._held:
            await asyncio.sleep(LEASE_SECONDS / 3)
            for name in list(self._held):
                async with self._renewing:  # what is given back meanwhile is not taken again
                    if name in self._held:
                        await self._renew(name)

    async def _renew(self, name: str) -> None:
        try:
            kept = await self._calls(self._store.lock, name, self._holder, LEASE_SECONDS)
        except UserError as error:  # tried again while it lasts
            log.warning("the lease of %s could not be renewed: %s", name, error)
            return
        if not kept:
            self._held.discard(name)
            log.warning("%s is another process's by now, or deleted: this process has stood still too long", name)

    def give_back(self, name: str) -> None:
        """It is the next one's turn, as soon as the store knows."""
        task = asyncio.ensure_future(self._return(name))
        self._returns.add(task)
        task.add_done_callback(self._returns.discard)

    async def _return(self, name: str) -> None:
        try:
            await self._unlock(name)
        finally:
            self._lines[name][0].release()
            self._leave_line(name)

    async def _unlock(self, name: str) -> None:
        async with self._renewing:
            self._held.discard(name)
        try:
            await self._calls(self._store.unlock, name, self._holder)
        except UserError as error:  # the lease ends by itself
            log.warning("%s could not be given back: %s", name, error)

    def _leave_line(self, name: str) -> None:
        lock, waiting = self._lines[name]
        if waiting == 1:
            del self._lines[name]
        else:
            self._lines[name] = (lock, waiting - 1)

    async def close(self) -> None:
        """Give back what is held; nothing can be taken any more."""
        while self._returns:
            await asyncio.wait(list(self._returns))
        for name in list(self._lines):
            await self._unlock(name)
        if self._keeper is not None:
            self._keeper.cancel()
