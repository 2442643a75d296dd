"""Several processes that train one model: each takes some micro-batches of an update, and the gradients are summed.

The sum over the process group is the gradient of the whole update, as the same micro-batches in one process would give
it. The group is what ``torchrun`` has started (``RANK``, ``WORLD_SIZE`` and the address of rank 0 are in the
environment), or what ``rxt train --workers N`` starts: the main process, and N − 1 others with the same command line.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rxt.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run. A run of one process is a group of one, and nothing is exchanged."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this process logs, validates and writes checkpoints."""
        return self.rank == 0

    def shard(self, items: Sequence[T]) -> Sequence[tuple[int, T]]:
        """This process's items of an update's, with their indices."""
        return [(index, item) for index, item in enumerate(items) if index % self.world_size == self.rank]

    @torch.no_grad()
    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients of everything that learns, in one exchange; a parameter that a process did not use counts
        as zero."""
        if self.world_size == 1:
            return
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in learning]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for parameter, part in zip(learning, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            parameter.grad = part.view_as(parameter)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the process group of a few numbers."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, items: Sequence[tuple[int, T]]) -> list[T]:
        """The items of all processes, which :meth:`shard` has dealt out, in the order of their indices; any tensors are
        on the CPU."""
        if self.world_size == 1:
            return [item for _, item in items]
        found: list[list[tuple[int, T]]] = [[] for _ in range(self.world_size)]
        dist.all_gather_object(found, list(items))
        return [item for _, item in sorted((each for part in found for each in part), key=lambda each: each[0])]

    def barrier(self) -> None:
        """Until every process of the group is here."""
        if self.world_size > 1:
            dist.barrier()


SINGLE_PROCESS = ProcessGroup()
"""A run of one process."""


@contextmanager
def with_workers(workers: int, argv: list[str]) -> Iterator[None]:
    """Inside the block this process is the main one of ``workers``; the others run ``rxt`` with the same arguments,
    silently."""
    if workers == 1 or "WORLD_SIZE" in os.environ:
        yield
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"WORLD_SIZE": str(workers), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    helpers = [
        subprocess.Popen(
            [sys.executable, "-m", "rxt", *argv],
            env={**os.environ, **place, "RANK": str(rank), "OMP_NUM_THREADS": threads},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in range(1, workers)
    ]
    torch.set_num_threads(int(threads))
    os.environ.update(place, RANK="0")
    try:
        yield
    finally:
        for name in (*place, "RANK"):
            del os.environ[name]
        for helper in helpers:
            helper.terminate()
            helper.wait()


@contextmanager
def join_process_group(device: torch.device) -> Iterator[ProcessGroup]:
    """The process group that the environment describes (``RANK`` and ``WORLD_SIZE``, as torchrun sets them), or a group
    of one.

    Raises:
        UserError: the environment does not say everything that ``torchrun`` sets, or another process has ended.
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
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield ProcessGroup(dist.get_rank(), world_size)
    except dist.DistError as error:
        raise UserError(
            f"another process of this run has ended ({error}); the same command goes on from the last checkpoint"
        ) from None
    finally:
        dist.destroy_process_group()


def _number_in_environment(name: str, default: str) -> int:
    value = os.environ.get(name, default)
    if not value.isdigit():
        raise UserError(f"{name} is {value!r} in the environment: a whole number is needed; unset it, or use torchrun")
    return int(value)
