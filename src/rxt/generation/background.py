"""Memory updates that nobody waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from rxt.generation.ready import Ready


def in_background(work: Callable[[], Ready]) -> Future[Ready]:
    """Run ``work`` in a thread of its own; Python does not exit before it has ended."""
    future: Future[Ready] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="rxt-memorize").start()
    return future
