"""The scripts of ``examples/`` run, and do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SOURCE = EXAMPLES.parent / "src"


def run(name: str, *arguments: str, folder: Path) -> str:
    """What the script prints when it is started as its first line says."""
    paths = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_talking(tmp_path: Path) -> None:
    printed = run("talk.py", folder=tmp_path)
    assert "Rex" in printed.rpartition("> What is my dog called?")[2]
    assert "turn 3 memorized" in printed


def test_a_fork_is_a_conversation_of_its_own(tmp_path: Path) -> None:
    original, fork, restored = run("save_and_fork.py", folder=tmp_path).splitlines()
    assert "Paris" in fork
    assert "Paris" not in original
    assert "Rex" in restored
    assert (tmp_path / "rex.memory").exists()


def test_training(tmp_path: Path) -> None:
    assert "after a few updates:" in run("train_on_your_chats.py", folder=tmp_path)
    assert (tmp_path / "runs" / "example" / "model" / "model.safetensors").exists()


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("fastapi", "uvicorn", "prometheus_client", "openai")),
    reason="needs the server's and the client's packages",
)
def test_the_client_of_openai(tmp_path: Path) -> None:
    from serve_process import Process

    server = Process(tmp_path / "rxt.db")
    try:
        assert "Rex" in run("openai_client.py", server.url, folder=tmp_path)
    finally:
        server.process.terminate()
        server.ended()


def test_a_variant_of_ones_own(tmp_path: Path) -> None:
    printed = run("add_a_variant.py", folder=tmp_path)
    moved = float(printed.split()[-1])
    assert moved > 0


def test_every_example_is_tested() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in text] == []
