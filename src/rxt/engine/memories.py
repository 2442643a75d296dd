"""The memory after a turn: from the cache, from the store, or made again from the turn before it."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import replace

from rxt.data.template import Template
from rxt.engine.calls import StoreCalls
from rxt.engine.events import OtherModel
from rxt.engine.scheduler import Engine
from rxt.errors import UserError
from rxt.generation.turn import Prepared
from rxt.model.memory import Memory
from rxt.store.base import Store
from rxt.store.records import Damaged, Turn

log = logging.getLogger("rxt.engine")


class Memories:
    """For one event loop. The memory after a turn does not depend on where it comes from, so it is made again wherever
    it is missing."""

    def __init__(
        self, engine: Engine, store: Store, template: Template, most_bytes: int, half: bool, calls: StoreCalls
    ) -> None:
        """``most_bytes`` of memories are kept at hand; ``half``: written in half precision."""
        self._engine, self._store, self._template, self._half = engine, store, template, half
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, Prepared] = OrderedDict()
        self._bytes = 0
        self._coming: dict[str, asyncio.Task[Prepared]] = {}
        self._awaited: dict[str, Future[Prepared]] = {}
        self._calls = calls
        self.updated: Callable[[float], None] = lambda seconds: None
        """Is told how long each update took."""

    def check_model(self, turn: Turn) -> None:
        """Refuse, with ``OtherModel``, a turn that other weights made."""
        if turn.fingerprint != self._engine.model.fingerprint():
            raise OtherModel(turn.id, turn.fingerprint, self._engine.model.fingerprint())

    async def after(self, turn: Turn, hurried: bool = True) -> Prepared:
        """The memory after a turn; waits for an update that is under way.

        Raises:
            OtherModel: other weights made the turn.
            Damaged: the store holds something else than was written.
        """
        found = self._kept.get(turn.id)
        if found is not None:
            self._kept.move_to_end(turn.id)
            return found
        task = self._coming.get(turn.id)
        if task is None:
            task = self._keep(turn.id, self._bring(turn, hurried))
        elif hurried and turn.id in self._awaited:
            self._engine.hurry(self._awaited[turn.id])
        return await asyncio.shield(task)

    async def finish(self, turn: Turn) -> None:
        """Write the memory of a turn that has none in the store."""
        found = self._kept.get(turn.id)
        if found is None:
            await self.after(turn, hurried=False)
        elif turn.id not in self._coming:
            await self._calls(self._store.memorize, turn.id, self.write(found.memory))

    def update(self, turn: Turn, before: Prepared) -> asyncio.Task[Prepared]:
        """Begin to memorize a turn that has just been written down; ``before``: the memory that it was answered
        with, all that it began with in it."""
        return self._keep(turn.id, self._memorize(turn, before, False))

    async def with_turn(self, before: Prepared, turn: Turn, hurried: bool = True) -> Prepared:
        """A memory after a turn of which nothing is kept."""
        before = await self.with_lead(before, turn.lead, hurried)
        return await self.with_one_more(before, self._template.complete(turn.prompt, turn.said), hurried)

    async def with_lead(self, before: Prepared, lead: Sequence[Sequence[int]], hurried: bool = True) -> Prepared:
        """A memory after interactions that are no turns."""
        for ids in lead:
            before = (await self.with_one_more(before, ids, hurried)).uncounted()
        return before

    async def begun(self, seed: int, opening: Sequence[int]) -> Prepared:
        """The memory of a conversation that has not begun, the system prompt in it."""
        name = f"{seed} {list(opening)}"
        found = self._kept.get(name)
        if found is None:
            found = self._engine.fresh(seed)
            if opening:
                found = (await self.with_one_more(found, opening, True)).uncounted()
            self._hold(name, found)
        return found

    async def with_one_more(self, before: Prepared, ids: Sequence[int], hurried: bool, name: str = "") -> Prepared:
        """A memory after one more interaction."""
        result = self._engine.memorize(before.memory, ids, hurried)
        if name:
            self._awaited[name] = result
        try:
            prepared = await asyncio.wrap_future(result)
        finally:
            self._awaited.pop(name, None)
        assert prepared.update is not None
        self.updated(prepared.update.seconds)
        return prepared

    def read(self, content: bytes, name: str) -> Prepared:
        """A memory that the store held, for this model. ``OtherModel`` or ``Damaged`` if it is not one."""
        try:
            return self.read_brought(content, name)
        except OtherModel:
            raise
        except UserError as error:
            raise Damaged(str(error)) from None

    def read_brought(self, content: bytes, name: str) -> Prepared:
        """A memory that a client brought, for this model. ``OtherModel`` or another ``UserError`` if it is not one."""
        memory = Memory.from_bytes(content, name)
        if memory.fingerprint != self._engine.model.fingerprint():
            raise OtherModel(name, str(memory.fingerprint), self._engine.model.fingerprint())
        return Prepared.of(self._engine.model, memory)

    def write(self, memory: Memory) -> bytes:
        """As the store holds it."""
        if self._half:
            memory = replace(memory, slots=memory.slots.half())
        return memory.to_bytes()

    def forget(self, turn: str) -> None:
        """Keep nothing of a deleted turn at hand."""
        found = self._kept.pop(turn, None)
        self._bytes -= 0 if found is None else found.nbytes

    async def settled(self) -> None:
        """Wait for all updates that are under way."""
        while self._coming:
            await asyncio.wait(list(self._coming.values()))
            await asyncio.sleep(0)

    def _keep(self, name: str, work: Coroutine[None, None, Prepared]) -> asyncio.Task[Prepared]:
        task = asyncio.ensure_future(work)
        self._coming[name] = task

        def done(task: asyncio.Task[Prepared]) -> None:
            if self._coming.get(name) is task:
                del self._coming[name]
            if not task.cancelled() and task.exception() is not None:
                log.warning("turn %s is not memorized yet: %s", name, task.exception())

        task.add_done_callback(done)
        return task

    async def _bring(self, turn: Turn, hurried: bool) -> Prepared:
        """From the store, or made again from the nearest turn before it that has a memory."""
        missing: list[Turn] = []
        at = turn
        while True:
            self.check_model(at)
            if missing and (at.id in self._kept or at.id in self._coming):
                prepared = await self.after(at, hurried)
                break
            content = await self._calls(self._store.memory, at.id)
            if content is not None:
                prepared = self.read(content, at.id)
                self._hold(at.id, prepared)
                break
            if at.kind == "memory":
                raise Damaged(f"{at.id}: its memory is not in the store")
            missing.append(at)
            if at.parent is None:
                prepared = self._engine.fresh(at.seed)
                break
            parent = await self._calls(self._store.turn, at.parent)
            if parent is None:
                raise Damaged(f"{at.id}: the turn before it, {at.parent}, is gone before this one was memorized")
            at = parent
        for one in reversed(missing):
            if one.opening:
                prepared = await self.begun(one.seed, one.opening)
            prepared = await self._memorize(one, await self.with_lead(prepared, one.lead, hurried), hurried)
        return prepared

    async def _memorize(self, turn: Turn, before: Prepared, hurried: bool) -> Prepared:
        ids = self._template.complete(turn.prompt, turn.said)
        prepared = await self.with_one_more(before, ids, hurried, turn.id)
        self._hold(turn.id, prepared)
        try:
            await self._calls(self._store.memorize, turn.id, self.write(prepared.memory))
        except UserError as error:  # the turn is written down; its memory is made again when it is needed
            log.warning("the memory of turn %s could not be written: %s", turn.id, error)
        return prepared

    def _hold(self, name: str, prepared: Prepared) -> None:
        self.forget(name)
        self._kept[name] = prepared
        self._bytes += prepared.nbytes
        while self._bytes > self._most_bytes and len(self._kept) > 1:
            self.forget(next(iter(self._kept)))
