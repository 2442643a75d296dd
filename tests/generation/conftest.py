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
