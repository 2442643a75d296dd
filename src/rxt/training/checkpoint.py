"""Checkpoints of a stage: a folder each, written under another name and renamed when whole, while training goes on.

::

    step-000100/
      state.json              where the stage stands
      weights.safetensors     what is trained
      optimizer.safetensors   its moments
      parts/                  both, in place of these two, where each process holds a part of every tensor
      beside.safetensors      what else the stage keeps, where there is something; without parts it is with the weights

Either is read by any number of processes, however they hold what they train.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from rxt.errors import UserError
from rxt.files import write_atomically
from rxt.model.checkpoint import read_tensors
from rxt.training.background import Background
from rxt.training.learner import Learner
from rxt.training.optim import Optimizer, load_optimizer_tensors, optimizer_tensors
from rxt.training.process_group import SINGLE_PROCESS, ProcessGroup
from rxt.training.shards import copied, read_shards, sizes_of, write_shards

WEIGHTS, OPTIMIZER, STATE, PARTS = "weights.safetensors", "optimizer.safetensors", "state.json", "parts"
BESIDE = "beside.safetensors"


@dataclass(frozen=True)
class StageState:
    """Where a stage stands. Data and randomness are functions of the step, so the step is all there is to know."""

    step: int
    """Updates done."""
    best_loss: float | None = None
    """Lowest validation loss so far, where no evaluator says what is best."""
    best_score: float | None = None
    """What the evaluator thought most of so far."""
    best_step: int | None = None
    stopped: str | None = None
    """Why the stage has ended before its last update."""


@dataclass(frozen=True)
class Content:
    """What a checkpoint holds: copies on the CPU, of this process's parts where each process holds some."""

    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    carried: dict[str, Tensor]
    state: StageState

    @classmethod
    def of(cls, learner: Learner, optimizer: Optimizer, state: StageState) -> Content:
        """What a learner has now."""
        moments = optimizer_tensors(learner, optimizer)
        return cls(copied(learner.weights()), copied(moments), copied(learner.carried()), state)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one stage in one folder: ``step-000100``, …; the last ``keep`` and the best stay."""

    folder: Path
    keep: int
    process_group: ProcessGroup = SINGLE_PROCESS
    """Where ``sharded``, one that the training makes no exchanges in."""
    sharded: bool = False
    """Whether each process holds a part of what is trained, and writes it; else the main process writes alone."""
    _writing: Background = field(default_factory=Background, init=False, repr=False, compare=False)

    def save(self, learner: Learner, optimizer: Optimizer, state: StageState) -> None:
        """Write a checkpoint whole, then forget those that are too many. Every process calls it.

        Raises:
            UserError: it, or one that was begun before, cannot be written.
        """
        self.begin(learner, optimizer, state)
        self.finish()

    def begin(self, learner: Learner, optimizer: Optimizer, state: StageState) -> None:
        """The same, except that only a copy is made now; it is written while training goes on, after the one before.
        Every process calls it.

        Raises:
            UserError: one that was begun before cannot be written.
        """
        self.finish()
        if self.sharded or self.process_group.is_main_process:
            content = Content.of(learner, optimizer, state)
            self._writing.begin(lambda: self._write(content))

    @property
    def failed(self) -> bool:
        """Whether :meth:`finish` would raise something by now, in this process."""
        return self._writing.failed

    def finish(self) -> None:
        """Until what was begun is written. Every process calls it.

        Raises:
            UserError: it cannot be written.
        """
        self._writing.finish()

    def abandon(self) -> None:
        """Until what was begun is written, where another error is told already."""
        with suppress(Exception):
            self.finish()

    def _write(self, content: Content) -> None:
        main = self.process_group.is_main_process
        final = self._path(content.state.step)
        temporary = final.with_name(f".{final.name}.tmp")
        try:
            if main:
                self._remove_unfinished()
                (temporary / PARTS if self.sharded else temporary).mkdir(parents=True)
            if self.sharded:
                self.process_group.barrier()  # until the folder is there
                write_shards(temporary / PARTS, content.weights | content.moments, self.process_group.group)
            if main:
                self._write_files(temporary, content)
                shutil.rmtree(final, ignore_errors=True)
                os.replace(temporary, final)
                _sync_folder(self.folder)
        except OSError as error:
            self._remove_unfinished()
            reason = error.strerror or error
            raise UserError(
                f"{final}: the checkpoint cannot be written ({reason}); the one before it is whole"
            ) from None
        if main:
            self._forget({content.state.step, content.state.best_step})

    def _write_files(self, folder: Path, content: Content) -> None:
        """What the main process writes."""
        if not self.sharded:
            _write(folder / WEIGHTS, _as_file(content.weights | content.carried))
            _write(folder / OPTIMIZER, _as_file(content.moments))
        elif content.carried:
            _write(folder / BESIDE, _as_file(content.carried))
        _write(folder / STATE, json.dumps(asdict(content.state)).encode())

    def convert(self, step: int, learner: Learner) -> None:
        """Write the weights of a checkpoint in parts beside them as one file too: ``learner`` has them, whole."""
        folder = self._path(step)
        if self.process_group.is_main_process and (folder / PARTS).is_dir() and not (folder / WEIGHTS).exists():
            write_atomically(folder / WEIGHTS, _as_file(learner.weights()))

    def last(self) -> int | None:
        """The step of the newest whole checkpoint."""
        steps = self._steps()
        return steps[-1] if steps else None

    def load(self, step: int, learner: Learner, optimizer: Optimizer | None = None) -> StageState:
        """Put weights, and the optimiser's state where one is given, back as they were after ``step`` updates."""
        folder = self._path(step)
        in_parts = (folder / PARTS).is_dir()
        if self.sharded or in_parts:
            _load_parts(folder / PARTS if in_parts else folder, learner, optimizer)
        else:
            learner.load_weights(read_tensors(folder / WEIGHTS))
            if optimizer is not None:
                load_optimizer_tensors(learner, optimizer, read_tensors(folder / OPTIMIZER))
        learner.carry(_others(folder / (BESIDE if in_parts else WEIGHTS), learner.weights()))
        return self.state(step)

    def state(self, step: int) -> StageState:
        """Where the stage stood after ``step`` updates."""
        return StageState(**json.loads((self._path(step) / STATE).read_text()))

    def _forget(self, wanted: set[int | None]) -> None:
        for step in self._steps()[: -self.keep]:
            if step not in wanted:
                shutil.rmtree(self._path(step), ignore_errors=True)

    def _remove_unfinished(self) -> None:
        """Whatever a kill or a full disk left half-written."""
        for path in self.folder.glob(".step-*.tmp"):
            shutil.rmtree(path, ignore_errors=True)

    def _steps(self) -> list[int]:
        return sorted(
            int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*") if (path / STATE).exists()
        )

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}"


def _load_parts(folder: Path, learner: Learner, optimizer: Optimizer | None) -> None:
    """What other processes may have written, or another number of them.

    The moments are read by the names that the files have, not by those of ``get_optimizer_state_dict``: that would make
    up some for parameters that have not learned yet.
    """
    weights, moments = learner.weights(), dict[str, Tensor]()
    if optimizer is not None:
        parameters = dict(learner.unique_parameters())
        for key, size in sizes_of(folder).items():
            parameter = parameters.get(key.rpartition("/")[0])
            if parameter is not None and key not in weights:
                moments[key] = torch.zeros_like(parameter) if size == parameter.shape else torch.zeros(size)
    read_shards(folder, weights | moments)
    if optimizer is not None:
        load_optimizer_tensors(learner, optimizer, moments)


def _others(path: Path, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file that are no weights; none where there is no file."""
    if not path.exists():
        return {}
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys() if name not in weights}  # noqa: SIM118 - no dict


def _as_file(tensors: Mapping[str, Tensor]) -> bytes:
    """The content of a safetensors file."""
    return save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})


def _write(path: Path, content: bytes) -> None:
    """Write a file through to the disk."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
