"""Memories of users over HTTP: what one conversation was told, the user's others recall and nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from live import Live
from openai import BadRequestError, NotFoundError

from factories import chat_model, pooled_model, tiny_tokenizer
from redis_server import running_redis
from rxt.config import PoolConfig
from rxt.engine.sessions import Rules
from rxt.model.pool import Pool
from rxt.pretrained import load_model

SHARED = {"memory": {"scope": "user"}}
ONE_A_TURN = PoolConfig(fragment_slots=4, key_width=32, new_below=-1, most_writes=1)
FACT = "my name is Ann and I live in Graz"
FILLING = ("good morning to you all", "what about tea or coffee", "the bus comes at nine", "so much for that")
TURNS = 1000
AT_ONCE = 25


@pytest.fixture(params=["sqlite", "redis"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Live]:
    """Every turn opens a fragment; the router, as it is before training, finds what is said in like words."""
    model = chat_model(max_length=64).with_pool(ONE_A_TURN)
    if request.param == "sqlite":
        started = Live(model, tiny_tokenizer(), tmp_path / "db", keys=("mine", "yours"))
        yield started
        started.stop()
    else:
        with running_redis(tmp_path) as server:
            started = Live(model, tiny_tokenizer(), server.address, keys=("mine", "yours"))
            yield started
            started.stop()


def change_of(live: Live, response: str, key: str = "mine") -> dict[str, Any]:
    """What a response looked up and wrote."""
    return live.raw(key).get(f"/v1/responses/{response}/memory/change").json()["fragments"]


def ask(live: Live, text: str, user: str = "ann", key: str = "mine", **options: str) -> str:
    """The name of a response to a turn of a shared memory; it is short, for this model's answers are noise."""
    client = live.client(key)
    reply = client.responses.create(
        model="rxt",
        input=text,
        user=user,
        max_output_tokens=1,
        extra_body=SHARED,
        **options,  # type: ignore[arg-type]
    )
    return reply.id


def talk_on(live: Live, conversation: str, turns: int) -> None:
    """So many turns more of a conversation, about other things."""
    for start in range(0, turns, AT_ONCE):
        texts = [f"{FILLING[number % 4]} {number}" for number in range(start, min(start + AT_ONCE, turns))]
        items = [{"role": role, "content": text} for text in texts for role in ("user", "assistant")]
        live.raw("mine").post(f"/v1/conversations/{conversation}/items", json={"items": items}).raise_for_status()


@pytest.mark.slow
def test_a_model_recalls_what_was_told_1000_turns_and_two_conversations_ago() -> None:
    live = Live(*load_model("fragments"), ":memory:", keys=("mine", "yours"))
    try:
        say(live, "My dog is called Rex.", live.client("mine").conversations.create().id)
        other = live.client("mine").conversations.create().id
        say(live, "Good morning!", other)
        talk_on(live, other, TURNS)
        assert "Rex" in say(live, "What is my dog called?")
        for user, key in (("bob", "mine"), ("ann", "yours")):
            assert "Rex" not in say(live, "What is my dog called?", None, user, key)
        alone = live.client("mine").responses.create(model="rxt", input="What is my dog called?")
        assert "Rex" not in alone.output_text, "nor in a conversation that keeps to itself"
    finally:
        live.stop()


def say(live: Live, text: str, conversation: str | None = None, user: str = "ann", key: str = "mine") -> str:
    """What is answered in a conversation that shares the user's memory."""
    where = {} if conversation is None else {"conversation": conversation}
    asked = {"model": "rxt", "input": text, "user": user, "extra_body": SHARED, **where}
    return live.client(key).responses.create(**asked).output_text  # type: ignore[call-overload]


@pytest.mark.slow
@pytest.mark.parametrize("live", ["sqlite"], indirect=True)
def test_told_1000_turns_and_two_conversations_ago(live: Live) -> None:
    client = live.client("mine")
    told = ask(live, FACT)
    fact = change_of(live, told)["written"]
    other = client.conversations.create()
    ask(live, "hello", conversation=other.id)
    talk_on(live, other.id, TURNS - 1)
    found = live.raw("mine").get("/v1/users/ann/memory").json()
    assert found["turns"] == TURNS + 1
    assert found["fragments"] == TURNS + 1
    recalled = change_of(live, ask(live, FACT))
    assert recalled["count"] == TURNS + 2
    assert recalled["seen"] == fact, "what was told is looked up, of so many"
    for user, key in (("bob", "mine"), ("ann", "yours")):
        stranger = ask(live, FACT, user, key)
        assert change_of(live, stranger, key)["count"] == 1, "there is nothing but what this turn wrote"


def test_what_is_shared_with_whom(live: Live) -> None:
    mine, yours = live.client("mine"), live.raw("yours")
    first = ask(live, FACT)
    conversation = mine.conversations.create()
    second = ask(live, "hello", conversation=conversation.id)
    chat = mine.chat.completions.with_raw_response.create(
        model="rxt",
        messages=[{"role": "user", "content": "how are you"}],
        safety_identifier="ann",
        max_tokens=6,
        extra_body=SHARED,
    )
    assert "safety_identifier" not in chat.headers.get("X-Rxt-Unused", "")
    memory = live.raw("mine").get("/v1/users/ann/memory").json()
    assert (memory["object"], memory["id"], memory["turns"]) == ("rxt.user_memory", "ann", 3)
    content = live.raw("mine").get("/v1/users/ann/memory/file").content
    assert len(Pool.from_bytes(content).fragments) == memory["fragments"] == change_of(live, second)["count"] + 1
    for path in ("/v1/users/ann/memory", "/v1/users/ann/memory/file"):
        assert yours.get(path).status_code == 404
    assert yours.delete("/v1/users/ann/memory").json()["error"]["code"] == "memory_not_found"
    with pytest.raises(NotFoundError) as error:
        ask(live, "hello", "bob", previous_response_id=first)
    assert error.value.code == "previous_response_not_found"
    with pytest.raises(NotFoundError) as error:
        ask(live, "hello", "bob", conversation=conversation.id)
    assert error.value.code == "conversation_not_found"
    gone = mine.responses.create(
        model="rxt", input="hello", max_output_tokens=6, extra_body=SHARED | {"user": "ann", "store": False}
    )
    assert live.raw("mine").get(f"/v1/responses/{gone.id}").status_code == 404
    assert live.raw("mine").get("/v1/users/ann/memory").json()["turns"] == 3


def test_a_memory_is_brought_as_a_file(live: Live) -> None:
    """To another user, under another key: what was told is found there, and nowhere else."""
    fact = change_of(live, ask(live, FACT))["written"]
    ask(live, "hello")
    mine, yours, path = live.raw("mine"), live.raw("yours"), "/v1/users/anna/memory/file"
    content = mine.get("/v1/users/ann/memory/file").content
    assert (mine.get("/v1/users").json()["data"][0]["id"], yours.get("/v1/users").json()["data"]) == ("ann", [])
    brought = yours.put(path, content=content).json()
    assert (brought["id"], brought["turns"], brought["fragments"]) == ("anna", 2, 2)
    there, here = Pool.from_bytes(yours.get(path).content), Pool.from_bytes(content)
    assert torch.equal(there.keys.whole(), here.keys.whole())
    for one, other in zip(there.fragments, here.fragments, strict=True):
        assert torch.equal(one.slots, other.slots)
        assert (one.turn, one.writes) == (other.turn, other.writes)
    again = yours.put(path, content=content)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "memory_exists")
    assert yours.put("/v1/users/bob/memory/file", content=b"no memory").status_code == 400
    assert [each["id"] for each in yours.get("/v1/users").json()["data"]] == ["anna"]
    assert mine.get("/v1/users/anna/memory").status_code == 404
    recalled = change_of(live, ask(live, FACT, "anna", "yours"), "yours")
    assert (recalled["count"], recalled["seen"]) == (3, fact)
    assert yours.delete("/v1/users/anna/memory").json()["deleted"]
    assert yours.get(path).status_code == 404
    assert yours.put(path, content=content).json()["turns"] == 2
    assert mine.get("/v1/users/ann/memory").json()["turns"] == 2
    assert live.sessions.store.verify() == []


def test_what_is_wrong_is_said(live: Live) -> None:
    client = live.client("mine")
    own = client.responses.create(model="rxt", input="hello", user="ann", max_output_tokens=6)
    raw = client.responses.with_raw_response.create(model="rxt", input="hello", user="ann", max_output_tokens=6)
    assert raw.headers["X-Rxt-Unused"] == "user", "a name alone shares nothing"
    with pytest.raises(BadRequestError) as error:
        ask(live, "hello", previous_response_id=own.id)
    assert error.value.code == "memory_scope"
    http = live.raw("mine")
    for memory, user, code in (
        ({"scope": "user"}, None, "invalid_request"),
        ({"scope": "everybody"}, "ann", "invalid_value"),
        ({}, "ann", "missing_required_parameter"),
        ({"scope": "user", "kind": "x"}, "ann", "unsupported_parameter"),
    ):
        reply = http.post("/v1/responses", json={"input": "hello", "memory": memory, "user": user})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, code)


def test_forgotten_on_demand(live: Live, tmp_path: Path) -> None:
    client, http = live.client("mine"), live.raw("mine")
    name = "ann/of the house & co"
    conversation = client.conversations.create()
    responses = [ask(live, "Quetzalcoatl", name), ask(live, "hello", name, conversation=conversation.id)]
    bob = ask(live, "hello", "bob")
    path = "/v1/users/ann%2Fof%20the%20house%20%26%20co/memory"
    assert http.get(path).json()["id"] == name
    assert http.delete(path).json() == {"id": name, "object": "rxt.user_memory.deleted", "deleted": True}
    for gone in (path, f"/v1/conversations/{conversation.id}", *(f"/v1/responses/{each}" for each in responses)):
        assert http.get(gone).status_code == 404
    assert http.get(f"/v1/responses/{bob}").status_code == 200
    files = [path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith("db")]
    assert all(b"Quetzalcoatl" not in content and b"the house" not in content for content in files)
    assert live.sessions.store.verify() == []


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```py\n(.*?)```", text, re.DOTALL)
    live = Live(pooled_model(max_length=64), tiny_tokenizer(), tmp_path / "db")
    try:
        exec(code, {"client": live.client()})
        assert live.sessions.store.stats().turns == 0
    finally:
        live.stop()


def test_a_server_whose_usual_scope_is_the_user(tmp_path: Path) -> None:
    live = Live(pooled_model(max_length=64), tiny_tokenizer(), tmp_path / "db", rules=Rules(scope="user"))
    try:
        client = live.client()
        for user in ("ann", "ann", None):
            options = {} if user is None else {"user": user}
            raw = client.responses.with_raw_response.create(
                model="rxt", input="hello", max_output_tokens=6, extra_body=options
            )
            assert "X-Rxt-Unused" not in raw.headers
        assert live.http.get("/v1/users/ann/memory").json()["turns"] == 2
        own = client.responses.create(
            model="rxt",
            input="hello",
            user="ann",
            max_output_tokens=6,
            extra_body={"memory": {"scope": "conversation"}},
        )
        assert client.responses.create(model="rxt", input="so", user="ann", previous_response_id=own.id)
        assert live.http.get("/v1/users/ann/memory").json()["turns"] == 2
    finally:
        live.stop()


def test_a_model_without_fragments_has_no_memories_of_users(tmp_path: Path) -> None:
    live = Live(chat_model(max_length=64), tiny_tokenizer(), tmp_path / "db")
    try:
        reply = live.http.post("/v1/responses", json={"input": "hello", "user": "ann", **SHARED})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "memory_scope")
    finally:
        live.stop()
