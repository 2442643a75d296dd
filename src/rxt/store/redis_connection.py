"""The connection to a Redis server: commands, and changes that are whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rxt.errors import UserError
from rxt.store.base import StoreFailed

log = logging.getLogger("rxt.store")

VERSION = b"1"
SECONDS = 10.0
"""Without an answer, after which the connection has failed."""
RETRIES = 3
"""Of a call whose connection was lost: Redis may have been started again. More would let clients wait for what is not
there."""


UNLOCK = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
LOCK = """local holder = redis.call('get', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if redis.call('exists', KEYS[2]) == 0 then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1"""
"""Take what nobody else has and what exists, for some milliseconds; give it back."""


class Changes:
    """Commands of a transaction."""

    def __init__(self) -> None:
        self.commands: list[tuple[str | bytes | float, ...]] = []

    def note(self, *command: str | bytes | float) -> None:
        """To be carried out with the others."""
        self.commands.append(command)


class RedisConnection:
    """To one database, which holds a store of this version or nothing yet. An error is a ``StoreFailed``."""

    def __init__(self, address: str) -> None:
        """``redis://[:PASSWORD@]HOST:PORT/NUMBER``. Raises ``UserError`` if there is none, or its contents are of
        another version."""
        try:
            import redis
            from redis.backoff import ExponentialBackoff
            from redis.retry import Retry
        except ImportError:
            raise UserError(
                "conversations in Redis need the client: pip install 'reactive-transformers[serve]'"
            ) from None
        self._failures: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        self._again = redis.WatchError
        retry = Retry(ExponentialBackoff(cap=0.2, base=0.02), RETRIES, supported_errors=(redis.ConnectionError,))
        try:
            self._client = redis.Redis.from_url(
                address, socket_timeout=SECONDS, socket_connect_timeout=SECONDS, retry=retry
            )
        except ValueError as error:
            raise UserError(f"{address.rpartition('@')[2]}: not an address of Redis ({error})") from None
        try:
            self.ask("SETNX", "rxt:version", VERSION)
            version = self.ask("GET", "rxt:version")
        except StoreFailed as error:
            self._client.close()
            raise UserError(f"{address.rpartition('@')[2]}: {error}") from None
        if version != VERSION:
            self._client.close()
            raise UserError(
                f"this Redis holds a store of version {version!r}, this rxt reads version {VERSION!r}; "
                "use the rxt that wrote it"
            )
        self._warn_of_eviction()

    def _warn_of_eviction(self) -> None:
        try:
            memory = self.ask("INFO", "memory")
        except StoreFailed:  # not allowed to this user: then it is not known
            return
        most, policy = int(memory.get("maxmemory", 0)), memory.get("maxmemory_policy", "noeviction")
        if most and policy != "noeviction":
            log.warning(
                "this Redis forgets keys when its %d bytes are full (maxmemory-policy %s), and conversations with "
                "them; set maxmemory-policy noeviction",
                most,
                policy,
            )

    def ask(self, *command: str | bytes | float) -> Any:
        """The answer to one command."""
        with self._errors():
            return self._client.execute_command(*command)

    def change(self, watched: Sequence[str], work: Callable[[Changes], Any]) -> Any:
        """One transaction: ``work`` reads, then notes what to change; it is repeated if a watched key has changed
        meanwhile."""
        while True:
            with self._errors(), self._client.pipeline() as pipe:
                if watched:
                    pipe.watch(*watched)
                changes = Changes()
                result = work(changes)
                pipe.multi()
                for command in changes.commands:
                    pipe.execute_command(*command)
                try:
                    pipe.execute()
                except self._again:
                    continue
                return result

    def close(self) -> None:
        """Nothing can be asked any more."""
        self._client.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._failures as error:
            raise StoreFailed(f"Redis failed: {error}") from None
