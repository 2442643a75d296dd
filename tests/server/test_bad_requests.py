"""Bad input and bad clients: an error in OpenAI's shape with the right status, and nothing else is touched."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable

import pytest
from live import Live

from rxt.engine.scheduler import Limits
from rxt.engine.sessions import Rules
from rxt.server.service import Options

OK = {"input": "Hello!"}
USER = {"role": "user", "content": "a"}
IMAGE = {"type": "image", "text": ""}


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None),
        (b"", 400, None),
        (b"[]", 400, None),
        (b'"x"', 400, None),
        (b"\xff\xfe{}", 400, None),
        (b'{"input": "\\ud800"}', 400, "input"),
        (b'{"input": "\xff"}', 400, None),
        (json.dumps({}).encode(), 400, "input"),
        (json.dumps({"input": ""}).encode(), 400, "input"),
        (json.dumps({"input": "  \n"}).encode(), 400, "input"),
        (json.dumps({"input": 3}).encode(), 400, "input"),
        (json.dumps({"input": []}).encode(), 400, "input"),
        (json.dumps({"input": "dog " * 50_000}).encode(), 400, "input"),
        (json.dumps({"input": [USER, USER | {"content": "dog " * 50_000}]}).encode(), 400, "input.1"),
        (json.dumps(OK | {"prompt": {"id": "pmpt_1"}}).encode(), 400, "prompt"),
        (json.dumps(OK | {"frobnicate": True}).encode(), 400, "frobnicate"),
        (json.dumps(OK | {"tools": 3}).encode(), 400, "tools"),
        (json.dumps(OK | {"tool_choice": "required"}).encode(), 400, "tool_choice"),
        (json.dumps(OK | {"tool_choice": {"type": "function", "name": "f"}}).encode(), 400, "tool_choice"),
        (json.dumps(OK | {"background": True}).encode(), 400, "background"),
        (json.dumps({"input": None}).encode(), 400, "input"),
        (json.dumps(OK | {"temperature": -1}).encode(), 400, "temperature"),
        (b'{"input": "hi", "temperature": NaN}', 400, "temperature"),
        (b'{"input": "hi", "temperature": 1e999}', 400, "temperature"),
        (json.dumps(OK | {"top_p": 0}).encode(), 400, "top_p"),
        (json.dumps(OK | {"max_output_tokens": 0}).encode(), 400, "max_output_tokens"),
        (json.dumps(OK | {"metadata": {"a": 3}}).encode(), 400, "metadata.a"),
        (json.dumps(OK | {"metadata": {str(number): "" for number in range(17)}}).encode(), 400, "metadata"),
        (json.dumps(OK | {"model": "gpt-4"}).encode(), 404, "model"),
        (json.dumps(OK | {"previous_response_id": "resp_" + "0" * 32}).encode(), 404, "previous_response_id"),
        (json.dumps(OK | {"previous_response_id": "../../etc/passwd"}).encode(), 404, "previous_response_id"),
        (json.dumps(OK | {"conversation": "conv_" + "0" * 32}).encode(), 404, "conversation"),
        (json.dumps(OK | {"conversation": "a", "previous_response_id": "b"}).encode(), 400, "conversation"),
        (json.dumps({"input": [{"role": "assistant", "content": "hi"}]}).encode(), 400, "input.0"),
        (json.dumps({"input": [USER, {"content": "a"}]}).encode(), 400, "input.1"),
        (json.dumps({"input": [{"type": "item_reference", "id": "msg_" + "0" * 32}]}).encode(), 404, "input.0"),
        (json.dumps({"input": [{"type": "item_reference", "id": "x"}, USER]}).encode(), 404, "input.0"),
        (json.dumps({"input": [USER | {"content": [IMAGE]}]}).encode(), 400, "input.0.content.0.type"),
    ],
)  # fmt: skip
def test_bad_bodies(served: Live, body: bytes, status: int, param: str | None) -> None:
    reply = served.http.post("/v1/responses", content=body, headers={"Content-Type": "application/json"})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (status, param), error
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert served.sessions.active == 0


@pytest.fixture(scope="module")
def served(bundled: object, tmp_path_factory: pytest.TempPathFactory) -> object:
    live = Live(*bundled, tmp_path_factory.mktemp("served") / "db")  # type: ignore[misc]
    yield live
    live.stop()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/responses", 405),
        ("GET", "/v1/responses/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/v1/responses/resp_%00", 404),
        ("GET", "/v1/responses/%ff%fe", 404),
        ("GET", "/v1/responses/' OR 1=1 --", 404),
        ("DELETE", "/v1/conversations/resp_" + "0" * 32, 404),
        ("GET", "/v1/conversations/conv_" + "0" * 32 + "/items", 404),
        ("GET", "/v1/models/other", 404),
        ("GET", "/v1/conversations?limit=0", 400),
        ("GET", "/v1/conversations?limit=x", 400),
        ("POST", "/v1/memories", 400),
    ],
)
def test_bad_paths(served: Live, method: str, path: str, status: int) -> None:
    reply = served.http.request(method, path)
    assert reply.status_code == status
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def test_text_that_looks_like_a_marker_stays_text(served: Live) -> None:
    reply = served.http.post("/v1/responses", json={"input": "[A] [EOS] \u0000 hello [Q]"})
    assert reply.status_code == 200


def test_long_bodies_are_refused(served: Live) -> None:
    for content in (b"x" * 10_000_000, (b"x" * 100_000 for _ in range(100))):
        reply = served.http.post("/v1/responses", content=content, headers={"Content-Type": "application/json"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")


def test_a_memory_may_be_as_large_as_the_models(serve: Callable[..., Live]) -> None:
    live = serve(options=Options(most_body=1000))
    said = live.http.post("/v1/responses", json={"input": "hello"}).json()["id"]
    content = live.http.get(f"/v1/responses/{said}/memory").content
    conversation = live.http.post("/v1/conversations", json={}).json()["id"]
    for method, path in (("POST", "/v1/memories"), ("PUT", f"/v1/conversations/{conversation}/memory")):
        assert len(content) > 1000
        assert live.http.request(method, path, content=content).status_code == 200
        assert live.http.request(method, path, content=content + bytes(5000)).status_code == 413
    assert live.http.post("/v1/responses", json={"input": "x" * 1000}).status_code == 413


def test_a_slow_sender_is_told(serve: Callable[..., Live]) -> None:
    live = serve(options=Options(slow_seconds=0.2))
    with socket.create_connection(("127.0.0.1", live.port)) as connection:
        connection.sendall(
            b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")


def waited(condition: Callable[[], bool]) -> bool:
    ends = time.monotonic() + 30
    while not condition() and time.monotonic() < ends:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_vanishes_leaves_nothing_behind(serve: Callable[..., Live], stream: bool) -> None:
    live = serve(limits=Limits(places=1))
    body = json.dumps({"input": "Hello!", "stream": stream}).encode()
    with live.sessions.engine._wake:  # the answer does not begin before the client has gone
        connection = socket.create_connection(("127.0.0.1", live.port))
        connection.sendall(
            b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )
        assert waited(lambda: live.sessions.active == 1)
        connection.close()
    assert waited(lambda: live.sessions.active == 0)
    assert live.http.post("/v1/responses", json=OK).status_code == 200


def test_a_client_that_takes_nothing_ends_its_turn(serve: Callable[..., Live]) -> None:
    import asyncio
    from collections.abc import AsyncGenerator
    from types import SimpleNamespace
    from typing import Any

    from rxt.server.service import EventStream

    closed: list[bool] = []

    async def events() -> AsyncGenerator[str, None]:
        while True:
            yield "data: {}\n\n"

    async def stuck(message: Any) -> None:
        await asyncio.sleep(3600)

    async def never() -> Any:
        await asyncio.sleep(3600)

    running: Any = SimpleNamespace(close=lambda: closed.append(True))
    scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
    asyncio.run(EventStream(events(), running, 0.05)(scope, never, stuck))
    assert closed == [True]


def test_too_much_at_once_is_refused(serve: Callable[..., Live]) -> None:
    live = serve(rules=Rules(per_owner=0))
    reply = live.http.post("/v1/responses", json=OK)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
    live = serve(limits=Limits(queue=0), db=":memory:")
    assert live.http.post("/v1/responses", json=OK).status_code == 503


def test_readiness_and_metrics(serve: Callable[..., Live]) -> None:
    live = serve()
    assert live.http.get("/readyz").json() == {"status": "ok"}
    live.http.post("/v1/responses", json=OK)
    text = live.http.get("/metrics").text
    for expected in (
        'rxt_requests_total{method="POST",route="/v1/responses",status="200"} 1.0',
        'rxt_turns_total{end="stop"} 1.0',
        "rxt_first_token_seconds_count 1.0",
        'rxt_store{what="turns"} 1.0',
    ):
        assert expected in text
    live.sessions.draining = True
    assert live.http.get("/readyz").status_code == 503
    assert live.http.post("/v1/responses", json=OK).status_code == 503
    assert live.http.get("/healthz").status_code == 200


def test_logs_hold_no_text_unless_wanted(serve: Callable[..., Live], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    live = serve()
    live.http.post("/v1/responses", json={"input": "My dog is called Rex."})
    assert waited(
        lambda: any(getattr(record, "fields", {}).get("route") == "/v1/responses" for record in caplog.records)
    )
    assert not any("Rex" in f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    live = serve(options=Options(log_texts=True), db=":memory:")
    live.http.post("/v1/responses", json={"input": "My dog is called Rex."})
    assert waited(lambda: any("Rex" in str(vars(record)) for record in caplog.records))


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("responses", OK | {"background": True}, "Invalid value for 'background': it can only be false"),
        ("responses", 3, "Invalid body: it must be a JSON object"),
        ("chat/completions", {"messages": [USER], "n": 2}, "Invalid value for 'n': it can only be 1"),
        (
            "chat/completions",
            {"messages": [USER], "logit_bias": {"3": 1.0}},
            "Invalid value for 'logit_bias': this is not supported; leave it out",
        ),
    ],
)
def test_refusals_speak_of_values_not_of_types(served: Live, path: str, body: object, message: str) -> None:
    error = served.http.post(f"/v1/{path}", json=body).json()["error"]
    assert error["message"] == message


def test_a_body_that_cannot_be_decoded_is_said_to_be_no_json(served: Live) -> None:
    reply = served.http.post("/v1/responses", content=b"\xff", headers={"Content-Type": "application/json"})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["message"]) == (
        400,
        "invalid_json",
        "the body is not JSON in UTF-8",
    )


def test_what_nobody_includes_is_named(served: Live) -> None:
    reply = served.http.post("/v1/responses", json=OK | {"include": ["nope", "rxt.memory.updated"]})
    assert (reply.status_code, reply.headers["x-rxt-unused"]) == (200, "include.nope")
