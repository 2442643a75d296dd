"""A process of several that dies, or is told to stop: one line, nothing half-written, and the same command goes on,
with another number of processes too."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rxt.cli.main import main
from rxt.training.checkpoint import Checkpoints

SETTINGS = (
    "joint.steps=30",
    "joint.optim.accumulate=2",
    *(f"{stage}.steps=0" for stage in ("interaction", "memory_pretrain")),
    'memory_aware.phases=[{"steps": 0, "turns": 2, "batch_size": 1}]',
    "tokenizer.conversations=40",
    "checkpoint_every=2",
    "log_every=1",
)
STAGE = "1-joint"


def command(out: Path, workers: int) -> list[str]:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return ["train", "smoke", "--out", str(out), "--workers", str(workers), *settings]


def losses(out: Path) -> list[float]:
    lines = map(json.loads, (out / STAGE / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["split"] == "train"]


def heeds_ctrl_c() -> None:
    """What a shell starts in the background ignores it, and so would what that starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Running:
    """The command in two processes, which has done some updates."""

    def __init__(self, out: Path, parallel: str) -> None:
        before = Checkpoints(out / STAGE, keep=2).last() or 0
        words = [sys.executable, "-m", "rxt", *command(out, workers=2), "--parallel", parallel]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        self.launcher = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
        while (Checkpoints(out / STAGE, keep=2).last() or 0) < before + 2:
            assert self.launcher.poll() is None, self.launcher.communicate()[1]
            time.sleep(0.02)

    def rank(self, rank: int) -> int:
        """The number of a process."""
        pid = self.launcher.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if f"RANK={rank}" in Path(f"/proc/{child}/environ").read_text().split("\0"):
                return int(child)
        raise AssertionError(f"no process of rank {rank}")

    def end(self) -> tuple[int, list[str]]:
        """Its exit code, and what it has said."""
        said = self.launcher.communicate()[1]
        return self.launcher.returncode, said.splitlines()


@pytest.mark.slow
def test_a_second_ctrl_c_ends_all_at_once(tmp_path: Path) -> None:
    """In the middle of an update, which is not waited for."""
    long = ("--set", "joint.batch_size=20000", "--set", "joint.optim.accumulate=2000")  # small in memory
    words = [*command(tmp_path, workers=2), *long]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    launcher = subprocess.Popen(
        [sys.executable, "-m", "rxt", *words],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeds_ctrl_c,
    )
    while not (tmp_path / STAGE / "stage.json").exists():
        assert launcher.poll() is None, launcher.communicate()[1]
        time.sleep(0.02)
    launcher.send_signal(signal.SIGINT)
    time.sleep(1)  # a system may make one signal of two that come at once
    launcher.send_signal(signal.SIGINT)
    try:
        said = launcher.communicate(timeout=240)[1]
    finally:
        launcher.kill()
    assert launcher.returncode == 130
    assert "stopped and saved" not in said
    assert "Traceback" not in said
    assert Checkpoints(tmp_path / STAGE, keep=2).last() is None


def assert_nothing_half_written(out: Path) -> None:
    assert not list(out.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes under /proc")
def test_a_process_that_a_library_brings_down_tells_where_it_was(tmp_path: Path) -> None:
    running = Running(tmp_path, "replicate")
    os.kill(running.rank(1), signal.SIGABRT)
    code, said = running.end()
    assert code == 128 + signal.SIGABRT
    assert "Fatal Python error: Aborted" in said
    assert any("loop.py" in line for line in said)
    assert said[-1] == "rxt: process 2 of 2 was killed (SIGABRT); the same command goes on from the last checkpoint"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes under /proc")
def test_a_run_whose_processes_are_killed_and_stopped_ends_as_if_they_were_not(tmp_path: Path) -> None:
    assert main(command(tmp_path / "whole", workers=1)) == 0

    out = tmp_path / "run"
    running = Running(out, "replicate")
    os.kill(running.rank(1), signal.SIGKILL)
    code, said = running.end()
    assert code == 128 + signal.SIGKILL
    assert [line for line in said if line.startswith(("rxt: ", "Traceback"))] == [
        "rxt: process 2 of 2 was killed (SIGKILL); the same command goes on from the last checkpoint"
    ]

    running = Running(out, "shard")
    told = [running.rank(0), running.rank(1), running.launcher.pid]
    for process in told:  # as a batch system does; the launcher tells the others again
        os.kill(process, signal.SIGTERM)
    code, said = running.end()
    assert code == 130
    assert "stopped and saved after step" in said[-1]
    saved = Checkpoints(out / STAGE, keep=2).last()
    assert f"after step {saved};" in said[-1]
    assert_nothing_half_written(out)

    assert main(command(out, workers=1)) == 0
    assert losses(out) == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)
    assert_nothing_half_written(out)


@pytest.mark.slow
def test_a_process_that_is_silent_is_named_and_the_run_goes_on(tmp_path: Path) -> None:
    """Two processes, of which one sleeps. No launcher sees it: it has not ended."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)} | group
    words = [sys.executable, "-m", "rxt", *command(tmp_path, workers=1), "--patience", "0.25"]
    first, second = (
        subprocess.Popen(words, env=environment | {"RANK": rank}, stderr=subprocess.PIPE, text=True) for rank in "01"
    )
    with first, second:
        try:
            while (Checkpoints(tmp_path / STAGE, keep=2).last() or 0) < 2:
                assert first.poll() is None, first.communicate()[1]
                time.sleep(0.02)
            second.send_signal(signal.SIGSTOP)
            said = first.communicate()[1].splitlines()
        finally:
            first.kill()
            second.kill()
    assert first.returncode == 2, "\n".join(said)
    assert [line for line in said if line.startswith(("rxt: ", "Traceback"))] == [
        "rxt: process 2 of 2 has ended, or has not answered for 0.25 minutes (--patience); "
        "the same command goes on from the last checkpoint"
    ]
    saved = Checkpoints(tmp_path / STAGE, keep=2).last()
    assert saved is not None
    assert saved < 30
    assert_nothing_half_written(tmp_path)
    assert main(command(tmp_path, workers=1)) == 0
    assert len(losses(tmp_path)) == 30


@pytest.mark.slow
def test_a_process_that_is_interrupted_while_gradients_are_exchanged_ends(tmp_path: Path) -> None:
    """Though the other one does not take part any more."""
    script = Path(__file__).with_name("interrupted_exchange.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    both = [
        subprocess.Popen([sys.executable, str(script), str(tmp_path), str(rank)], env=environment) for rank in (0, 1)
    ]
    try:
        assert [each.wait(600) for each in both] == [130, 0]
    finally:
        for each in both:
            each.kill()
            each.wait()
