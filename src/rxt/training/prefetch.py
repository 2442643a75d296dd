"""Batches made ahead, in processes of their own, while the model computes: the same batches in the same order."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import active_children
from typing import Any, TypeVar

from torch.utils.data import DataLoader, Dataset

from rxt.errors import UserError
from rxt.training.interrupt import HANGUP
from rxt.training.stages.base import Batch, Stage

T = TypeVar("T")


@dataclass(frozen=True)
class Steps(Dataset["list[Any] | UserError"]):
    """The training batches of a stage, by step."""

    stage: Stage[Any, Any]

    def __getitem__(self, index: int) -> list[Any] | UserError:
        try:
            return self.stage.batches("train", index)
        except UserError as error:  # as a value: torch would wrap a traceback around it
            return error


@contextmanager
def batches_ahead(stage: Stage[Any, Batch], first: int, processes: int) -> Iterator[Callable[[int], list[Batch]]]:
    """What gives the batches of step ``first`` and each after it in turn, made ahead by ``processes``; made when they
    are asked for with none, or where they depend on what training changes.

    Raises:
        UserError: of the stage's data; a process was killed.
    """
    if not processes or not stage.made_ahead:
        yield partial(stage.batches, "train")
        return
    loader = DataLoader(
        Steps(stage),
        batch_size=None,
        sampler=range(first, stage.steps),
        num_workers=processes,
        collate_fn=_unchanged,
        worker_init_fn=_leave_signals_to_training,
    )
    before = set(active_children())
    made: Iterator[list[Batch] | UserError] | None = iter(loader)
    workers = set(active_children()) - before

    def drawn(step: int) -> list[Batch]:
        assert made is not None
        try:
            found = next(made)
        except RuntimeError as error:
            raise UserError(
                f"a process that makes batches has ended ({str(error).splitlines()[0]}); the same command goes on"
            ) from None
        if isinstance(found, UserError):
            raise found
        return found

    try:
        yield drawn
    finally:
        made = None  # tells them to end, and gives them a few seconds
        for worker in workers:
            worker.kill()  # Python would wait at its own end for one that is left, which hears of no other signal


def _unchanged(found: T) -> T:
    return found


def _leave_signals_to_training(worker: int) -> None:
    """A process that makes batches ends when training does. What stops a whole group of processes, as torchrun and
    SLURM do it, must not take the batches from the step that is finished first."""
    for number in (signal.SIGINT, signal.SIGTERM, HANGUP):
        if number is not None:
            signal.signal(number, signal.SIG_IGN)
