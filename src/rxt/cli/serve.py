"""``rxt serve``: a model over HTTP."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from rxt.cli.arguments import parse_arguments
from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.engine.sessions import Sessions

LOCAL = ("127.0.0.1", "::1", "localhost")
CONNECTIONS_WAITING = 1024


@dataclass(frozen=True)
class Options:
    """Offer a model over HTTP: conversations that last, as OpenAI's clients speak it, and a page to chat on."""

    model: Annotated[str | None, Positional, arg(metavar="[MODEL]", help_behavior_hint="")] = None
    """A model folder, or owner/name on the Hugging Face Hub; without it the bundled model."""
    base: Annotated[str | None, arg(metavar="BASE", help_behavior_hint="")] = None
    """Where the pre-trained model is that MODEL is the memory of: a folder, a GGUF file, or owner/name on the Hub."""
    host: str = "127.0.0.1"
    """0.0.0.0 for everybody who can reach this machine."""
    port: int = 8000
    """0 takes one that is free."""
    db: str = "rxt.db"
    """Where conversations are kept: a file, or redis://HOST:PORT/NUMBER, which several servers may share."""
    name: str = ""
    """Of the model, for clients; its folder's by default."""
    keys: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """API keys, one a line; more may stand in the environment as RXT_API_KEYS, with commas between. Without any, nobody
    is asked."""
    temperature: float = 0.0
    """Where a request names none."""
    places: int = 16
    """Answers that are decoded together."""
    queue: int = 256
    """Answers and memory updates that may wait; more are refused with status 503."""
    per_key: int = 64
    """Requests of one key at once; more are refused with status 429."""
    connections: int = 1000
    """Connections at once; on more, requests are refused with status 503, all but those after the server's health."""
    max_body: int = 1 << 20
    """Bytes of a request."""
    cache: int = 256
    """Megabytes of memories that are kept at hand."""
    knowledge: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """What every conversation begins with: what rxt memory build has read."""
    half_memory: bool = False
    """Keep memories in half precision, in half the space."""
    keep_days: Annotated[float | None, arg(metavar="DAYS", help_behavior_hint="")] = None
    """Forget turns that are older."""
    keep_turns: Annotated[int | None, arg(metavar="COUNT", help_behavior_hint="")] = None
    """Forget the oldest turns beyond so many."""
    keep_bytes: Annotated[int | None, arg(metavar="BYTES", help_behavior_hint="")] = None
    """Forget the oldest turns beyond so much."""
    compile: bool = False
    """Run the steps of answers through torch.compile, on a processor of up to 4 at once. Needs a C++ compiler, and some
    minutes before it serves for the first time."""
    quantize: bool = False
    """Round the decoder's matrices to 8-bit integers."""
    device: str = "cpu"
    """Such as cuda."""
    threads: int = 0
    """Threads of the processor; 0: as many as a model of this size can use and are free."""
    seed: int = 0
    """Of fresh memories, for models that do not fix one."""
    keep_alive: int = 75
    """Seconds for which a connection stays open on which nothing is asked."""
    grace: float = 30.0
    """Seconds for what is being answered when the server is stopped."""
    slow: float = 30.0
    """Seconds without a byte after which a client has gone."""
    long_messages: Literal["pieces", "refuse"] = "pieces"
    """What is longer than an interaction is memorized in pieces, the last of which is answered, or refused with status
    400."""
    hosts: tuple[str, ...] = ()
    """Names by which clients may call the server. Without any, at a loopback address only localhost and that address,
    elsewhere every name."""
    origins: tuple[str, ...] = ()
    """Pages of other sites that may call the server from a browser, such as https://example.com; * for all."""
    root_path: str = ""
    """The path under which a proxy offers the server, such as /rxt."""
    log_texts: bool = False
    """Log what is said too."""


def run(argv: list[str]) -> int:
    """The verb ``serve``."""
    options = parse_arguments(Options, "rxt serve", argv)
    try:
        import uvicorn

        from rxt.server.app import create_app
    except ImportError as error:
        raise UserError(f"the server needs {error.name}: pip install 'reactive-transformers[serve]'") from None
    from rxt.server import service as shared
    from rxt.server.keys import VARIABLE, Keys
    from rxt.server.logs import log_to_stderr

    keys = Keys.read(options.keys, os.environ.get(VARIABLE))
    _check(options)
    log_to_stderr()
    listener = _listen(options)
    try:
        asked = shared.Options(
            options.name or (Path(options.model).name if options.model else "rxt"),
            options.temperature,
            options.max_body,
            options.slow,
            options.grace,
            log_texts=options.log_texts,
            hosts=_hosts(options),
            origins=options.origins,
            root_path=options.root_path.rstrip("/"),
            connections=options.connections,
        )

        async def serve() -> None:
            sessions = open_sessions(options)
            service = shared.Service(sessions, asked, keys)
            config = uvicorn.Config(
                create_app(service),
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=CONNECTIONS_WAITING,
                timeout_keep_alive=options.keep_alive,
                timeout_graceful_shutdown=max(1, int(options.grace)),
            )
            listener.listen(CONNECTIONS_WAITING)
            host, port = listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            print(
                f"rxt serve: http://{shown}:{port} · model {asked.name} · "
                f"conversations in {_without_password(options.db)}",
                flush=True,
            )
            if not keys and options.host not in LOCAL:
                print(
                    "rxt serve: there are no API keys: whoever reaches this address can use it (--keys FILE)",
                    file=sys.stderr,
                    flush=True,
                )
            server = uvicorn.Server(config)
            service.connected = lambda: len(server.server_state.connections)
            for number in (
                signal.SIGINT,
                signal.SIGTERM,
            ):  # uvicorn raises them once more when it has ended: then nothing is left to do
                signal.signal(number, server.handle_exit)
            await server.serve(sockets=[listener])

        asyncio.run(serve())
    finally:
        listener.close()
    return 0


def _check(options: Options) -> None:
    for name in ("places", "queue", "per_key", "connections", "max_body", "cache"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, found {getattr(options, name)}")
    if not 0 <= options.temperature <= 2:
        raise UserError(f"--temperature must lie between 0 and 2, found {options.temperature}")
    if options.slow <= 0 or options.grace < 0 or options.keep_alive < 0:
        raise UserError("--slow must be above 0, and --grace and --keep-alive not below it")
    if options.root_path and not options.root_path.startswith("/"):
        raise UserError(f"--root-path must begin with /, found {options.root_path!r}")
    for origin in options.origins:
        if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+", origin):
            raise UserError(f"--origins takes addresses such as https://example.com, without a path; found {origin!r}")


def _hosts(options: Options) -> frozenset[str]:
    """The names that requests may come with; none: every name."""
    if not options.hosts and options.host not in LOCAL:
        return frozenset()
    return frozenset(name.lower() for name in (*LOCAL, options.host, *options.hosts))


def _listen(options: Options) -> socket.socket:
    """Take the address before the model is loaded: who cannot have it should know at once."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{options.host}:{options.port}: cannot be listened at ({reason}); name another --host or --port"
        ) from None
    return listener


def open_sessions(options: Options) -> Sessions:
    """Load the model, and open the store."""
    import torch

    from rxt.cli.threads import choose_threads
    from rxt.engine.scheduler import Engine, Limits
    from rxt.engine.sessions import Rules, Sessions
    from rxt.model.parameters import parameter_counts
    from rxt.model.pool import Pool
    from rxt.model.quantize import quantize
    from rxt.pretrained import load_model
    from rxt.store.open import open_store
    from rxt.store.records import Retention

    store = open_store(options.db)
    try:
        model, tokenizer = load_model(options.model, base=options.base)
        try:
            model = model.to(options.device)
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"--device {options.device}: {str(error).splitlines()[0]}") from None
        if options.quantize:
            model = quantize(model)
        torch.set_num_threads(options.threads or choose_threads(parameter_counts(model.config).decoder_active))
        days = options.keep_days
        rules = Rules(
            options.seed,
            per_owner=options.per_key,
            cache_bytes=options.cache << 20,
            half_memory=options.half_memory,
            pieces=1 if options.long_messages == "refuse" else Rules.pieces,
            knowledge=None if options.knowledge is None else Pool.load(options.knowledge),
            retention=Retention(None if days is None else days * 86400, options.keep_turns, options.keep_bytes),
        )
        limits = Limits(options.places, options.queue)
        engine = Engine(model, limits, options.compile, options.half_memory, _tell)
        return Sessions(engine, tokenizer, store, rules)
    except BaseException:
        store.close()
        raise


def _tell(what: str) -> None:
    print(f"rxt serve: {what}", file=sys.stderr, flush=True)


def _without_password(where: str) -> str:
    before, at, after = where.rpartition("@")
    return f"{before.partition('://')[0]}://…@{after}" if at and "://" in before else where
