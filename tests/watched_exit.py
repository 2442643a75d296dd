"""The end of a test process: what is still alive is named, and nothing keeps the process for ever."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import thread as pool_thread
from pathlib import Path
from typing import TextIO

SECONDS = 120.0
"""For the interpreter to end, and as many again for the libraries that it has loaded."""


def watch_exit(seconds: float = SECONDS, out: TextIO | None = None) -> None:
    """Say what the tests have left behind, and have the process end soon whatever that is.

    Python waits for its threads, and libraries for theirs, without limit. If the process is still there after
    ``seconds``, the stacks of all threads are written to ``out`` (which has a file descriptor; standard error) and it
    ends with 1, after tests that have passed too: who hangs has failed. Where the interpreter has ended by then and a
    library holds the process, there are no stacks any more, and an alarm ends it.
    """
    out = out or sys.__stderr__
    assert out is not None
    tell_what_is_alive(out)
    faulthandler.dump_traceback_later(seconds, exit=True, file=out)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 2 * seconds)


def tell_what_is_alive(out: TextIO | None = None) -> None:
    """Name it, and leave the end of the process to whoever has started it."""
    for line in still_alive():
        print(f"still alive after the tests: {line}", file=out or sys.__stderr__, flush=True)


def still_alive() -> Iterator[str]:
    """Threads that Python will wait for, child processes, and threads of libraries."""
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon and not _is_idle(thread):
            yield f"thread {thread.name}, {_place(thread)}"
    tasks = Path("/proc/self/task")
    if not tasks.exists():  # not Linux
        return
    for number in (tasks / str(threading.main_thread().native_id) / "children").read_text().split():
        command = _read(Path("/proc", number, "cmdline")).replace("\0", " ").strip()
        if command and "multiprocessing.resource_tracker" not in command:  # it ends with this process
            yield f"process {number}, {command[:200]}"
    own = {str(thread.native_id) for thread in threading.enumerate()}
    names = Counter(_read(task / "comm").strip() for task in tasks.iterdir() if task.name not in own)
    unnamed = _read(Path("/proc/self/comm")).strip()  # threads that only compute have the process's own name
    for name, count in sorted(names.items()):
        if name not in ("", unnamed):
            yield f"{count} threads {name} of a library"


def _is_idle(thread: threading.Thread) -> bool:
    """Whether a worker of a pool waits for work; it ends when it is told to, at the end."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_code is pool_thread._worker.__code__


def _place(thread: threading.Thread) -> str:
    """Where it is."""
    frame = sys._current_frames().get(thread.ident or 0)
    return "ended" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def _read(path: Path) -> str:
    """What stands there, empty where it has gone meanwhile."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
