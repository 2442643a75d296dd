"""Threads are as many as the model and the machine have work and room for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rxt.cli import threads
from rxt.cli.threads import choose_threads, free_cores

FOUR = {0, 1, 2, 3}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the machine look as if these shares of its cores were busy."""

    def look(busy: list[float], allowed: set[int] = FOUR, quota: str = "max 100000") -> None:
        stat, limit, ticks = tmp_path / "stat", tmp_path / "cpu.max", [0]

        def tell() -> None:
            ticks[0] += 1000
            worked = [round(share * ticks[0]) for share in busy]
            cores = [f"cpu{core} {work} 0 0 {ticks[0] - work} 0 0 0 0 0 0" for core, work in enumerate(worked)]
            stat.write_text("cpu  9 9 9 9 9 9 9 9 0 0\n" + "\n".join(cores) + "\nintr 1 2 3\n")

        tell()
        limit.write_text(quota)
        monkeypatch.setattr(threads, "STAT", stat)
        monkeypatch.setattr(threads, "QUOTA", limit)
        monkeypatch.setattr(threads.time, "sleep", lambda seconds: tell())
        monkeypatch.setattr(threads, "_allowed", lambda: allowed)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    return look


def test_busy_cores_are_left_alone(machine: Callable[..., None]) -> None:
    machine([0.0, 0.02, 0.0, 0.01])
    assert free_cores() == choose_threads() == 4
    machine([1.0, 0.0, 0.0, 0.9])
    assert free_cores() == choose_threads() == 2
    machine([1.0, 1.0, 1.0, 1.0])
    assert free_cores() == choose_threads() == 1


def test_what_a_process_may_not_use_does_not_count(machine: Callable[..., None]) -> None:
    machine([0.0, 0.0, 0.0, 0.0], allowed={1, 3})
    assert free_cores() == 2
    machine([0.0, 1.0, 0.0, 0.0], allowed={1, 3})
    assert free_cores() == 1
    machine([0.0, 0.0, 0.0, 0.0], quota="150000 100000")
    assert free_cores() == 1
    machine([0.0, 0.0, 0.0, 0.0], quota="50000 100000")
    assert free_cores() == 1


def test_small_models_have_one_thread(machine: Callable[..., None]) -> None:
    machine([0.0, 0.0, 0.0, 0.0])
    assert choose_threads(1_000_000) == 1
    assert choose_threads(60_000_000) == 2
    assert choose_threads(10**9) == 4
    machine([0.0, 1.0, 1.0, 1.0])
    assert choose_threads(10**9) == 1


def test_who_names_a_number_gets_it(machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    machine([1.0, 1.0, 1.0, 1.0])
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert choose_threads() == 4


def test_where_nothing_is_told_all_cores_count(
    machine: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine([1.0, 1.0, 1.0, 1.0])
    monkeypatch.setattr(threads, "STAT", tmp_path / "none")
    monkeypatch.setattr(threads, "QUOTA", tmp_path / "none")
    assert free_cores() == 4
