"""``--workers``: the same command in several processes of this machine, started and watched by torchrun's launcher."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import uuid4

from rxt.errors import UserError

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

FOLLOWED = 3
"""Exit code of a process that has ended because another one of its run has: there is nothing more to say of it."""
USER_MISTAKE, INTERRUPTED = 2, 130
STOPS = ("SIGTERM", "SIGINT", "SIGHUP")
"""What the launcher passes on, so that every process saves and stops."""
SECONDS_TO_SAVE = 3600
"""How long processes that were told to stop may take for their step and its checkpoint."""
QUIET = "torch.distributed.elastic"
"""Opens the names of the launcher's loggers, which would tell at length what is told here in a line."""
MISTAKES = "RXT_MISTAKES"
"""A folder where the launcher's processes leave what a user has done wrong, which all of them may find at once."""
CRASH, TRACES = "Fatal Python error", "PYTHONFAULTHANDLER"
"""How a process tells where each of its threads was when a library brought it down, and what has it tell."""
ENVIRONMENT = ("OMP_NUM_THREADS", "TORCHELASTIC_SIGNALS_TO_HANDLE", TRACES, MISTAKES)
"""What the launcher's processes are told, or the launcher tells itself."""


def launch(argv: list[str], workers: int) -> int:
    """Run ``rxt`` with these arguments in ``workers`` processes, each with its rank in the environment, until all are
    done or one has failed. The first has the terminal; the others are heard only if they fail.

    Returns:
        The exit code of the process that failed first, as a shell has it (128 + the number of a signal); 0 if none.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with TemporaryDirectory(prefix="rxt-") as logs, _surroundings(workers, logs):
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=workers,
            run_id=uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="127.0.0.1",
            max_restarts=0,  # the same command goes on
            logs_specs=DefaultLogsSpecs(logs, redirects=dict.fromkeys(range(1, workers), Std.ALL)),
            signals_to_handle=",".join(name for name in STOPS if _stops(name)),
            shutdown_timeout=SECONDS_TO_SAVE,
        )
        command = ["-m", "rxt", *(word.replace("$", "$$") for word in argv)]  # the launcher fills in ${local_rank}
        try:
            elastic_launch(config, sys.executable)(*command)
        except SignalException:
            return INTERRUPTED
        except ChildFailedError as error:
            return _told(error, Path(logs), workers)
    return 0


def _told(error: ChildFailedError, logs: Path, workers: int) -> int:
    """Say in a line why the first process ended that did not merely follow another, unless it has said so itself;
    before it, where its threads were if a library brought it down."""
    causes = {rank: failure for rank, failure in error.failures.items() if failure.exitcode != FOLLOWED}
    rank, failure = min((causes or error.failures).items(), key=lambda each: each[1].timestamp)
    code, name = failure.exitcode, f"process {rank + 1} of {workers}"
    if not causes:
        print(
            "rxt: the processes have lost each other; the same command goes on from the last checkpoint",
            file=sys.stderr,
        )
        return code
    said = "".join(log.read_text(errors="replace") for log in logs.glob(f"*/*/{rank}/stderr.log")).strip()
    if code < 0:
        why = f"was killed ({failure.signal_name()})"
        if CRASH in said:
            print(said[said.index(CRASH) :], file=sys.stderr)
        print(f"rxt: {name} {why}; the same command goes on from the last checkpoint", file=sys.stderr)
        return 128 - code
    if (left := _mistake(logs, rank)).exists():
        print(f"rxt: {left.read_text(encoding='utf-8')}", file=sys.stderr)
    elif rank and code != INTERRUPTED:
        line = said if code != USER_MISTAKE else said.rpartition("\n")[2].removeprefix("rxt: ")
        print(f"rxt: {name}: {line or f'exit code {code}'}", file=sys.stderr)
    return code


def left_to_launcher(mistake: UserError) -> bool:
    """Have the launcher say what is wrong, which does so once; False where it has not started this process."""
    folder = os.environ.get(MISTAKES)
    if folder is None:
        return False
    _mistake(Path(folder), int(os.environ["RANK"])).write_text(str(mistake), encoding="utf-8")
    return True


def _mistake(folder: Path, rank: int) -> Path:
    return folder / f"mistake-{rank}.txt"


def _stops(name: str) -> bool:
    """Whether a signal is there on this system and means something: nohup has SIGHUP ignored."""
    number = getattr(signal, name, None)
    return number is not None and signal.getsignal(number) != signal.SIG_IGN


@contextmanager
def _surroundings(workers: int, folder: str) -> Iterator[None]:
    """Share the cores, unless ``OMP_NUM_THREADS`` says otherwise; afterwards environment, signal handlers and loggers
    are as they were."""
    environment = {name: os.environ.get(name) for name in ENVIRONMENT}
    handlers = {number: signal.getsignal(number) for name in STOPS if (number := getattr(signal, name, None))}
    logger = logging.getLogger(QUIET)
    propagates, nothing = logger.propagate, logging.NullHandler()
    os.environ[MISTAKES] = folder
    os.environ.setdefault(TRACES, "1")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    logger.addHandler(nothing)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the launcher leaves the files open that it writes to
            yield
            gc.collect()
    finally:
        logger.propagate = propagates
        logger.removeHandler(nothing)
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


def check_workers(workers: int, device: str | None) -> None:
    """Refuse numbers of processes, and devices for them, that cannot be.

    Raises:
        UserError: no process; a GPU by its number for several processes, each of which takes its own.
    """
    if workers < 1:
        raise UserError(f"--workers {workers}: at least one process must train")
    if workers > 1 and device is not None and ":" in device:
        raise UserError(f"--device {device}: each of {workers} processes takes a GPU of its own; write --device cuda")
