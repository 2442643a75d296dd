"""Checkpoints of a stage: a folder each, written under another name and renamed when whole."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import save

from rxt.errors import UserError
from rxt.model.checkpoint import read_tensors
from rxt.training.learner import Learner
from rxt.training.optim import Optimizer, load_optimizer_tensors, optimizer_tensors

WEIGHTS, OPTIMIZER, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"


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
class Checkpoints:
    """The checkpoints of one stage in one folder: ``step-000100``, …; the last ``keep`` and the best stay."""

    folder: Path
    keep: int

    def save(self, learner: Learner, optimizer: Optimizer, state: StageState) -> None:
        """Write a checkpoint whole, then forget those that are too many."""
        final = self._path(state.step)
        temporary = final.with_name(f".{final.name}.tmp")
        self._remove_unfinished()
        try:
            temporary.mkdir(parents=True)
            _write(
                temporary / WEIGHTS,
                save({name: tensor.cpu().contiguous() for name, tensor in learner.weights().items()}),
            )
            moments = {
                name: tensor.cpu().contiguous() for name, tensor in optimizer_tensors(learner, optimizer).items()
            }
            _write(temporary / OPTIMIZER, save(moments))
            _write(temporary / STATE, json.dumps(asdict(state)).encode())
            shutil.rmtree(final, ignore_errors=True)
            os.replace(temporary, final)
            _sync_folder(self.folder)
        except OSError as error:
            self._remove_unfinished()
            reason = error.strerror or error
            raise UserError(
                f"{final}: the checkpoint cannot be written ({reason}); the one before it is whole"
            ) from None
        self._forget({state.step, state.best_step})

    def last(self) -> int | None:
        """The step of the newest whole checkpoint."""
        steps = self._steps()
        return steps[-1] if steps else None

    def load(self, step: int, learner: Learner, optimizer: Optimizer | None = None) -> StageState:
        """Put weights, and the optimiser's state where one is given, back as they were after ``step`` updates."""
        folder = self._path(step)
        learner.load_weights(read_tensors(folder / WEIGHTS))
        if optimizer is not None:
            load_optimizer_tensors(learner, optimizer, read_tensors(folder / OPTIMIZER))
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
