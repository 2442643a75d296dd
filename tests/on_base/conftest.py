"""Tiny pre-trained models with a chat template, and random memories on them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tiny_grown import Grown

KINDS = ("llama", "qwen", "mistral", "tokens")


def grow(path: pytest.TempPathFactory, kind: str) -> Grown:
    if find_spec("transformers") is None:
        pytest.skip("transformers makes the bases: pip install 'reactive-transformers[dev]'")
    import tiny_grown

    return tiny_grown.grow(path.mktemp(kind), kind)


@pytest.fixture(scope="session", params=KINDS)
def grown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    return grow(tmp_path_factory, request.param)


@pytest.fixture(scope="session")
def one_grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    return grow(tmp_path_factory, "qwen")
