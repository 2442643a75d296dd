import pytest
from tiny_models import make_model

from rxt.data.tokenizer import ChatTokenizer
from rxt.model.reactive import ReactiveTransformer


@pytest.fixture(scope="session")
def tokenizer() -> ChatTokenizer:
    return ChatTokenizer.train(["hello there, how are you", "my name is Ann and I live in Graz"] * 3, 320)


@pytest.fixture(scope="session")
def model() -> ReactiveTransformer:
    return make_model()
