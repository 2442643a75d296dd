"""A server in a thread of the tests' process, and the official client for it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import httpx2
import uvicorn
from openai import OpenAI

from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.scheduler import Engine, Limits
from rxt.engine.sessions import Rules, Sessions
from rxt.pretrained import ReactiveTransformer
from rxt.server.app import create_app
from rxt.server.keys import Keys
from rxt.server.service import Options, Service
from rxt.store.open import open_store


class Live:
    """Listens from its making to ``stop``."""

    def __init__(
        self,
        model: ReactiveTransformer,
        tokenizer: ChatTokenizer,
        db: Path | str,
        options: Options | None = None,
        limits: Limits | None = None,
        rules: Rules | None = None,
        keys: tuple[str, ...] = (),
    ) -> None:
        self._clients: list[OpenAI | httpx2.Client] = []
        self.service: Service
        self.port: int
        self._server: uvicorn.Server
        started = threading.Event()

        async def run() -> None:
            sessions = Sessions(Engine(model, limits), tokenizer, open_store(str(db)), rules)
            self.service = Service(sessions, options or Options(), Keys(keys))
            config = uvicorn.Config(
                create_app(self.service),
                port=0,
                log_config=None,
                access_log=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=5,
            )
            self._server = uvicorn.Server(config)
            self.service.connected = lambda: len(self._server.server_state.connections)
            serving = asyncio.ensure_future(self._server.serve())
            while not self._server.started:
                await asyncio.sleep(0.01)
            self.port = self._server.servers[0].sockets[0].getsockname()[1]
            started.set()
            await serving

        self._thread = threading.Thread(target=lambda: asyncio.run(run()))
        self._thread.start()
        assert started.wait(60)
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = self.raw()

    @property
    def sessions(self) -> Sessions:
        return self.service.sessions

    def client(self, key: str = "none") -> OpenAI:
        client = OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)
        self._clients.append(client)
        return client

    def raw(self, key: str | None = None) -> httpx2.Client:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        client = httpx2.Client(base_url=self.url, headers=headers, timeout=60)
        self._clients.append(client)
        return client

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()
