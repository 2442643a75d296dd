"""One turn on its way: tokens come, the answer is written down, the memory follows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from typing import Protocol

from rxt.engine.calls import StoreCalls
from rxt.engine.events import Event, Finished, Memorized, Question
from rxt.engine.memories import Memories
from rxt.engine.scheduler import Engine
from rxt.engine.users import Users
from rxt.generation.batch import Said
from rxt.generation.constraint import Constraint
from rxt.generation.ready import Ready
from rxt.generation.turn import OpenTurn
from rxt.store.base import Store
from rxt.store.records import Call, Turn, UserMemory, next_prefix
from rxt.tools.tool import Tool, as_json, read_call


class Observer:
    """Is told what happens, for measurements; this one does nothing with it."""

    def first_token(self, seconds: float) -> None:
        """From the question's acceptance."""

    def finished(self, turn: Turn, seconds: float) -> None:
        """An answer is complete."""

    def left(self) -> None:
        """A client has gone before its answer was complete."""

    def memorized(self, seconds: float) -> None:
        """A memory was updated."""


class Host(Protocol):
    """What a turn needs of the sessions that it belongs to."""

    engine: Engine
    store: Store
    io: StoreCalls
    memories: Memories
    users: Users
    observer: Observer
    writing: set[asyncio.Task[asyncio.Task[Ready]]]
    """Finished answers that are being written down."""


class Running:
    """A turn that is being answered. Read ``events`` to the end, or ``close`` it."""

    def __init__(
        self,
        host: Host,
        question: Question,
        draft: Turn,
        answer: OpenTurn,
        prepared: Ready,
        release: list[Callable[[], None]],
        constraint: Constraint | None = None,
        memory: UserMemory | None = None,
    ) -> None:
        """``draft``: what is written down of ``answer`` in the end; ``release``: what is to be done once it is over,
        the last first; ``memory``: of the user whom it is told by, where that is shared."""
        self.draft = draft
        self.question = question
        self._host, self._answer, self._release, self._memory = host, answer, release, memory
        self._news: asyncio.Queue[Said | Exception] = asyncio.Queue()
        self._commit: asyncio.Task[asyncio.Task[Ready]] | None = None
        self._began = time.perf_counter()
        self._ended = False
        loop = asyncio.get_running_loop()

        def listen(news: Said | Exception) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._news.put_nowait, news)

        self._ticket = host.engine.answer(
            answer.prompt, prepared, question.sampling, answer.limit, listen, question.alternatives, constraint
        )

    async def events(self) -> AsyncGenerator[Event, None]:
        """Pieces, the finished turn, then the update of its memory, unless nothing is to be kept.

        Leaving before the turn is finished abandons it: nothing of it is kept.
        """
        answer = self._answer
        try:
            while answer.finish_reason is None:
                news = await self._news.get()
                if isinstance(news, Exception):
                    self._ended = True
                    raise news
                if not answer.said:
                    self._host.observer.first_token(time.perf_counter() - self._began)
                token = answer.hear(news.token, news.likelihood)
                if answer.finish_reason is not None and news.finish_reason is None:
                    self._host.engine.cancel(self._ticket)  # it came to a text that ends it
                yield token
            self._ended = True
            turn = self._finished()
            if self.question.store:
                self._commit = asyncio.ensure_future(self._write(turn))
                self._host.writing.add(self._commit)
                self._commit.add_done_callback(self._written)
                update = await asyncio.shield(self._commit)
                self._host.observer.finished(turn, time.perf_counter() - self._began)
                yield Finished(turn)
                memorized = (await asyncio.shield(update)).update
                assert memorized is not None
                yield Memorized(turn.memorized(), memorized)
            else:
                self._host.observer.finished(turn, time.perf_counter() - self._began)
                yield Finished(turn)
        finally:
            self.close()

    def _finished(self) -> Turn:
        """The turn with all that was said in it."""
        answer, asked, reply = self._answer, self.question, self._answer.reply
        assert answer.finish_reason is not None
        call = None if reply.tool_call is None else call_of(reply.tool_call, asked.manner.tools, self.draft.id)
        return replace(
            self.draft,
            said=tuple(answer.said),
            answer=reply.answer,
            think=reply.think,
            thinking_tokens=answer.thinking_tokens,
            call=call,
            finish_reason=answer.finish_reason,
            chosen=self._ticket.prepared.chosen,
            prefix=next_prefix(self.draft.prefix, asked.query, reply.answer, bool(asked.result_of), call),
        )

    def close(self) -> None:
        """The client has gone, or all is over."""
        if not self._ended:
            self._ended = True
            self._host.engine.cancel(self._ticket)
            self._host.observer.left()
        if self._commit is None:
            self._free()

    async def _write(self, turn: Turn) -> asyncio.Task[Ready]:
        """Write the turn down, then begin to memorize it. It happens whether or not the client stays."""
        try:
            if self._memory is not None:
                (written,), _ = await self._host.users.add([turn], turn.conversation, turn.parent, self._memory)
                if written.follows != turn.follows:  # another conversation of the user was quicker
                    return self._host.memories.renew(written)
            else:
                await self._host.io(self._host.store.add, [turn], turn.conversation, turn.parent)
            return self._host.memories.update(turn, self._ticket.prepared)
        finally:
            self._free()

    def _written(self, commit: asyncio.Task[asyncio.Task[Ready]]) -> None:
        self._host.writing.discard(commit)
        if not commit.cancelled():
            commit.exception()  # of a client that has gone nobody asks for it

    def _free(self) -> None:
        release, self._release = self._release, []
        for action in reversed(release):
            action()


def call_of(text: str, tools: Sequence[Tool], turn: str) -> Call:
    """What a model wrote as a call in a turn, checked against the tools that it was told of."""
    read = read_call(text, tools, f"call_{turn.removeprefix('resp_')}")
    return Call(read.id, read.name, as_json(read.arguments) if read.name else text, read.error)
