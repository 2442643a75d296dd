"""In front of several replicas of the server: passes each request on to one of them, those of a conversation to the
same one as long as it can take them, because it has the memory at hand. Any other goes on from the store."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from rxt.server.errors import Refused, reply
from rxt.server.metrics import METRICS_TYPE, together
from rxt.server.replica import Asked, Part
from rxt.server.replies import Health
from rxt.server.requests import ConversationName
from rxt.server.service import Options, brings_memory, unless_gone

NAMED = re.compile(r"/((?:conv|resp)_[0-9a-f]{32})(?:/|$)")
MOST_MEMORY = 1 << 28
"""Bytes of a memory file that are read here; the replica knows how many one of its model may have."""
MOST_KNOWN = 100_000
"""Responses of which is known to which session they belong."""
CLIENT_GONE = 499


class Replicas(Protocol):
    """What the ingress passes requests on to."""

    def answer(self, asked: Asked, session: str) -> AsyncGenerator[Part, None]:
        """The reply of one replica, preferably that which had the session's last request; empty: of any.

        Raises:
            Refused: none can take the request, or the one that had it has died.
        """
        ...

    async def metrics(self) -> Mapping[str, bytes]:
        """What Prometheus reads of each, by its name."""
        ...


class Goal(BaseModel):
    """What a question goes on from; whatever else the body holds is the replica's to read."""

    conversation: str | ConversationName | None = None
    previous_response_id: str | None = None

    @property
    def name(self) -> str | None:
        """Of a conversation or a response."""
        named = self.conversation.id if isinstance(self.conversation, ConversationName) else self.conversation
        return named or self.previous_response_id


class Sessions:
    """Which session a request belongs to. A conversation is a session by its name, wherever it is asked for; a chain of
    responses has the session of its first one, known where that passed through, and last."""

    def __init__(self, most: int = MOST_KNOWN) -> None:
        self._most = most
        self._known: OrderedDict[str, str] = OrderedDict()

    def of(self, asked: Asked, path: str) -> str:
        """Empty where any replica is as good as another; ``path``: without what a proxy puts before it."""
        found = NAMED.search(path)
        if found is not None:
            return self._known.get(found[1], found[1])
        if (asked.method, path) != ("POST", "/v1/responses"):
            return ""
        try:
            name = Goal.model_validate_json(asked.body).name
        except ValidationError:
            return ""  # refused by whoever reads it
        return secrets.token_hex(16) if name is None else self._known.get(name, name)

    def note(self, turn: str, session: str) -> None:
        """A response is being made in a session."""
        self._known[turn] = session
        self._known.move_to_end(turn)
        if len(self._known) > self._most:
            self._known.popitem(last=False)


class Ingress:
    """An ASGI application for HTTP."""

    def __init__(self, replicas: Replicas, options: Options) -> None:
        self._replicas, self._options, self._sessions = replicas, options, Sessions()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path = scope["path"].removeprefix(self._options.root_path)
        try:
            if path == "/healthz":
                await JSONResponse(Health(status="ok").model_dump())(scope, receive, send)
            elif path == "/metrics":
                page = together(await self._replicas.metrics())
                await Response(page, media_type=METRICS_TYPE)(scope, receive, send)
            else:
                asked = Asked.of(scope, await self._body(path, receive))
                await unless_gone(Request(scope, receive), self._pass_on(asked, path, send))
        except Refused as error:
            if error.status != CLIENT_GONE:
                await reply(error)(scope, receive, send)

    async def _body(self, path: str, receive: Receive) -> bytes:
        """A body that is longer than it may be is read no further; the replica refuses it."""
        most = max(self._options.most_body, MOST_MEMORY if brings_memory(path) else 0)
        read, more = bytearray(), True
        while more and len(read) <= most:
            try:
                async with asyncio.timeout(self._options.slow_seconds):
                    message = await receive()
            except TimeoutError:
                raise Refused(408, "the request was sent too slowly", "request_timeout") from None
            if message["type"] == "http.disconnect":
                raise Refused(CLIENT_GONE, "the client has gone")
            read += message.get("body", b"")
            more = message.get("more_body", False)
        return bytes(read)

    async def _pass_on(self, asked: Asked, path: str, send: Send) -> None:
        session = self._sessions.of(asked, path)
        begun = whole = False
        try:
            async for part in self._replicas.answer(asked, session):
                if part.turn and session:
                    self._sessions.note(part.turn, session)
                for message in part.messages:
                    begun = True
                    whole = message["type"] == "http.response.body" and not message.get("more_body", False)
                    await send(message)
        except Refused as error:
            if begun and not whole:
                raise ConnectionError(
                    error.message
                ) from None  # the connection is cut: the client must not take it for whole
            if not begun:
                raise
