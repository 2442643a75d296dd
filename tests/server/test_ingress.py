"""An ingress before two replicas, in one process: they answer as one server does, and what one loses is told."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from starlette.types import Message

from factories import chat_model, tiny_tokenizer
from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.scheduler import Engine
from rxt.engine.sessions import Sessions
from rxt.generation.conversation import Conversation
from rxt.pretrained import ReactiveTransformer
from rxt.server.errors import Refused
from rxt.server.ingress import Ingress
from rxt.server.ingress import Sessions as Affinity
from rxt.server.metrics import together
from rxt.server.replica import Asked, Part, Replica
from rxt.server.service import Options, Service
from rxt.store.open import open_store

QUERIES = ["hello there", "my name is Ann", "how are you", "I live in Graz"]
SHORT = {"max_output_tokens": 8}


@pytest.fixture(scope="module")
def tokenizer() -> ChatTokenizer:
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def model() -> ReactiveTransformer:
    return chat_model(max_length=64)


class Pair:
    """Two replicas over one store; which one is asked next is in ``turn``."""

    def __init__(self, model: ReactiveTransformer, tokenizer: ChatTokenizer, db: Path, options: Options) -> None:
        services = [Service(Sessions(Engine(model), tokenizer, open_store(str(db))), options) for _ in range(2)]
        self.members = [Replica(service, name) for service, name in zip(services, ("one", "other"), strict=True)]
        self.store = services[0].sessions.store
        self.turn = 0
        self.asked: list[str] = []
        """The session of each request."""
        self.dies_after: int | None = None
        """Parts of a reply."""

    async def answer(self, asked: Asked, session: str) -> AsyncGenerator[Part, None]:
        self.asked.append(session)
        parts = self.members[self.turn % 2].answer(asked)
        self.turn += 1
        try:
            if self.dies_after == 0:
                raise Refused(503, "the replica has died", "replica_lost")
            count = 0
            async for part in parts:
                yield part
                count += 1
                if count == self.dies_after:
                    raise Refused(503, "the replica has died", "replica_lost")
        finally:
            await parts.aclose()

    async def metrics(self) -> Mapping[str, bytes]:
        return dict([await member.metrics() for member in self.members])


@asynccontextmanager
async def pair(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, db: Path, options: Options | None = None
) -> AsyncIterator[tuple[Pair, httpx2.AsyncClient]]:
    replicas = Pair(model, tokenizer, db, options or Options())
    transport = httpx2.ASGITransport(app=Ingress(replicas, options or Options()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield replicas, client
    for member in replicas.members:
        await member.close()


def text_of(reply: httpx2.Response) -> str:
    return reply.raise_for_status().json()["output"][0]["content"][0]["text"]


def test_two_replicas_answer_as_one(model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        async with pair(model, tokenizer, tmp_path / "db") as (_, client):
            chat = Conversation(model, tokenizer, max_new_tokens=8)
            alone = [chat.ask(query) for query in QUERIES]
            name = (await client.post("/v1/conversations", json={})).json()["id"]
            asked = [{"input": query, "conversation": name} | SHORT for query in QUERIES]
            assert [text_of(await client.post("/v1/responses", json=each)) for each in asked] == alone
            previous, said = None, []
            for query in QUERIES:
                reply = await client.post(
                    "/v1/responses", json={"input": query, "previous_response_id": previous} | SHORT
                )
                said.append(text_of(reply))
                previous = reply.json()["id"]
            assert said == alone
            drawn = {"input": "hello", "temperature": 1.0, "seed": 5} | SHORT
            one, other = [text_of(await client.post("/v1/responses", json=drawn)) for _ in range(2)]
            assert one == other
            streamed = await client.post("/v1/responses", json={"input": QUERIES[0], "stream": True} | SHORT)
            events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
            assert "".join(each["delta"] for each in events if each["type"].endswith("text.delta")) == alone[0]

    asyncio.run(scene())


def test_requests_of_one_session_are_known(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with pair(model, tokenizer, tmp_path / "db") as (replicas, client):
            names = [(await client.post("/v1/conversations", json={})).json()["id"] for _ in range(2)]
            for name in (*names, names[0]):
                await client.post("/v1/responses", json={"input": "hello", "conversation": name} | SHORT)
            reply = await client.post(
                "/v1/responses", json={"input": "hello", "conversation": {"id": names[1]}} | SHORT
            )
            await client.get(f"/v1/responses/{reply.json()['id']}/memory")
            await client.get(f"/v1/conversations/{names[0]}/memory")
            assert replicas.asked == ["", "", *names, names[0], names[1], names[1], names[0]]
            replicas.asked.clear()
            first = await client.post("/v1/responses", json={"input": "hello"} | SHORT)
            second = await client.post(
                "/v1/responses", json={"input": "hello", "previous_response_id": first.json()["id"]} | SHORT
            )
            await client.post(
                "/v1/responses", json={"input": "hello", "previous_response_id": second.json()["id"]} | SHORT
            )
            await client.post("/v1/responses", json={"input": "hello"} | SHORT)
            chain, *others, alone = replicas.asked
            assert others == [chain, chain]
            assert alone not in ("", chain)

    asyncio.run(scene())


def test_what_is_known_of_responses_is_bounded() -> None:
    known = Affinity(most=2)
    names = [f"resp_{number:032x}" for number in range(3)]
    for name in names:
        known.note(name, "a session")
    asked = [Asked("GET", f"/v1/responses/{name}", b"", (), b"") for name in names]
    assert [known.of(each, each.path) for each in asked] == [names[0], "a session", "a session"]
    for body in (b"", b"{", b"[]", b'{"conversation": 3}'):
        assert known.of(Asked("POST", "/v1/responses", b"", (), body), "/v1/responses") == ""


def test_a_replica_that_dies_is_told_or_cuts_its_reply(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with pair(model, tokenizer, tmp_path / "db") as (replicas, client):
            replicas.dies_after = 0
            reply = await client.post("/v1/responses", json={"input": "hello"} | SHORT)
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "replica_lost")
            assert reply.headers["Retry-After"]
            replicas.dies_after = 1
            with pytest.raises(ConnectionError):
                await client.post("/v1/responses", json={"input": "hello", "stream": True} | SHORT)

    asyncio.run(scene())


def test_a_client_that_leaves_has_not_said_anything(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with pair(model, tokenizer, tmp_path / "db") as (replicas, _):
            ingress, left = Ingress(replicas, Options()), asyncio.Event()
            body = b'{"input": "hello", "stream": true}'
            incoming: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
            told: list[Message] = []

            async def receive() -> Message:
                if incoming:
                    return incoming.pop()
                await left.wait()
                return {"type": "http.disconnect"}

            async def send(message: Message) -> None:
                told.append(message)
                left.set()

            headers = ((b"host", b"localhost"), (b"content-type", b"application/json"))
            await ingress(Asked("POST", "/v1/responses", b"", headers, body).scope({}), receive, send)
            assert told[0]["status"] == 200
            for member in replicas.members:  # waits until nothing is being answered
                await asyncio.wait_for(_quiet(member), 60)
            assert replicas.store.stats().turns == 0

    asyncio.run(scene())


async def _quiet(member: Replica) -> None:
    while member._working:
        await asyncio.sleep(0.01)


def test_bodies_are_bounded(model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        options = Options(most_body=1000, slow_seconds=0.2)
        async with pair(model, tokenizer, tmp_path / "db", options) as (replicas, client):

            async def long() -> AsyncIterator[bytes]:
                for _ in range(100):
                    yield b" " * 100

            async def slow() -> AsyncIterator[bytes]:
                yield b"{"
                await asyncio.sleep(60)

            headers = {"Content-Type": "application/json"}
            reply = await client.post("/v1/responses", content=long(), headers=headers)
            assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")
            asked = len(replicas.asked)
            reply = await client.post("/v1/responses", content=slow(), headers=headers)
            assert (reply.status_code, reply.json()["error"]["code"]) == (408, "request_timeout")
            assert len(replicas.asked) == asked, "no replica waits for a slow client"

    asyncio.run(scene())


def test_counts_of_all_replicas_are_told(model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    async def scene() -> None:
        async with pair(model, tokenizer, tmp_path / "db", Options(root_path="/rxt")) as (_, client):
            for _ in range(3):
                await client.post("/rxt/v1/responses", json={"input": "hello"} | SHORT)
            assert (await client.get("/rxt/healthz")).json() == {"status": "ok"}
            assert (await client.get("/rxt/readyz")).status_code == 200
            page = (await client.get("/rxt/metrics")).text
            turns = re.findall(r'rxt_turns_total\{end="\w+",replica="(\w+)"\} (\S+)', page)
            assert sorted((name, float(count)) for name, count in turns) == [("one", 2.0), ("other", 1.0)]
            assert page.count("# TYPE rxt_turns_total counter") == 1

    asyncio.run(scene())


def test_pages_of_counts_are_kept_apart() -> None:
    page = b'# HELP a_total A.\n# TYPE a_total counter\na_total{b="c"} 2.0\n'
    text = together({"one": page, "other": page.replace(b"2.0", b"3.0")}).decode()
    assert text.count("# TYPE a_total counter") == 1
    assert 'a_total{b="c",replica="one"} 2.0' in text
    assert 'a_total{b="c",replica="other"} 3.0' in text


def test_a_replica_whose_engine_died_is_to_be_replaced(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with pair(model, tokenizer, tmp_path / "db") as (replicas, client):
            assert (await client.get("/v1/models")).status_code == 200
            one, other = replicas.members
            one.check_health()
            one._service.sessions.engine.stop()
            with pytest.raises(RuntimeError, match="engine has died"):
                one.check_health()
            other.check_health()

    asyncio.run(scene())
