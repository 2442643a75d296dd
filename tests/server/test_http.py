"""HTTP itself: methods, and how bodies are labelled."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator

import pytest
from live import Live

BODY = json.dumps({"input": "Hello!"}).encode()


@pytest.fixture(scope="module")
def served(bundled: tuple[object, object]) -> Iterator[Live]:
    live = Live(*bundled, ":memory:")  # type: ignore[arg-type]
    yield live
    live.stop()


@pytest.mark.parametrize("path", ["/", "/v1/models", "/v1/models/rxt", "/healthz", "/readyz", "/openapi.json", "/none"])
def test_head_is_get_without_its_body(served: Live, path: str) -> None:
    whole, head = served.http.get(path), served.http.head(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    for name in ("content-type", "content-length"):
        assert head.headers[name] == whole.headers[name]


def test_head_of_what_has_no_get_is_refused_and_the_connection_goes_on(served: Live) -> None:
    assert served.http.head("/v1/chat/completions").status_code == served.http.get("/v1/chat/completions").status_code
    assert 'method="HEAD",route="/v1/models"' in (served.http.head("/v1/models"), served.http.get("/metrics"))[1].text


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
@pytest.mark.parametrize("path", ["/v1/responses", "/v1/chat/completions", "/v1/conversations"])
def test_a_body_that_is_not_labelled_as_json_is_named(served: Live, path: str, kind: str | None) -> None:
    reply = served.http.post(path, content=BODY, headers={} if kind is None else {"Content-Type": kind})
    assert (reply.status_code, reply.json()["error"]["code"]) == (415, "unsupported_content_type")
    assert (kind or "no Content-Type") in reply.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"])
def test_json_by_any_of_its_labels_is_taken(served: Live, kind: str) -> None:
    assert served.http.post("/v1/responses", content=BODY, headers={"Content-Type": kind}).status_code == 200
    wrong = served.http.post("/v1/responses", content=b"[]", headers={"Content-Type": kind})
    assert wrong.status_code == 400


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("br", bytes), ("gzip, br", bytes)])
def test_a_compressed_body_is_named(served: Live, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    reply = served.http.post("/v1/responses", content=pack(BODY), headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (415, "unsupported_content_encoding")
    assert encoding in reply.json()["error"]["message"]
    headers["Content-Encoding"] = "identity"
    assert served.http.post("/v1/responses", content=BODY, headers=headers).status_code == 200
