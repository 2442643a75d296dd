"""The server as an application of Ray Serve: an ingress, and replicas of the model that share one Redis.

``serve run rxt.serving_on_ray:app db=redis://HOST:PORT/0 model=MODEL``, ``serve deploy deploy/ray.yaml``, or
``rxt serve --ray``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.types import ASGIApp

from rxt.cli.serve_options import Options, check, offered, open_service, without_password
from rxt.errors import UserError
from rxt.server.errors import Refused
from rxt.server.ingress import Ingress
from rxt.server.keys import VARIABLE, Keys
from rxt.server.logs import log_to_stderr
from rxt.server.replica import Asked, Part, Replica
from rxt.store.open import is_shared

if TYPE_CHECKING:
    from ray.serve import Application  # pyright: ignore[reportMissingImports]
    from ray.serve.handle import DeploymentHandle  # pyright: ignore[reportMissingImports]

MODEL, INGRESS = "Model", "Ingress"
"""The deployments, as a Serve configuration names them."""
DRAIN_SECONDS = 15.0
"""Beyond the grace of an answer, in which a replica that is stopped gives up the others and writes what it has."""
METRICS_SECONDS = 5.0
LOG_LEVEL = "WARNING"
"""Of what Ray Serve has to say."""


def app(args: Mapping[str, object]) -> Application:
    """The application that ``serve run`` and a Serve configuration build; ``args``: options of ``rxt serve`` by name,
    with ``_`` for ``-``.

    Raises:
        UserError: an option that there is not, or a value that it cannot have.
    """
    options = read_options(args)
    return application(options, Keys.read(options.keys, os.environ.get(VARIABLE)))


def read_options(args: Mapping[str, object]) -> Options:
    """Options from their names and values, which may be texts."""
    unknown = sorted(args.keys() - {each.name for each in fields(Options)})
    if unknown:
        raise UserError(f"{unknown[0]}: rxt serve has no such option")
    try:
        options = TypeAdapter(Options).validate_python({**args, "ray": True})
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    check(options)
    return options


def application(options: Options, keys: Keys) -> Application:
    """Both deployments. Only digests of the keys leave this process."""
    if not is_shared(options.db):
        raise UserError(
            f"--db {without_password(options.db)}: replicas cannot share this store; name a Redis, as in "
            "--db redis://127.0.0.1:6379/0"
        )
    try:
        from ray import serve  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("replicas need Ray: pip install 'reactive-transformers[ray]'") from None
    from ray.serve.config import AutoscalingConfig, RequestRouterConfig  # pyright: ignore[reportMissingImports]
    from ray.serve.schema import LoggingConfig  # pyright: ignore[reportMissingImports]

    most = max(options.replicas, options.most_replicas)
    scaling = AutoscalingConfig(
        min_replicas=options.replicas, max_replicas=most, target_ongoing_requests=float(options.places)
    )
    routing = RequestRouterConfig(
        request_router_class="ray.serve.experimental.consistent_hash_router:ConsistentHashRouter",
        request_router_kwargs={"num_fallback_replicas": max(1, most - 1)},  # all of them can go on
    )
    logging = LoggingConfig(log_level=LOG_LEVEL, enable_access_log=False)  # replicas log requests themselves
    drain = options.grace + DRAIN_SECONDS
    model = serve.deployment(
        Model,
        name=MODEL,
        num_replicas=None if most > options.replicas else options.replicas,
        autoscaling_config=scaling if most > options.replicas else None,
        ray_actor_options={"num_cpus": max(1, options.threads), "num_gpus": 0 if options.device == "cpu" else 1},
        max_ongoing_requests=2 * options.places,  # those that are decoded, and as many that are ready to be
        max_queued_requests=options.queue,
        request_router_config=routing,
        graceful_shutdown_timeout_s=drain,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=5.0,
        max_constructor_retry_count=3,
        logging_config=logging,
    )
    ingress = serve.deployment(
        serve.ingress()(Entrance),
        name=INGRESS,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=options.connections,
        graceful_shutdown_timeout_s=drain,
        graceful_shutdown_wait_loop_s=0.5,
        logging_config=logging,
    )
    return ingress.bind(options, model.bind(options, keys))


class Model(Replica):
    """A replica of the model, in a process of its own that Ray starts."""

    def __init__(self, options: Options, keys: Keys) -> None:
        from ray import serve  # pyright: ignore[reportMissingImports]

        log_to_stderr()
        super().__init__(open_service(options, keys), serve.get_replica_context().replica_id.unique_id)

    async def __del__(self) -> None:
        """Ray Serve calls and awaits this once, when nothing is asked of the replica any more."""
        if hasattr(self, "_life"):  # else it was never made
            await self.close()


class Entrance:
    """Where Ray Serve's HTTP proxies send requests."""

    def __init__(self, options: Options, replicas: DeploymentHandle) -> None:
        self._ingress = Ingress(Handles(replicas), offered(options))

    def __serve_build_asgi_app__(self) -> ASGIApp:
        app = Starlette()
        app.router.default = self._ingress
        return app


class Handles:
    """The replicas of a deployment."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def answer(self, asked: Asked, session: str) -> AsyncGenerator[Part, None]:
        """The reply of one replica, the same for a session as long as it can take it; ``Refused`` if there is none."""
        from ray.exceptions import RayError  # pyright: ignore[reportMissingImports]
        from ray.serve.exceptions import (  # pyright: ignore[reportMissingImports]
            BackPressureError,
            DeploymentUnavailableError,
            ReplicaUnavailableError,
        )

        call = self._handle.options(stream=True, session_id=session).answer.remote(asked)
        over = False
        try:
            async for part in call:
                yield part
            over = True
        except BackPressureError:
            over = True
            raise Refused(503, "too many answers are waiting already; try again later", "server_overloaded") from None
        except (RayError, DeploymentUnavailableError, ReplicaUnavailableError):
            over = True
            raise Refused(503, "the replica that was answering has died; try again", "replica_lost") from None
        finally:
            if not over:  # the client has gone
                await asyncio.to_thread(call.cancel)

    async def metrics(self) -> Mapping[str, bytes]:
        """Of those that answer in time."""
        pages: list[tuple[str, bytes] | BaseException] = await self._handle.broadcast("metrics").results_async(
            timeout_s=METRICS_SECONDS, return_exceptions=True
        )
        return dict(page for page in pages if not isinstance(page, BaseException))
