from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rxt.pretrained import load_model

if TYPE_CHECKING:
    from live import Live

    from rxt.data.tokenizer import ChatTokenizer
    from rxt.pretrained import ReactiveTransformer

MISSING = [name for name in ("fastapi", "uvicorn", "prometheus_client", "openai", "httpx2") if find_spec(name) is None]


class LeftOut(pytest.Module):
    """A file of tests that cannot be imported here."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        pytest.skip(f"{', '.join(MISSING)} missing: pip install 'reactive-transformers[serve,dev]'")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return LeftOut.from_parent(parent, path=module_path) if MISSING else None


@pytest.fixture(scope="session")
def bundled() -> tuple[ReactiveTransformer, ChatTokenizer]:
    return load_model()


@pytest.fixture
def serve(bundled: tuple[ReactiveTransformer, ChatTokenizer], tmp_path: Path) -> Iterator[Callable[..., Live]]:
    """Starts servers in this process; all are stopped at the end."""
    from live import Live

    running: list[Live] = []

    def start(**options: object) -> Live:
        running.append(Live(*bundled, options.pop("db", tmp_path / "db"), **options))  # type: ignore[arg-type]
        return running[-1]

    yield start
    for live in running:
        live.stop()


@pytest.fixture
def live(serve: Callable[..., Live]) -> Live:
    return serve()
