"""One of several copies of the server behind an ingress: requests and replies are values that travel between
processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import NamedTuple

from starlette.types import Message, Scope

from rxt.server.app import create_app, metrics_page
from rxt.server.service import Service


@dataclass(frozen=True)
class Asked:
    """A request, its body read to the end."""

    method: str
    path: str
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    scheme: str = "http"
    root_path: str = ""
    client: tuple[str, int] | None = None

    @classmethod
    def of(cls, scope: Scope, body: bytes) -> Asked:
        """What an ASGI server says of a request, and its body."""
        client = scope.get("client")
        return cls(
            scope["method"],
            scope["path"],
            scope.get("query_string", b""),
            tuple((bytes(name), bytes(value)) for name, value in scope["headers"]),
            body,
            scope.get("scheme", "http"),
            scope.get("root_path", ""),
            None if client is None else (client[0], client[1]),
        )

    def scope(self, state: dict[str, object]) -> Scope:
        """As the application reads it; ``state``: what the application notes about it."""
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": self.scheme,
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query,
            "root_path": self.root_path,
            "headers": list(self.headers),
            "client": self.client,
            "server": None,
            "state": state,
        }


class Part(NamedTuple):
    """Some of a reply."""

    messages: list[Message]
    """ASGI's, in their order."""
    turn: str = ""
    """The name of the response that is being made, where one is."""


class Replica:
    """The application of a service, for one event loop."""

    def __init__(self, service: Service, name: str) -> None:
        """Takes the service over. ``name`` tells replicas apart in their counts."""
        self.name = name
        self._service, self._app = service, create_app(service)
        self._begun, self._stopped = asyncio.Event(), asyncio.Event()
        self._life = asyncio.ensure_future(self._live())
        self._working: set[asyncio.Future[None]] = set()

    async def _live(self) -> None:
        async with self._app.router.lifespan_context(self._app):
            self._begun.set()
            await self._stopped.wait()

    async def answer(self, asked: Asked) -> AsyncGenerator[Part, None]:
        """The parts of a reply, as they come. Who stops reading them is a client that has gone."""
        await self._begun.wait()
        state: dict[str, object] = {}
        told: asyncio.Queue[Message | None] = asyncio.Queue()
        sent, gone = [{"type": "http.request", "body": asked.body, "more_body": False}], asyncio.Event()

        async def receive() -> Message:
            if sent:
                return sent.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            told.put_nowait(message)

        async def work() -> None:
            try:
                await self._app(asked.scope(state), receive, send)
            finally:
                told.put_nowait(None)

        working = asyncio.ensure_future(work())
        self._working.add(working)
        working.add_done_callback(self._worked)
        try:
            over = False
            while not over:
                taken = [await told.get()]
                while not told.empty():
                    taken.append(told.get_nowait())
                over = taken[-1] is None
                yield Part([message for message in taken if message is not None], str(state.get("turn", "")))
        finally:
            gone.set()

    def _worked(self, working: asyncio.Future[None]) -> None:
        self._working.discard(working)
        if not working.cancelled():
            working.exception()  # it has been logged, and the client told

    async def metrics(self) -> tuple[str, bytes]:
        """Its name, and what Prometheus reads of it."""
        return self.name, await metrics_page(self._service)

    def check_health(self) -> None:
        """Raises ``RuntimeError`` when the process should be replaced by another one."""
        if self._life.done() or not self._service.sessions.engine.alive:
            raise RuntimeError("the engine has died; the log of this replica says why")

    async def close(self) -> None:
        """Finish what is being answered, as the server does when it is stopped."""
        self._stopped.set()
        await self._life
