"""What all routes share."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Protocol, TypeVar

from fastapi import Depends, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from rxt.engine.events import NotThere, Question
from rxt.engine.running import Running
from rxt.engine.sessions import Sessions
from rxt.server.errors import Refused
from rxt.server.items import ITEM, Item, items_of
from rxt.server.keys import Keys
from rxt.server.metrics import Metrics
from rxt.server.replies import Settings
from rxt.server.translate import WARNING, Lookup

T = TypeVar("T")
UNPRINTABLE = re.compile(r"[^ -~]")
NAME = re.compile(r"(resp|conv)_[0-9a-f]{32}")


@dataclass(frozen=True)
class Options:
    """How the server behaves."""

    name: str = "rxt"
    """Of the model."""
    temperature: float = 0.0
    """Where a request has none."""
    most_body: int = 1 << 20
    """Bytes of a request. A memory file may have as many as one of the model has."""
    slow_seconds: float = 30.0
    """A client that takes or sends nothing for so long has gone."""
    grace_seconds: float = 30.0
    """For what is being answered when the server is stopped."""
    connections: int = 1000
    """Open at once; on further ones only questions after its health are answered."""
    upkeep_seconds: float = 60.0
    """Between two looks at what is to be forgotten or memorized again."""
    log_texts: bool = False
    """Messages are logged too."""
    hosts: frozenset[str] = frozenset()
    """Names in lower case by which the server may be called; without any, every name."""
    origins: tuple[str, ...] = ()
    """Whose pages may call it from a browser, as ``https://example.com``; ``*``: all."""
    root_path: str = ""
    """The path under which a proxy offers it, as ``/rxt``."""


@dataclass
class Service:
    """The sessions, and how they are offered."""

    sessions: Sessions
    options: Options = field(default_factory=Options)
    keys: Keys = field(default_factory=Keys)
    metrics: Metrics = field(default_factory=Metrics)
    started: float = field(default_factory=time.time)
    ready: bool = False
    connected: Callable[[], int] = lambda: 0
    """How many connections are open, as what listens for them counts."""
    aside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "rxt-aside"))
    """Reads texts beside the engine, one request at a time: who embeds much waits, and who chats does not."""

    def check_model(self, name: str | None) -> None:
        """There is one model, and it can be left out."""
        if name is not None and name != self.options.name:
            raise Refused(
                404, f"there is no model {name!r}; this server has {self.options.name!r}", "model_not_found", "model"
            )

    def most_body(self, path: str) -> int:
        """Bytes that a request to this path may have."""
        return max(self.options.most_body, self.sessions.most_memory_bytes if brings_memory(path) else 0)

    def lookup(self, owner: str) -> Lookup:
        """This owner's stored items, by name."""

        async def said(name: str) -> Item | None:
            found = ITEM.fullmatch(name)
            turn = (
                None if found is None else await self.sessions.io(self.sessions.store.turn, f"resp_{found[1]}", owner)
            )
            items = [] if turn is None else items_of(turn)
            return next((item for item in items if item.id == name), None)

        return said

    async def begin(self, request: Request, question: Question) -> Running:
        """Have a question answered, unless the client goes before it is this question's turn."""
        try:
            return await unless_gone(request, self.sessions.begin(question))
        except NotThere as error:
            if error.what == "response" and question.previous is not None:
                raise Refused(404, str(error), "previous_response_not_found", "previous_response_id") from None
            if error.what == "conversation" and question.conversation is not None:
                raise Refused(404, str(error), "conversation_not_found", "conversation") from None
            raise


def brings_memory(path: str) -> bool:
    """Whether the body of a request to this path may be a memory file."""
    return path.endswith(("/memories", "/memory", "/memory/file"))


def service(request: Request) -> Service:
    """Of this request's server."""
    return request.app.state.service


def owner(request: Request) -> str:
    """Whose request it is; without a valid key it is refused."""
    found = service(request).keys.owner(request.headers.get("authorization"))
    request.state.owner = found
    return found


Serves = Annotated[Service, Depends(service)]
Owner = Annotated[str, Depends(owner)]


def checked(name: str, what: str) -> str:
    """A name as this server gives them; any other stands for nothing."""
    if not NAME.fullmatch(name):
        raise NotThere(what, name[:100])
    return name


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """The result of ``work``, which is cancelled when the client goes."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Refused(499, "the client has gone")
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
        with suppress(asyncio.CancelledError):
            await gone


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def note_options(reply: Response, unused: Sequence[str], question: Question) -> None:
    """Say in the headers of a reply which options changed nothing, and what was not done as it was asked."""
    warning = Settings.model_validate_json(question.settings).metadata.get(WARNING)
    for name, text in (("X-Rxt-Unused", ", ".join(unused)), ("X-Rxt-Warning", warning)):
        if text:
            reply.headers[name] = UNPRINTABLE.sub("?", text)[:1000]


class Closable(Protocol):
    """What is behind a stream of events."""

    def close(self) -> None:
        """Nobody reads them any more."""


class EventStream(StreamingResponse):
    """Server-sent events. A client that has gone, or takes nothing for too long, ends the turn behind them."""

    def __init__(
        self,
        events: AsyncGenerator[str, None],
        running: Closable,
        slow_seconds: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            _bytes(events),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})},
        )
        self._events, self._running, self._slow_seconds = events, running, slow_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_soon(message: Message) -> None:
            async with asyncio.timeout(self._slow_seconds):
                await send(message)

        try:
            with suppress(TimeoutError):
                await super().__call__(scope, receive, send_soon)
        finally:
            self._running.close()


async def _bytes(events: AsyncGenerator[str, None]) -> AsyncIterator[bytes]:
    async for event in events:
        yield event.encode()
