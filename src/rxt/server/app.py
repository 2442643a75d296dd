"""The application: routes, limits, logs, life and death."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import rxt
from rxt.errors import UserError
from rxt.server import chat, completions, conversations, embeddings, responses, users
from rxt.server.errors import Refused, install, reply
from rxt.server.metrics import METRICS_TYPE
from rxt.server.reference import add_reference
from rxt.server.replies import ErrorReply, Health, ModelList, ModelReply
from rxt.server.service import Owner, Serves, Service
from rxt.store.base import StoreFailed

log = logging.getLogger("rxt.server")
access = logging.getLogger("rxt.access")
router = APIRouter()

DESCRIPTION = (
    "Conversations with a Reactive Transformer: only the newest message is sent, what came before is in its memory."
)
PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ALWAYS_ANSWERED = frozenset({"/healthz", "/readyz", "/metrics"})
"""Whoever watches over the server must be able to tell one with too many clients from one that has died."""
UNFINISHED_SECONDS = 120.0
"""A turn that was answered so long ago and is not memorized yet was left behind by a process that died."""
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply} for status in (400, 401, 404, 408, 409, 413, 415, 429, 503)
}


def create_app(service: Service) -> FastAPI:
    """The server of one service; it takes the service's sessions over and closes them at its end."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        service.sessions.observer = service.metrics
        service.metrics.log_texts = service.options.log_texts
        upkeep = asyncio.ensure_future(keep_up(service))
        service.ready = True
        try:
            yield
        finally:
            service.ready = False
            upkeep.cancel()
            with suppress(asyncio.CancelledError):
                await upkeep
            service.aside.shutdown(wait=False, cancel_futures=True)
            await service.sessions.close(service.options.grace_seconds)

    app = FastAPI(
        title="rxt",
        summary="A server for Reactive Transformers",
        description=DESCRIPTION,
        version=rxt.__version__,
        lifespan=life,
        responses=ERRORS,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    install(app)
    asking = (responses.router, chat.router, completions.router, embeddings.router)
    for part in (*asking, conversations.router, users.router, router):
        _summarize(part)
        app.include_router(part)
    add_reference(app)
    app.add_middleware(Gate, service=service)
    if service.options.origins:  # outside of the gate, so that pages can read its refusals too
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.options.origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["Retry-After", "X-Rxt-Unused", "X-Rxt-Warning"],
        )
    return app


def _summarize(part: APIRouter) -> None:
    """Have the reference name each request by the first clause of what is said of it, not by a function's name."""
    for route in part.routes:
        if isinstance(route, APIRoute):
            route.summary = re.split(r"[.;:]\s|[.]$", route.description.replace("``", ""))[0]


async def keep_up(service: Service) -> None:
    """Memorize what was left when a process ended; forget what is beyond the limits; again and again."""
    older = 0.0
    while True:
        try:
            count = await service.sessions.recover(older)
            if count:
                log.info("%d turns memorized that had been left", count)
            gone = await service.sessions.prune()
            if gone:
                log.info("%d turns forgotten", gone)
        except UserError as error:
            log.error("upkeep failed: %s", error)
        older = UNFINISHED_SECONDS
        await asyncio.sleep(service.options.upkeep_seconds)


@router.get("/v1/models", response_model=ModelList, tags=["models"])
async def models(serves: Serves, owner: Owner) -> ModelList:
    """The model of this server."""
    return ModelList(data=[_model(serves)])


@router.get("/v1/models/{model_id:path}", response_model=ModelReply, tags=["models"])
async def model(model_id: str, serves: Serves, owner: Owner) -> ModelReply:
    """The model, by name."""
    serves.check_model(model_id)
    return _model(serves)


def _model(serves: Service) -> ModelReply:
    return ModelReply(id=serves.options.name, created=int(serves.started), fingerprint=serves.sessions.fingerprint)


@router.get("/healthz", response_model=Health, tags=["operation"])
async def health(serves: Serves) -> Response:
    """Whether the process should live on."""
    alive = serves.sessions.engine.alive or serves.sessions.draining
    return JSONResponse(Health(status="ok" if alive else "failed").model_dump(), 200 if alive else 503)


@router.get("/readyz", response_model=Health, tags=["operation"])
async def readiness(serves: Serves) -> Response:
    """Whether requests should be sent here."""
    ready = serves.ready and not serves.sessions.draining and serves.sessions.engine.alive
    status = "ok" if ready else "stopping" if serves.sessions.draining else "starting"
    if ready:
        try:
            await serves.sessions.io(serves.sessions.store.check)
        except StoreFailed:
            status = "store_failed"
    return JSONResponse(Health(status=status).model_dump(), 200 if status == "ok" else 503)


@router.get("/metrics", response_class=Response, tags=["operation"])
async def metrics(serves: Serves) -> Response:
    """For Prometheus."""
    return Response(await metrics_page(serves), media_type=METRICS_TYPE)


async def metrics_page(service: Service) -> bytes:
    """What Prometheus reads of this process."""
    try:
        stats = await service.sessions.io(service.sessions.store.stats)
    except StoreFailed:
        stats = None
    return service.metrics.page(service.sessions, stats)


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
async def page() -> HTMLResponse:
    """A page to chat on."""
    text = files("rxt.server").joinpath("page.html").read_text(encoding="utf-8")
    return HTMLResponse(text, headers={"Content-Security-Policy": PAGE_POLICY, "X-Content-Type-Options": "nosniff"})


def _check_host(sent: str, allowed: frozenset[str]) -> None:
    """Refuse a name that is not this server's: a page whose name was made to point here must not read from it."""
    try:
        name = urlsplit(f"//{sent}").hostname
    except ValueError:
        name = None
    if allowed and name not in allowed:
        raise Refused(
            400, f"this server is not called {sent[:100]!r}; rxt serve --hosts adds names", "host_not_allowed"
        )


class Gate:
    """Bounds what a request may send, answers HEAD as GET without its body, and notes what became of it."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, options = time.perf_counter(), 499, self._service.options
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        asked = {**scope, "method": method, "root_path": options.root_path or scope.get("root_path", "")}
        most = self._service.most_body(scope["path"])
        taken, whole = 0, False

        async def bounded() -> Message:
            nonlocal taken, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout(options.slow_seconds):
                    message = await receive()
            except TimeoutError:
                raise Refused(408, "the request was sent too slowly", "request_timeout") from None
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > most:
                raise Refused(413, f"the request is longer than {most} bytes", "request_too_large")
            return message

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif scope["method"] == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            headers = dict(scope["headers"])
            _check_host(headers.get(b"host", b"").decode("latin-1"), options.hosts)
            if (
                self._service.connected() > options.connections
                and scope["path"].removeprefix(options.root_path) not in ALWAYS_ANSWERED
            ):
                raise Refused(503, "too many connections are open here; try again later", "too_many_connections")
            encoding = headers.get(b"content-encoding", b"identity").decode("latin-1")
            if encoding.strip().lower() not in ("", "identity"):
                raise Refused(
                    415,
                    f"Content-Encoding {encoding[:100]!r} is not supported; send the body uncompressed",
                    "unsupported_content_encoding",
                )
            declared = headers.get(b"content-length", b"0")
            if declared.isdigit() and int(declared) > most:
                raise Refused(413, f"the request is longer than {most} bytes", "request_too_large")
            await self._app(asked, bounded, noted)
        except Refused as error:
            await reply(error)(scope, receive, noted)
        finally:
            self._note(asked, scope["method"], status, time.perf_counter() - began)

    def _note(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        state = scope.get("state", {})
        self._service.metrics.request(method if route != "none" else "any", route, status)
        line: dict[str, object] = {
            "method": method,
            "route": route,
            "status": status,
            "seconds": round(seconds, 4),
        }
        line |= {name: state[name] for name in ("owner", "turn") if state.get(name)}
        access.info("request", extra={"fields": line})
