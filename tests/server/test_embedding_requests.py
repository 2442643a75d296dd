"""Embeddings over HTTP are those of the library."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Literal

import pytest
import torch
from live import Live
from openai import omit

import rxt
from rxt.data.tokenizer import ChatTokenizer
from rxt.pretrained import ReactiveTransformer

TEXTS = ["My dog is called Rex, and he likes the snow.", "Hello!", "What is the name of my dog?"]


@pytest.fixture(scope="module")
def served(bundled: tuple[ReactiveTransformer, ChatTokenizer]) -> Iterator[Live]:
    live = Live(*bundled, ":memory:")
    yield live
    live.stop()


@pytest.mark.parametrize("form", ["float", "base64", None])
def test_embeddings_are_those_of_the_library(served: Live, form: Literal["float", "base64"] | None) -> None:
    reply = served.client().embeddings.create(model="rxt", input=TEXTS, encoding_format=form or omit)
    found = [item.embedding for item in reply.data]
    if form == "base64":  # asked for by name, the client leaves it as it is
        found = [torch.frombuffer(bytearray(base64.b64decode(str(row))), dtype=torch.float32).tolist() for row in found]
    torch.testing.assert_close(torch.tensor(found), rxt.embed(None, TEXTS))
    assert [item.index for item in reply.data] == [0, 1, 2]
    tokenizer = served.sessions.tokenizer
    begin = 0 if tokenizer.tokens.bos is None else 1
    assert reply.usage.prompt_tokens == sum(len(tokenizer.encode(text)) + begin + 1 for text in TEXTS)


def test_one_text_is_a_list_of_one(served: Live) -> None:
    width = served.sessions.engine.model.encoder.config.width
    reply = served.http.post("/v1/embeddings", json={"input": TEXTS[0], "dimensions": width, "user": "u"})
    assert reply.headers["x-rxt-unused"] == "user"
    (item,) = reply.json()["data"]
    torch.testing.assert_close(torch.tensor([item["embedding"]]), rxt.embed(None, TEXTS[:1]))


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"input": ""}, 400, "invalid_value", "input"),
        ({"input": ["a", " "]}, 400, "invalid_value", "input.1"),
        ({"input": ["a", "word " * 5000]}, 400, "context_length_exceeded", "input.1"),
        ({"input": []}, 400, "invalid_value", "input"),
        ({"input": [1, 2]}, 400, "invalid_value", "input"),
        ({"input": [[1, 2]]}, 400, "invalid_value", "input"),
        ({}, 400, "missing_required_parameter", "input"),
        ({"input": "a", "dimensions": 3}, 400, "invalid_value", "dimensions"),
        ({"input": "a", "model": "other"}, 404, "model_not_found", "model"),
        ({"input": "a", "pooling": "max"}, 400, "unsupported_parameter", "pooling"),
    ],
)
def test_what_cannot_be_embedded_is_named(
    served: Live, body: dict[str, object], status: int, code: str, param: str
) -> None:
    reply = served.http.post("/v1/embeddings", json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (status, code, param)


def test_keys_and_the_end_of_the_server_hold_here_too(serve: Callable[..., Live]) -> None:
    live = serve(keys=("secret",))
    assert live.http.post("/v1/embeddings", json={"input": "a"}).status_code == 401
    live.sessions.draining = True
    assert live.raw("secret").post("/v1/embeddings", json={"input": "a"}).status_code == 503
