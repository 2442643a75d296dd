"""Several processes that train one model: each takes some micro-batches of an update, and the gradients are summed.

The sum over the process group is the gradient of the whole update, as the same micro-batches in one process would give
it: :mod:`rxt.training.together`. The group is what ``torchrun`` has started: ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``
and the address of rank 0 are in the environment. ``rxt train --workers N`` has torchrun's launcher do so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from rxt.errors import UserError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

T = TypeVar("T")
PATIENCE = timedelta(hours=2)
"""How long processes wait for one that is slow: among others for one that validates, or writes a checkpoint."""
OF_GLOO = ("gloo/transport", "Application timeout caused pair closure")
"""What its errors say: the second while gradients are exchanged, whoever waited for too long before."""
LAST_CALL = timedelta(minutes=1)
"""When one has waited for too long, how long the others have to say that they have waited too."""


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run. A run of one process is a group of one, and nothing is exchanged."""

    rank: int = 0
    world_size: int = 1
    group: dist.ProcessGroup | None = None
    """PyTorch's; None is its default group."""
    patience: timedelta = PATIENCE
    """How long its exchanges wait for a process."""

    @property
    def is_main_process(self) -> bool:
        """Whether this process logs, validates and writes checkpoints."""
        return self.rank == 0

    def shard(self, items: Sequence[T]) -> Sequence[tuple[int, T]]:
        """This process's items of an update's, with their indices."""
        return [(index, item) for index, item in enumerate(items) if index % self.world_size == self.rank]

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the process group of a few numbers."""
        if self.world_size > 1:
            dist.all_reduce(values, group=self.group)
        return values

    def gather(self, items: Sequence[tuple[int, T]]) -> list[T]:
        """The items of all processes, which :meth:`shard` has dealt out, in the order of their indices; any tensors are
        on the CPU."""
        found = self.every(list(items))
        return [item for _, item in sorted((each for part in found for each in part), key=lambda each: each[0])]

    def every(self, mine: T) -> list[T]:
        """What each process has, by rank; any tensors are on the CPU."""
        if self.world_size == 1:
            return [mine]
        found: list[T] = [mine] * self.world_size
        dist.all_gather_object(found, mine, group=self.group)
        return found

    def from_main(self, value: T) -> T:
        """What the main process has; what the others give is not looked at."""
        if self.world_size == 1:
            return value
        found = [value]
        dist.broadcast_object_list(found, src=0, group=self.group)
        return found[0]

    def barrier(self) -> None:
        """Until every process of the group is here."""
        if self.world_size > 1:
            dist.barrier(self.group)

    def meet(self) -> None:
        """As :meth:`barrier`, on the processors: who waits for another there comes back and can say so, while a GPU
        that waits takes its process with it."""
        self.sum(torch.zeros(()))

    def once_more(self) -> ProcessGroup:
        """The same processes, for exchanges that another thread makes meanwhile; tensors on the CPU alone. Every
        process calls it."""
        if self.world_size == 1:
            return self
        return replace(self, group=dist.new_group(backend="gloo", timeout=self.patience))


SINGLE_PROCESS = ProcessGroup()
"""A run of one process."""


class AnotherEnded(UserError):
    """Another process of the group has ended, so this one cannot go on."""


class NoAnswer(AnotherEnded):
    """Another process is slow or silent, or has ended where nobody sees it; this one can say which."""


def own_device(device: torch.device) -> torch.device:
    """The device of this process: of several GPUs that of its ``LOCAL_RANK``, unless ``device`` has a number."""
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", _number_in_environment("LOCAL_RANK", "0"))


def started_on_this_machine() -> bool:
    """Whether a torchrun on this machine has started the whole group, and sees for itself which process ends."""
    return dist.is_torchelastic_launched() and os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE")


@contextmanager
def join_process_group(device: torch.device, patience: timedelta = PATIENCE) -> Iterator[ProcessGroup]:
    """The process group that the environment describes (``RANK`` and ``WORLD_SIZE``, as torchrun sets them), or a group
    of one. ``device``: that of this process, from :func:`own_device`. ``patience``: how long exchanges wait.

    Raises:
        UserError: the environment does not say everything that ``torchrun`` sets.
        AnotherEnded: another process has ended.
        NoAnswer: another process has let this one wait for too long.
    """
    world_size = _number_in_environment("WORLD_SIZE", "1")
    if world_size == 1:
        yield ProcessGroup()
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise UserError(
            f"WORLD_SIZE is {world_size} in the environment, but {missing[0]} is not set: start with torchrun, "
            "which sets both, or unset WORLD_SIZE"
        )
    rank = _number_in_environment("RANK", "0")
    if not 0 <= rank < world_size:
        raise UserError(f"RANK is {rank} in the environment, and WORLD_SIZE {world_size}: ranks count from 0")
    from torch.distributed.rendezvous import rendezvous

    if device.type == "cuda":
        torch.cuda.set_device(device)
    store, rank, world_size = next(rendezvous("env://", timeout=PATIENCE))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        store=store,
        rank=rank,
        world_size=world_size,
        timeout=patience,
    )
    try:
        yield ProcessGroup(rank, world_size, patience=patience)
    except RuntimeError as error:
        if not _of_the_connection(error):
            raise
        raise _lost(store, rank, world_size, patience) from None
    finally:
        dist.destroy_process_group()


def _lost(store: Store, rank: int, world_size: int, patience: timedelta) -> AnotherEnded:
    """Why an exchange has failed: all processes that still can say so, and whose number is missing is to blame."""
    goes_on = "the same command goes on from the last checkpoint"
    notes = {str(each + 1): f"lost/{each}" for each in range(world_size)}
    missing: list[str] = []
    with suppress(RuntimeError):  # whoever keeps the store may have ended
        store.set(notes[str(rank + 1)], "")
        try:
            store.wait(list(notes.values()), min(LAST_CALL, patience / 2))
        except dist.DistStoreError:
            missing = [number for number, note in notes.items() if not store.check([note])]
    if not missing:
        return AnotherEnded(f"another process of this run has ended; {goes_on}")
    waited = f"has ended, or has not answered for {patience / timedelta(minutes=1):g} minutes (--patience)"
    return NoAnswer(f"process {' and '.join(missing)} of {world_size} {waited}; {goes_on}")


def end_at_once(code: int) -> NoReturn:
    """End a process of a group that was stopped in the middle of an exchange.

    Python would wait for gloo's threads to end, while one of those waits for Python's lock, to let go of what was being
    summed: such a process would never end.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _of_the_connection(error: RuntimeError) -> bool:
    """Whether processes lost each other. gloo's errors have no type of their own, but most name gloo's file."""
    return isinstance(error, dist.DistError) or any(words in str(error) for words in OF_GLOO)


def _number_in_environment(name: str, default: str) -> int:
    value = os.environ.get(name, default)
    if not value.isdigit():
        raise UserError(f"{name} is {value!r} in the environment: a whole number is needed; unset it, or use torchrun")
    return int(value)
