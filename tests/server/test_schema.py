"""Requests made from the server's own description: none of them makes it fail."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from live import Live

from factories import chat_model, tiny_tokenizer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("schemathesis") is None, reason="schemathesis is missing: pip install 'reactive-transformers[dev]'"
    ),
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(params=["words alone", "thinking and tools"])
def described(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Live]:
    """A server of the bundled model, or of one that thinks and calls tools."""
    if request.param == "words alone":
        yield request.getfixturevalue("live")
        return
    tokenizer = tiny_tokenizer("beta")
    live = Live(chat_model(max_length=200, tokens=tokenizer.tokens), tokenizer, tmp_path / "parts")
    yield live
    live.stop()


def test_no_request_makes_the_server_fail(described: Live, tmp_path: Path) -> None:
    import subprocess
    import sys

    command = [
        *(
            sys.executable,
            "-c",
            "from schemathesis.cli import schemathesis; schemathesis()",
            "run",
            f"{described.url}/openapi.json",
        ),
        *(
            "--checks",
            "not_a_server_error",
            "--max-examples",
            "12",
            "--seed",
            "1",
            "--phases",
            "examples,coverage,fuzzing",
        ),
        *("--suppress-health-check", "all", "--no-color"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
