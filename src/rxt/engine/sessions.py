"""Conversations that last: turns in their order, written down before anybody is told that they are complete.

For one event loop; the server only translates between HTTP and this.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.calls import StoreCalls
from rxt.engine.events import NotThere, OtherScope, Past, Question, Scope, TooMany, TurnFragments
from rxt.engine.forgetting import Forgetting
from rxt.engine.leases import Leases
from rxt.engine.memories import Memories
from rxt.engine.openings import Openings
from rxt.engine.running import Observer, Running
from rxt.engine.scheduler import Engine, Stopped
from rxt.engine.starts import PartOfTurn, Starts
from rxt.engine.users import Users
from rxt.errors import UserError
from rxt.generation.pool_turn import PreparedPool
from rxt.generation.ready import Ready, change
from rxt.model.pool import Pool
from rxt.store.base import Store
from rxt.store.records import Dialogue, Retention, Turn, chain_prefix, new_id

HEADER_BYTES = 4096
"""More than the header of any memory file has."""
HEARING_SECONDS = 1.0
"""In which whoever reads the events of a turn that was given up should hear of it."""


@dataclass(frozen=True)
class Rules:
    """How turns are taken in."""

    seed: int = 0
    """Of fresh memories, for models that do not fix one."""
    wait_seconds: float = 30.0
    """How long a turn waits for the one before it in its conversation to be answered."""
    per_owner: int = 64
    """Turns of one owner at once."""
    history: int = 1000
    """Messages that a client may bring at once."""
    pieces: int = 64
    """Interactions that one long message may become; 1 refuses long messages."""
    cache_bytes: int = 256 << 20
    """Of memories that are kept at hand."""
    half_memory: bool = False
    """Memories are kept in half precision."""
    knowledge: Pool | None = None
    """Fragments that every conversation begins with, and none changes."""
    pool_bytes: int = 64 << 20
    """Of a pool that a client brings as a file."""
    retention: Retention = field(default_factory=Retention)
    scope: Scope = "conversation"
    """Of conversations that do not say, where their user is named."""


class Sessions:
    """Turns and conversations of one model and one store."""

    def __init__(self, engine: Engine, tokenizer: ChatTokenizer, store: Store, rules: Rules | None = None) -> None:
        self.engine, self.tokenizer, self.store = engine, tokenizer, store
        self.rules = rules or Rules()
        self.template = Template.of_model(engine.model.config, tokenizer)
        self.fingerprint = engine.model.fingerprint()
        self.observer = Observer()
        self.io = StoreCalls()
        rules = self.rules
        self.memories = Memories(
            engine, store, self.template, rules.cache_bytes, rules.half_memory, self.io, rules.knowledge
        )
        self.memories.updated = lambda seconds: self.observer.memorized(seconds)
        pooled = engine.model.config.pool is not None
        self.users = Users(store, self.io, self.memories, self.fingerprint, rules.scope, pooled)
        self.forgetting = Forgetting(store, self.io, self.memories, self.users)
        self.starts = Starts(
            self.template, store, self.io, self.memories, self.users, self.fingerprint, rules.seed, rules.pieces
        )
        self.openings = Openings(self.template, self.starts, engine.model.config.decoder.vocab_size)
        self.leases = Leases(store, self.io, self.rules.wait_seconds, self.rules.per_owner)
        self.draining = False
        self.writing: set[asyncio.Task[asyncio.Task[Ready]]] = set()
        """Finished answers that are being written down."""
        self._active: Counter[str] = Counter()

    # Turns.

    async def begin(self, question: Question) -> Running:
        """Check a question, wait for its turn and its memory, and have it answered.

        Raises:
            UserError: and its kinds: NotThere, Occupied, TooMany, Overloaded, Stopped, OtherModel, Damaged,
            StoreFailed; plain
                where the question itself is wrong.
        """
        if self.draining:
            raise Stopped("the server is shutting down; try again later")
        if self._active[question.owner] >= self.rules.per_owner:
            raise TooMany(f"{self.rules.per_owner} requests of this key are being answered already; try again later")
        if len(question.history) > self.rules.history:
            raise UserError(
                f"the history has {len(question.history)} turns, at most {self.rules.history} may come at once"
            )
        self._active[question.owner] += 1
        release: list[Callable[[], None]] = [lambda: self._leave(question.owner)]
        try:
            opened = await self.openings.open(question)
            start = await self.starts.start(question, await self._place(question, release), opened.lead)
            draft = Turn(
                new_id("resp"),
                question.owner,
                time.time(),
                self.fingerprint,
                None if start.parent is None else start.parent.id,
                question.conversation,
                seed=self.rules.seed,
                instructions=start.instructions,
                opening=start.opening,
                knowledge=self.memories.knowledge_name if start.parent is None else "",
                lead=start.lead,
                role="tool" if question.result_of else "user",
                query=question.query,
                prompt=tuple(opened.turn.prompt),
                number=(start.prepared.memory.turns[0] if start.memory is None else start.before) + 1,
                prefix=start.prefix,
                settings=question.settings,
                mode=question.manner.mode,
                internal=opened.turn.internal,
                result_of=question.result_of,
                user="" if start.memory is None else start.memory.user,
                follows=None if start.memory is None else start.memory.head,
            )
            return Running(self, question, draft, opened.turn, start.prepared, release, opened.constraint, start.memory)
        except BaseException:
            for action in reversed(release):
                action()
            raise

    async def _place(self, question: Question, release: list[Callable[[], None]]) -> Turn | None:
        """The turn after which the question is asked; its conversation is this question's until it is released."""
        if question.conversation is None:
            if question.previous is None:
                return None
            return await self.turn(question.owner, question.previous)
        name, owner = question.conversation, question.owner
        await self.leases.take(owner, name)
        release.append(lambda: self.leases.give_back(name))
        head = (await self.dialogue(owner, name)).head  # as the turn before has left it
        return None if head is None else await self.turn(owner, head)

    # Things by name.

    async def turn(self, owner: str, name: str) -> Turn:
        """A turn of this owner; ``NotThere`` otherwise."""
        found = await self.io(self.store.turn, name, owner)
        if found is None:
            raise NotThere("response", name)
        return found

    async def dialogue(self, owner: str, name: str) -> Dialogue:
        """A conversation of this owner; ``NotThere`` otherwise."""
        found = await self.io(self.store.dialogue, name, owner)
        if found is None:
            raise NotThere("conversation", name)
        return found

    async def new_dialogue(self, owner: str, metadata: dict[str, str], head: str | None = None) -> Dialogue:
        """Begin a conversation, or fork one: after the turn ``head``."""
        if head is not None:
            self.memories.check_model(await self.turn(owner, head))
        now = time.time()
        dialogue = Dialogue(new_id("conv"), owner, now, now, head, metadata)
        await self.io(self.store.put, dialogue)
        return dialogue

    async def bring(self, owner: str, name: str, history: tuple[Past, ...]) -> None:
        """Memorize what a client brings, as the next turns of a conversation."""
        question = Question(owner, "-", history, conversation=name)
        release: list[Callable[[], None]] = []
        try:
            await self.starts.start(question, await self._place(question, release))
        finally:
            for action in release:
                action()

    async def move(self, owner: str, name: str, head: str | None) -> Dialogue:
        """Make another turn, or none, the newest of a conversation."""
        if head is not None:
            self.memories.check_model(await self.turn(owner, head))
        await self.leases.take(owner, name)
        try:
            moved = replace(await self.dialogue(owner, name), head=head, updated=time.time())
            await self.io(self.store.put, moved)
            return moved
        finally:
            self.leases.give_back(name)

    async def unsay(self, owner: str, name: str, turn: str, part: PartOfTurn) -> Dialogue:
        """Have a conversation go on as if one message had not been said: the turns from there on are made anew."""
        await self.leases.take(owner, name)
        try:
            dialogue = await self.dialogue(owner, name)
            chain = await self.io(self.store.chain, dialogue.head, owner, self.rules.history)
            places = [index for index, each in enumerate(chain) if each.id == turn]
            if not places:
                raise NotThere("item", turn)
            if chain[places[0]].user:
                raise OtherScope("what was told to a user's memory cannot be unsaid; the memory can be deleted")
            parent = chain[places[0]].parent
            before = None if parent is None else await self.io(self.store.turn, parent)
            new = await self.starts.without(part, chain[places[0] :], before, name)
            if new:
                await self.io(self.store.add, new, name, dialogue.head)
            else:
                head = None if before is None else before.id
                await self.io(self.store.put, replace(dialogue, head=head, updated=time.time()))
            return await self.dialogue(owner, name)
        finally:
            self.leases.give_back(name)

    async def import_memory(self, owner: str, content: bytes) -> Turn:
        """A turn that consists of a memory alone, to go on from. ``UserError`` if it is not one of this model's."""
        prepared = self.memories.stored.brought(content, "the memory")
        number = prepared.memory.turns[0]
        prefix = chain_prefix("memory", secrets.token_hex(16), "")
        turn = Turn(new_id("resp"), owner, time.time(), self.fingerprint, kind="memory", number=number, prefix=prefix)
        await self.io(self.store.add, [turn])
        await self.memories.stored.put(turn.id, prepared)
        return turn.memorized()

    @property
    def most_memory_bytes(self) -> int:
        """Of a memory file that a client may bring: one of this model, in single precision, with its header; of a
        pool, as many fragments as the rules allow."""
        config = self.engine.model.config
        pool = 0 if config.pool is None else self.rules.pool_bytes
        return max(pool, 4 * math.prod(config.memory_shape) + HEADER_BYTES)

    async def export_memory(self, turn: Turn) -> bytes:
        """The memory after a turn, as a file that ``Memory.load`` reads, or where it is a pool ``Pool.load``."""
        self.memories.check_model(turn)
        return self.memories.stored.file(await self.memories.after(turn))

    async def change(self, turn: Turn) -> list[list[float]]:
        """How much each slot changed in a turn, layers × slots: the mean absolute change of its numbers. Of a pool, the
        slots that the turn was written into: resident ones, then those of the fragments that were written."""
        self.memories.check_model(turn)
        after = await self.memories.after(turn)
        parent, follows = [
            None if name is None else await self.io(self.store.turn, name) for name in (turn.parent, turn.follows)
        ]
        if turn.user:
            return change(await self.memories.beginning(parent, follows, turn.seed), after).tolist()
        if parent is None:
            return change(await self.memories.begun(turn.seed, turn.opening), after).tolist()
        return change(await self.memories.after(parent), after).tolist()

    async def fragments(self, turn: Turn) -> TurnFragments | None:
        """What a turn saw and wrote of a pool; None where the memory is a plain one."""
        self.memories.check_model(turn)
        after = await self.memories.after(turn)
        if not isinstance(after, PreparedPool):
            return None
        slots = after.pool.fresh.shape[1]
        return TurnFragments(len(after.pool.fragments), slots, turn.chosen, after.written)

    async def delete_turn(self, owner: str, name: str) -> None:
        """Forget a turn. Those after it keep their own memories."""
        await self.forgetting.turn(owner, name)

    async def delete_dialogue(self, owner: str, name: str) -> None:
        """Forget a conversation and what was said in it."""
        await self.forgetting.dialogue(owner, name)

    def _leave(self, owner: str) -> None:
        self._active[owner] -= 1
        if not self._active[owner]:
            del self._active[owner]

    # The whole.

    @property
    def active(self) -> int:
        """Turns that are being answered or wait for it."""
        return self._active.total()

    async def recover(self, older: float = 0.0) -> int:
        """Memorize what was answered and not memorized when a process ended, or its disk was full -> how many turns.

        ``older``: only turns of more than so many seconds ago; younger ones may be in the hands of another process.
        """
        done = 0
        for turn in await self.io(self.store.unfinished):
            if turn.created > time.time() - older:
                continue
            if turn.kind == "memory" and not turn.user:  # its import was not finished, and nobody was told of it
                await self.io(self.store.delete_turn, turn.id, turn.owner)
            elif turn.fingerprint == self.fingerprint:
                with suppress(UserError):  # logged by whoever tried
                    await self.memories.finish(turn)
                    done += 1
        return done

    async def prune(self) -> int:
        """Forget what is beyond the limits."""
        return await self.io(self.store.prune, self.rules.retention, time.time())

    async def close(self, grace: float = 30.0) -> None:
        """Take nothing in any more; finish what there is, or leave it: what was answered is written down already."""
        self.draining = True
        ends = time.monotonic() + grace
        await self._quiet(ends)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, ends - time.monotonic())):
                await self.memories.settled()
        await asyncio.get_running_loop().run_in_executor(None, self.engine.stop, 0.0)
        await self._quiet(time.monotonic() + HEARING_SECONDS)
        while self.writing:
            await asyncio.wait(list(self.writing))
        await self.memories.settled()
        await self.leases.close()
        self.io.close()
        self.store.close()

    async def _quiet(self, ends: float) -> None:
        while self.active and time.monotonic() < ends:
            await asyncio.sleep(0.02)
