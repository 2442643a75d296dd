"""One of two processes that learn together: the first is interrupted while gradients are exchanged, and then the other
dies. The arguments: a folder that both know, and the rank."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rxt.training.process_group import ProcessGroup
from rxt.training.together import Replicated


class Interrupted(torch.autograd.Function):
    """Is interrupted in its backward."""

    @staticmethod
    def forward(ctx: Any, states: Tensor) -> Tensor:
        return states.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise KeyboardInterrupt


class Layers(nn.Module):
    """Two that are exchanged one after the other, as each is more than a bucket holds."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(1024, 2048), nn.Linear(2048, 1024)


def learn(learner: Any, rank: int, interrupted: Path) -> None:
    subject = Replicated(learner, ProcessGroup(rank, 2), "float32")
    subject.backward([lambda: learner.second(learner.first(torch.ones(1, 1024))).sum()], passes=1)
    if rank == 1:
        while not interrupted.exists():
            time.sleep(0.01)
        time.sleep(1.0)  # by now the other waits for this process
        os._exit(0)
    try:
        subject.backward([lambda: learner.second(Interrupted.apply(learner.first(torch.ones(1, 1024)))).sum()], 1)
    finally:
        interrupted.touch()
        dist.destroy_process_group()


def main(folder: Path, rank: int) -> int:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    try:
        learn(Layers(), rank, folder / "interrupted")
    except KeyboardInterrupt:
        return 130  # with the traceback everything goes that took part
    raise AssertionError("not interrupted")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
