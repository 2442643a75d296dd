"""Two processes write a checkpoint in parts, of which the second finds the disk full: ``python full_for_one.py FOLDER
RANK`` prints what its user is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from micro import OPTIM, learner

from rxt.errors import UserError
from rxt.training.checkpoint import Checkpoints, StageState
from rxt.training.optim import make_optimizer
from rxt.training.process_group import ProcessGroup
from rxt.training.together import Sharded

folder, rank = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
group = ProcessGroup(rank, 2)
subject = Sharded(learner(), group, torch.device("cpu"))
optimizer = make_optimizer(subject.learner, OPTIM)
checkpoints = Checkpoints(folder / "stage", 2, group.once_more(), sharded=True)
checkpoints.save(subject.learner, optimizer, StageState(1))


def full(_: int) -> None:
    raise OSError(28, "No space left on device")


if rank:
    os.fsync = full
try:
    checkpoints.save(subject.learner, optimizer, StageState(2))
except UserError as error:
    print(error)
group.barrier()
dist.destroy_process_group()
