"""How many threads of the processor to compute with.

Threads wait for each other after every operation: one that shares its core with another program holds up all of them,
and makes training up to twenty times as slow as one thread alone.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

PARAMETERS_A_THREAD = 50_000_000
"""A step of a smaller model is too short to be shared between threads."""
GLANCE_SECONDS = 0.1
STAT, QUOTA = Path("/proc/stat"), Path("/sys/fs/cgroup/cpu.max")


def choose_threads(parameters: int | None = None) -> int:
    """Threads for a model that reads so many parameters a step; without ``parameters``, for work that can use all.

    ``OMP_NUM_THREADS`` is kept to; else no more than there are cores that nothing else keeps busy.
    """
    import torch

    most = torch.get_num_threads()
    if parameters is not None:
        most = min(most, 1 + parameters // PARAMETERS_A_THREAD)
    return most if most == 1 or "OMP_NUM_THREADS" in os.environ else min(most, free_cores())


def free_cores() -> int:
    """Cores that this process may use and that are idle just now; one at least."""
    allowed = _allowed()
    before = _busy_and_all()
    if before is None:
        free = len(allowed)
    else:
        time.sleep(GLANCE_SECONDS)
        after = _busy_and_all() or before
        free = round(sum(1 - _share(before.get(core), after.get(core)) for core in allowed))
    quota = _quota()
    return max(1, free if quota is None else min(free, int(quota)))


def _allowed() -> set[int]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _quota() -> float | None:
    """Cores' worth of time that a container grants; None: as much as there is."""
    try:
        granted, period = QUOTA.read_text(encoding="ascii").split()
        return None if granted == "max" else int(granted) / int(period)
    except (OSError, ValueError):
        return None


def _busy_and_all() -> dict[int, tuple[int, int]] | None:
    """For each core, ticks in which it worked and ticks in all, since it was started; None where that is not told."""
    try:
        lines = STAT.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = dict[int, tuple[int, int]]()
    for line in lines:
        name, *ticks = line.split()
        if name.startswith("cpu") and name != "cpu":
            counts = [int(tick) for tick in ticks[:8]]  # user, nice, system, idle, waiting, interrupts (2), stolen
            found[int(name.removeprefix("cpu"))] = sum(counts) - counts[3] - counts[4], sum(counts)
    return found


def _share(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float:
    """Of the time between, in which a core worked."""
    if before is None or after is None or after[1] == before[1]:
        return 0.0
    return (after[0] - before[0]) / (after[1] - before[1])
