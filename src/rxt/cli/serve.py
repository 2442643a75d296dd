"""``rxt serve``: a model over HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING

from rxt.cli.arguments import parse_arguments
from rxt.cli.serve_options import Options, check, open_service, tell_ready
from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.server.keys import Keys

CONNECTIONS_WAITING = 1024


def run(argv: list[str]) -> int:
    """The verb ``serve``."""
    options = parse_arguments(Options, "rxt serve", argv)
    try:
        for needed in ("uvicorn", "rxt.server.app"):
            import_module(needed)
    except ImportError as error:
        raise UserError(f"the server needs {error.name}: pip install 'reactive-transformers[serve]'") from None
    from rxt.server.keys import VARIABLE, Keys
    from rxt.server.logs import logged_to_stderr

    keys = Keys.read(options.keys, os.environ.get(VARIABLE))
    check(options)
    with logged_to_stderr(), closing(_listen(options)) as listener:
        if options.ray:
            from rxt.cli.serve_on_ray import serve_on_ray

            host, port = listener.getsockname()[:2]
            listener.close()  # Ray's own process listens there
            serve_on_ray(options, keys, host, port)
        else:
            _serve(options, keys, listener)
    return 0


def _serve(options: Options, keys: Keys, listener: socket.socket) -> None:
    """In this process, until it is told to stop."""
    import uvicorn

    from rxt.server.app import create_app

    async def serve() -> None:
        service = open_service(options, keys)
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
        tell_ready(options, keys, host, port)
        server = uvicorn.Server(config)
        service.connected = lambda: len(server.server_state.connections)
        for number in (
            signal.SIGINT,
            signal.SIGTERM,
        ):  # uvicorn raises them once more when it has ended: then nothing is left to do
            signal.signal(number, server.handle_exit)
        await server.serve(sockets=[listener])

    asyncio.run(serve())


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
