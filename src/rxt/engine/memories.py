"""The memory after a turn: from the cache, from the store, or made again from the turn before it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future

from rxt.data.template import Template
from rxt.engine.calls import StoreCalls
from rxt.engine.events import OtherModel
from rxt.engine.kept import KeptMemories
from rxt.engine.scheduler import Engine
from rxt.engine.stored import StoredMemories, name_of
from rxt.errors import UserError
from rxt.generation.pool_turn import PreparedPool
from rxt.generation.ready import Ready
from rxt.model.pool import Pool
from rxt.store.base import Store
from rxt.store.records import Damaged, Turn

log = logging.getLogger("rxt.engine")


class Memories:
    """For one event loop. The memory after a turn does not depend on where it comes from, so it is made again wherever
    it is missing."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        template: Template,
        most_bytes: int,
        half: bool,
        calls: StoreCalls,
        knowledge: Pool | None = None,
    ) -> None:
        """``most_bytes`` of memories are kept at hand; ``half``: written in half precision; ``knowledge``: what every
        conversation begins with.

        Raises:
            UserError: the knowledge is another model's.
        """
        if knowledge is not None:
            engine.fresh(0, knowledge)  # an error of it is told at once
        self._knowledge = knowledge
        self.knowledge_name = "" if knowledge is None else name_of(knowledge)
        """The same name stands for the same knowledge."""
        self._engine, self._store, self._template = engine, store, template
        self.stored = StoredMemories(engine.model, store, half, calls)
        """What the store has of them."""
        self._kept = KeptMemories(most_bytes)
        self._coming: dict[str, asyncio.Task[Ready]] = {}
        self._awaited: dict[str, Future[Ready]] = {}
        self._calls = calls
        self.updated: Callable[[float], None] = lambda seconds: None
        """Is told how long each update took."""

    def check_model(self, turn: Turn) -> None:
        """Refuse, with ``OtherModel``, a turn that other weights made."""
        if turn.fingerprint != self._engine.model.fingerprint():
            raise OtherModel(turn.id, turn.fingerprint, self._engine.model.fingerprint())

    async def after(self, turn: Turn, hurried: bool = True) -> Ready:
        """The memory after a turn; waits for an update that is under way.

        Raises:
            OtherModel: other weights made the turn.
            Damaged: the store holds something else than was written.
        """
        found = self._kept.get(turn.id)
        if found is not None:
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
            await self.stored.put(turn.id, found)

    def update(self, turn: Turn, before: Ready) -> asyncio.Task[Ready]:
        """Begin to memorize a turn that has just been written down; ``before``: the memory that it was answered
        with, all that it began with in it."""
        return self._keep(turn.id, self._memorize(turn, before, False))

    async def with_turn(self, before: Ready, turn: Turn, hurried: bool = True) -> Ready:
        """A memory after a turn of which nothing is kept."""
        before = await self.with_lead(before, turn.lead, hurried)
        return await self._one_turn_more(before, turn, hurried)

    async def with_lead(self, before: Ready, lead: Sequence[Sequence[int]], hurried: bool = True) -> Ready:
        """A memory after interactions that are no turns."""
        for ids in lead:
            before = (await self._one_more(before, ids, hurried, ids)).uncounted()
        return before

    async def begun(self, seed: int, opening: Sequence[int]) -> Ready:
        """The memory of a conversation that has not begun, the system prompt in it."""
        name = f"{seed} {list(opening)}"
        found = self._kept.get(name)
        if found is None:
            found = self._engine.fresh(seed, self._knowledge)
            if opening:
                found = (await self._one_more(found, opening, True, opening)).uncounted()
            self._kept.hold(name, found)
        return found

    async def beginning(self, parent: Turn | None, follows: Turn | None, seed: int) -> Ready:
        """What a turn of a user's memory begins with: what is resident after ``parent``, and all fragments after
        ``follows``."""
        begun = await (self.begun(seed, ()) if parent is None else self.after(parent))
        if follows is None or (parent is not None and parent.id == follows.id):
            return begun
        newest = await self.after(follows)
        if not isinstance(begun, PreparedPool) or not isinstance(newest, PreparedPool):
            raise Damaged(f"{follows.id}: the memory of a user is in fragments, this is none")
        return begun.sharing(newest)

    def renew(self, turn: Turn) -> asyncio.Task[Ready]:
        """Begin to memorize a turn that has just been written down, after others than it was answered with."""
        return self._keep(turn.id, self._bring(turn, False))

    async def _one_turn_more(self, before: Ready, turn: Turn, hurried: bool, name: str = "") -> Ready:
        """A memory after one more turn, which sees of a pool what it saw when it was answered."""
        ids = self._template.complete(turn.prompt, turn.said)
        if turn.chosen:
            return await self._one_more(before.choosing(turn.chosen), ids, hurried, None, name)
        return await self._one_more(before, ids, hurried, turn.prompt or ids, name)

    async def _one_more(
        self, before: Ready, ids: Sequence[int], hurried: bool, query: Sequence[int] | None, name: str = ""
    ) -> Ready:
        """A memory after one more interaction; of a pool, what is most like the ``query`` is seen, None: what is chosen
        already."""
        result = self._engine.memorize(before, ids, hurried, query)
        if name:
            self._awaited[name] = result
        try:
            prepared = await asyncio.wrap_future(result)
        finally:
            self._awaited.pop(name, None)
        assert prepared.update is not None
        self.updated(prepared.update.seconds)
        return prepared

    def forget(self, turn: str) -> None:
        """Keep nothing of a deleted turn at hand."""
        self._kept.forget(turn)

    async def let_go(self, turn: str) -> None:
        """As :meth:`forget`, also of a turn that is just being memorized."""
        task = self._coming.get(turn)
        if task is not None:
            await asyncio.wait([task])
        self.forget(turn)

    async def settled(self) -> None:
        """Wait for all updates that are under way."""
        while self._coming:
            await asyncio.wait(list(self._coming.values()))
            await asyncio.sleep(0)

    def _keep(self, name: str, work: Coroutine[None, None, Ready]) -> asyncio.Task[Ready]:
        task = asyncio.ensure_future(work)
        self._coming[name] = task

        def done(task: asyncio.Task[Ready]) -> None:
            if self._coming.get(name) is task:
                del self._coming[name]
            if not task.cancelled() and task.exception() is not None:
                log.warning("turn %s is not memorized yet: %s", name, task.exception())

        task.add_done_callback(done)
        return task

    async def _bring(self, turn: Turn, hurried: bool) -> Ready:
        """From the store, or made again from the nearest turn before it that has a memory."""
        if turn.user:
            return await self._bring_shared(turn, hurried)
        missing: list[Turn] = []
        at = turn
        while True:
            self.check_model(at)
            if missing and (at.id in self._kept or at.id in self._coming):
                prepared = await self.after(at, hurried)
                break
            stored = await self.stored.get(at.id)
            if stored is not None:
                prepared = stored
                self._kept.hold(at.id, prepared)
                break
            if at.kind == "memory":
                raise Damaged(f"{at.id}: its memory is not in the store")
            missing.append(at)
            if at.parent is None:
                if at.knowledge != self.knowledge_name:
                    raise Damaged(f"{at.id}: began with other knowledge than this server's, and was not memorized")
                prepared = self._engine.fresh(at.seed, self._knowledge)
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

    async def _bring_shared(self, turn: Turn, hurried: bool) -> Ready:
        """Of a user's memory: from the store, or made again from the two turns before it."""
        self.check_model(turn)
        stored = await self.stored.get(turn.id)
        if stored is not None:
            self._kept.hold(turn.id, stored)
            return stored
        said = turn.kind != "memory"
        if said and turn.parent is None and turn.knowledge != self.knowledge_name:
            raise Damaged(f"{turn.id}: began with other knowledge than this server's, and was not memorized")
        parent, follows = [await self._before(turn, name) for name in (turn.parent, turn.follows)]
        before = await self.beginning(parent, follows, turn.seed)
        if said:
            return await self._memorize(turn, await self.with_lead(before, turn.lead, hurried), hurried)
        await self.stored.put(turn.id, before)
        self._kept.hold(turn.id, before)
        return before

    async def _before(self, turn: Turn, name: str | None) -> Turn | None:
        found = None if name is None else await self._calls(self._store.turn, name)
        if name is not None and found is None:
            raise Damaged(f"{turn.id}: the turn before it, {name}, is gone before this one was memorized")
        return found

    async def _memorize(self, turn: Turn, before: Ready, hurried: bool) -> Ready:
        prepared = await self._one_turn_more(before, turn, hurried, turn.id)
        self._kept.hold(turn.id, prepared)
        try:
            await self.stored.put(turn.id, prepared)
        except UserError as error:  # the turn is written down; its memory is made again when it is needed
            log.warning("the memory of turn %s could not be written: %s", turn.id, error)
        return prepared
