"""The store goes away while the server runs, and comes back."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live import Live

from redis_server import RedisServer, running_redis
from rxt.data.tokenizer import ChatTokenizer
from rxt.generation.conversation import Conversation
from rxt.pretrained import ReactiveTransformer
from rxt.store.sqlite import SqliteStore

QUERIES = ["My dog is called Rex.", "Hello!", "What is my dog called?"]


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path) as server:
        yield server


def refused(live: Live, body: dict[str, object]) -> bool:
    """Whether the server says, as clients understand it, that its store has failed."""
    reply = live.http.post("/v1/responses", json=body)
    if reply.status_code == 200:
        return False
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return (reply.status_code, error["type"], error["code"], reply.headers["retry-after"]) == (
        503,
        "server_error",
        "store_failed",
        "1",
    )


def test_redis_is_killed_and_comes_back(
    serve: Callable[..., Live], redis_server: RedisServer, bundled: tuple[ReactiveTransformer, ChatTokenizer]
) -> None:
    live, alone = serve(db=redis_server.address), Conversation(*bundled)
    client = live.client()
    conversation = client.conversations.create().id
    said = [client.responses.create(model="rxt", input=QUERIES[0], conversation=conversation).output_text]
    redis_server.end(signal.SIGKILL)
    assert refused(live, {"input": QUERIES[1], "conversation": conversation})
    assert refused(live, {"input": QUERIES[1]}), "answered, but not written down"
    streamed = list(client.responses.create(model="rxt", input=QUERIES[1], stream=True))
    assert streamed[-1].type == "response.failed"
    assert live.http.get(f"/v1/conversations/{conversation}").status_code == 503
    assert (live.http.get("/readyz").status_code, live.http.get("/readyz").json()) == (503, {"status": "store_failed"})
    page = live.http.get("/metrics")
    assert page.status_code == 200
    assert "rxt_store_up 0.0" in page.text
    assert "rxt_requests_total" in page.text
    assert "rxt_store{" not in page.text, "no old figures"
    assert live.http.get("/healthz").status_code == 200, "starting this process again would help nobody"
    redis_server.start()
    said += [
        client.responses.create(model="rxt", input=query, conversation=conversation).output_text
        for query in QUERIES[1:]
    ]
    assert said == [alone.ask(query) for query in QUERIES]
    assert live.http.get("/readyz").json() == {"status": "ok"}
    page = live.http.get("/metrics").text
    assert "rxt_store_up 1.0" in page
    assert 'rxt_store{what="turns"} 3.0' in page
    assert live.sessions.store.verify() == []
    assert live.sessions.store.stats().turns == 3, "nothing is left of what was refused"


def test_redis_goes_while_a_turn_is_being_answered(serve: Callable[..., Live], redis_server: RedisServer) -> None:
    live = serve(db=redis_server.address)
    client = live.client()
    conversation = client.conversations.create().id
    events = client.responses.create(model="rxt", input=QUERIES[0], conversation=conversation, stream=True)
    kinds = [next(iter(events)).type]
    redis_server.end(signal.SIGKILL)
    kinds += [event.type for event in events]
    redis_server.start()
    complete = "response.completed" in kinds
    assert complete or kinds[-1] == "response.failed"
    assert live.sessions.store.stats().turns == complete
    assert client.responses.create(model="rxt", input=QUERIES[1], conversation=conversation).status == "completed"
    assert live.sessions.store.verify() == []


def test_a_full_disk_is_told_and_gets_over(serve: Callable[..., Live]) -> None:
    live = serve()
    client = live.client()
    conversation = client.conversations.create().id
    client.responses.create(model="rxt", input=QUERIES[0], conversation=conversation)
    store = live.sessions.store
    assert isinstance(store, SqliteStore)
    store._base.execute(f"PRAGMA max_page_count = {store._base.execute('PRAGMA page_count').fetchone()[0]}")
    turns = 1
    while not refused(live, {"input": QUERIES[1], "conversation": conversation}):
        turns += 1
    assert store.stats().turns == turns
    store._base.execute("PRAGMA max_page_count = 100000")
    assert client.responses.create(model="rxt", input=QUERIES[1], conversation=conversation).status == "completed"
    assert store.verify() == []
