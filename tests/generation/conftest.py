from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from factories import chat_model, tiny_tokenizer
from rxt.data.tokenizer import ChatTokenizer
from rxt.pretrained import ReactiveTransformer


@pytest.fixture(scope="session")
def tokenizer() -> ChatTokenizer:
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def model() -> ReactiveTransformer:
    return chat_model()


@pytest.fixture(autouse=True)
def no_update_outlives_its_test() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name == "rxt-memorize":
            thread.join(20)
