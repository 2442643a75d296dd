"""``rxt serve --ray``: replicas of the model on this machine, or on a cluster, until the command is told to stop."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rxt.cli.serve_options import Options, tell_ready
from rxt.errors import UserError
from rxt.serving_on_ray import DRAIN_SECONDS, LOG_LEVEL, application
from rxt.store.open import open_store

if TYPE_CHECKING:
    from rxt.server.keys import Keys

CLUSTER = "RAY_ADDRESS"
"""The environment variable by which Ray itself is told of a cluster."""
NAME = "rxt"
"""Of the application among those of a cluster."""
OBJECT_STORE_BYTES = 128 << 20
"""For bodies of more than 100 kB on their way; Ray would reserve a third of the machine's memory."""
SECRETIVE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
"""What Ray is told unless the environment says otherwise: to report to nobody, and to leave lines of logs whole."""


def serve_on_ray(options: Options, keys: Keys, host: str, port: int) -> None:
    """Serve at this address until SIGINT or SIGTERM; then finish the answers that are under way."""
    for name, value in SECRETIVE.items():
        os.environ.setdefault(name, value)  # read when Ray is imported
    options = replace(options, model=_absolute(options.model), base=_absolute(options.base))
    built = application(options, keys)
    open_store(options.db).close()  # what is wrong with it is better told here than by every replica
    from ray import serve  # pyright: ignore[reportMissingImports]
    from ray.serve.config import HTTPOptions  # pyright: ignore[reportMissingImports]
    from ray.serve.schema import LoggingConfig  # pyright: ignore[reportMissingImports]

    logging.getLogger("ray").setLevel(logging.WARNING)
    with _ray(options):
        try:
            serve.start(
                proxy_location="EveryNode" if CLUSTER in os.environ else "HeadOnly",
                http_options=HTTPOptions(host=host, port=port, keep_alive_timeout_s=options.keep_alive),
                logging_config=LoggingConfig(log_level=LOG_LEVEL, enable_access_log=False),
            )
            logging.getLogger("ray.serve").setLevel(logging.WARNING)
            with _stopping() as stopped:
                _run(options, built)
                most = max(options.replicas, options.most_replicas)
                count = f"{options.replicas}" if most == options.replicas else f"{options.replicas} to {most}"
                tell_ready(options, keys, host, port, f" · {count} replicas by Ray")
                while not stopped.wait(1.0):  # a wait without an end would not let signals through everywhere
                    pass
                _end(options.grace + DRAIN_SECONDS)
        finally:
            if CLUSTER not in os.environ:
                serve.shutdown()


def _run(options: Options, built: object) -> None:
    """Start the replicas, and wait for them; a mistake that all of them found is told once."""
    from ray import serve  # pyright: ignore[reportMissingImports]

    try:
        serve.run(built, name=NAME, route_prefix="/")
    except RuntimeError as error:
        told = str(error)
        deployments = serve.status().applications[NAME].deployments.values()
        told += "".join(f"\n{each.message}" for each in deployments)
        mistakes = re.findall(r"\w*Error: (.+)", told)
        raise UserError(f"the replicas do not start: {(mistakes or told.splitlines())[-1]}") from None


def _end(seconds: float) -> None:
    """Take the application away; its replicas have so long for what they are answering."""
    from ray import serve  # pyright: ignore[reportMissingImports]

    ends = time.monotonic() + seconds
    while True:
        try:
            serve.delete(NAME)
            return
        except TimeoutError:  # Ray waits for a minute
            if time.monotonic() > ends:
                return


@contextmanager
def _ray(options: Options) -> Iterator[None]:
    """The cluster that the environment names, or one of this machine that ends with this process."""
    import ray  # pyright: ignore[reportMissingImports]

    cores = max(options.replicas, options.most_replicas) * max(1, options.threads)
    try:
        if CLUSTER in os.environ:
            ray.init(logging_level=logging.WARNING)
        else:
            ray.init(
                address="local",
                num_cpus=max(
                    cores, os.cpu_count() or 1
                ),  # as many as are asked for shall run, even if they share cores
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                logging_level=logging.WARNING,
            )
    except ConnectionError as error:
        raise UserError(f"{CLUSTER}={os.environ.get(CLUSTER)}: {str(error).splitlines()[0]}") from None
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Is set at the first SIGINT or SIGTERM; the second gives up at once."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _absolute(place: str | None) -> str | None:
    """Replicas may work in another folder than this process."""
    return str(Path(place).resolve()) if place and Path(place).exists() else place
