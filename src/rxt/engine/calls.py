"""Calls of the store, made where they stop nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4


class StoreCalls:
    """For one event loop: ``await calls(store.turn, name)``."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="rxt-store")

    async def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``work``, run in a thread.

        Who is cancelled meanwhile leaves when the call has ended, so whatever is done next finds what the call has
        written.
        """
        call = self._pool.submit(work, *args, **kwargs)
        result = asyncio.wrap_future(call)
        try:
            await asyncio.wait([result])
        except asyncio.CancelledError:
            if not call.cancel():
                await asyncio.wait([result])
                result.exception()  # nobody else asks for it
            raise
        return result.result()

    def close(self) -> None:
        """Wait for the calls that are under way; no others can be made."""
        self._pool.shutdown()
