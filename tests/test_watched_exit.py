"""A test process ends, and says what has kept it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = """
from watched_exit import watch_exit

def pytest_unconfigure():
    watch_exit({seconds})
"""
THREAD = """
import threading

def test_it():
    threading.Thread(target=lambda: threading.Event().wait(), name="stuck").start()
"""
WORKER = """
import threading
from concurrent.futures import ThreadPoolExecutor

def test_it():
    ThreadPoolExecutor(1, "pool").submit(threading.Event().wait)
"""
LIBRARY = """
import ctypes

def test_it():
    libc = ctypes.CDLL(None)
    libc.__cxa_atexit(libc.pause, None, None)
"""
IDLE = """
import threading
from concurrent.futures import ThreadPoolExecutor

def test_it():
    assert ThreadPoolExecutor(1).submit(int).result() == 0
    threading.Thread(target=threading.Event().wait, daemon=True).start()
"""
CHILD = """
import subprocess
import sys

def test_it():
    global kept
    code = "import sys; print(flush=True); sys.stdin.read()"
    kept = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    kept.stdout.readline()
"""


def run(folder: Path, test: str, seconds: float = 240.0) -> tuple[int, str]:
    """Exit code and errors of a session with this test, which may take so many seconds to end."""
    (folder / "conftest.py").write_text(CONFTEST.format(seconds=seconds))
    (folder / "test_it.py").write_text(test)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "test_it.py"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=300
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(("test", "name"), [(THREAD, "stuck"), (WORKER, "pool_0")])
def test_a_thread_that_never_ends_is_named_and_its_stack_shown(tmp_path: Path, test: str, name: str) -> None:
    """Though all tests have passed, the session has failed."""
    code, errors = run(tmp_path, test, seconds=5.0)
    assert code == 1
    assert f"still alive after the tests: thread {name}, " in errors
    assert "Timeout (0:00:05)!" in errors
    assert "threading.py" in errors
    assert "in _shutdown" in errors or "in _python_exit" in errors, "the main thread waits for it"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no alarms here")
def test_a_library_that_never_ends_is_ended(tmp_path: Path) -> None:
    assert run(tmp_path, LIBRARY, seconds=5.0)[0] == -signal.SIGALRM


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes under /proc")
def test_a_process_that_is_left_is_named(tmp_path: Path) -> None:
    code, errors = run(tmp_path, CHILD)
    assert code == 0
    assert "still alive after the tests: process " in errors
    assert "sys.stdin.read()" in errors


def test_what_ends_by_itself_is_not_mentioned(tmp_path: Path) -> None:
    assert run(tmp_path, IDLE) == (0, "")
