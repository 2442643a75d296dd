import pytest

from rxt.data.tokenizer import ChatTokenizer
from rxt.model.reactive import ReactiveTransformer
from small_engine import make_model


@pytest.fixture(scope="session")
def tokenizer() -> ChatTokenizer:
    from small_engine import make_tokenizer

    return make_tokenizer()


@pytest.fixture(scope="session")
def model() -> ReactiveTransformer:
    return make_model()
