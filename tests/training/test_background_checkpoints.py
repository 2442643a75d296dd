"""Checkpoints are written while training goes on: what is written is what was there when they were begun."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from micro import OPTIM, learner, stages
from safetensors.torch import load_file
from torch import Tensor

from rxt.errors import UserError
from rxt.training.background import Background
from rxt.training.checkpoint import Checkpoints, StageState
from rxt.training.learner import ReactiveLearner
from rxt.training.loop import update
from rxt.training.optim import Optimizer, make_optimizer
from rxt.training.process_group import ProcessGroup
from rxt.training.together import Sharded, Together

CPU = torch.device("cpu")


@pytest.fixture(params=["whole", "in parts"])
def sharded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[bool]:
    if request.param == "whole":
        yield False
        return
    place = tmp_path_factory.mktemp("group") / "store"
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=0, world_size=1)
    yield True
    dist.destroy_process_group()


class Disk:
    """One that keeps whoever writes to it waiting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.goes_on = threading.Event(), threading.Event()
        original = os.fsync

        def fsync(descriptor: int) -> None:
            self.reached.set()
            assert self.goes_on.wait(60)
            original(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)


def in_training(sharded: bool) -> tuple[Together[ReactiveLearner], Optimizer]:
    """A learner after an update, with moments."""
    subject = Sharded(learner(), ProcessGroup(), CPU) if sharded else Together(learner())
    optimizer = make_optimizer(subject.learner, OPTIM)
    update(stages()[0], subject.learner, optimizer, 0, 0, subject)
    return subject, optimizer


def contents(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder; the order in a file's header is not always the same."""
    files = sorted(folder.rglob("*.safetensors"))
    return {f"{path.name}/{name}": tensor for path in files for name, tensor in load_file(path).items()}


def test_training_goes_on_and_changes_nothing_of_it(
    sharded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, optimizer = in_training(sharded)
    at_once, meanwhile = (Checkpoints(tmp_path / name, 2, sharded=sharded) for name in ("at once", "meanwhile"))
    at_once.save(subject.learner, optimizer, StageState(1))
    disk = Disk(monkeypatch)
    meanwhile.begin(subject.learner, optimizer, StageState(1))
    assert disk.reached.wait(60)
    update(stages()[0], subject.learner, optimizer, 0, 1, subject)
    assert meanwhile.last() is None, "it is not whole yet"
    disk.goes_on.set()
    meanwhile.finish()
    assert meanwhile.last() == 1
    found, expected = (contents(tmp_path / name) for name in ("meanwhile", "at once"))
    assert found.keys() == expected.keys()
    assert any("exp_avg" in name for name in found)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert meanwhile.state(1) == at_once.state(1)
    at_once.save(subject.learner, optimizer, StageState(1))
    now = contents(tmp_path / "at once")
    assert not all(torch.equal(tensor, found[name]) for name, tensor in now.items()), "training went on"


def test_a_second_one_waits_for_the_first(sharded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, optimizer = in_training(sharded)
    checkpoints, disk = Checkpoints(tmp_path, 2, sharded=sharded), Disk(monkeypatch)
    checkpoints.begin(subject.learner, optimizer, StageState(1))
    second = threading.Thread(target=checkpoints.begin, args=(subject.learner, optimizer, StageState(2)))
    second.start()
    assert disk.reached.wait(60)
    second.join(0.2)
    assert second.is_alive()
    assert [path.name for path in tmp_path.iterdir()] == [".step-000001.tmp"]
    disk.goes_on.set()
    second.join()
    checkpoints.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000001", "step-000002"]


def test_what_a_kill_leaves_half_written_is_not_there(
    sharded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, optimizer = in_training(sharded)
    checkpoints = Checkpoints(tmp_path / "run", 2, sharded=sharded)
    checkpoints.save(subject.learner, optimizer, StageState(1))
    disk = Disk(monkeypatch)
    checkpoints.begin(subject.learner, optimizer, StageState(2))
    assert disk.reached.wait(60)
    killed = tmp_path / "killed"
    (tmp_path / "run").rename(killed)  # what is there at this moment, out of the reach of who writes
    assert sorted(path.name for path in killed.iterdir()) == [".step-000002.tmp", "step-000001"]
    disk.goes_on.set()
    checkpoints.abandon()
    again = Checkpoints(killed, 2, sharded=sharded)
    assert again.last() == 1
    assert again.load(1, subject.learner, optimizer) == StageState(1)
    again.save(subject.learner, optimizer, StageState(2))
    assert sorted(path.name for path in killed.iterdir()) == ["step-000001", "step-000002"]


def test_what_went_wrong_is_told_by_the_next_call(
    sharded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, optimizer = in_training(sharded)
    checkpoints = Checkpoints(tmp_path, 2, sharded=sharded)
    full = threading.Event()

    def fsync(_: int) -> None:
        full.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    checkpoints.begin(subject.learner, optimizer, StageState(1))
    assert full.wait(60)
    with pytest.raises(UserError, match=r"step-000001: the checkpoint cannot be written \(No space left on device\)"):
        checkpoints.begin(subject.learner, optimizer, StageState(2))
    assert not checkpoints.failed
    checkpoints.finish()
    assert not list(tmp_path.iterdir())


def test_whoever_asks_knows_that_a_task_has_failed() -> None:
    background = Background()
    background.begin(lambda: None)
    background.finish()
    assert not background.failed

    def fails() -> None:
        raise OSError("x")

    background.begin(fails)
    with pytest.raises(OSError, match="x"):
        background.finish()
    assert not background.failed


@pytest.mark.slow
def test_a_disk_that_is_full_for_one_process_of_two(tmp_path: Path) -> None:
    """Both know it, and what was begun is gone."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    script = str(Path(__file__).with_name("full_for_one.py"))
    commands = [[sys.executable, script, str(tmp_path), str(rank)] for rank in range(2)]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    said = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    step = tmp_path / "stage" / "step-000002"
    why = "the checkpoint cannot be written (No space left on device); the one before it is whole\n"
    assert [output for output, _ in said] == [f"{step}: {why}"] * 2
    assert [path.name for path in (tmp_path / "stage").iterdir()] == ["step-000001"]
