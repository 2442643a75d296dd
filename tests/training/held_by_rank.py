"""What one of two processes holds while they train a small model in parts: ``python held_by_rank.py STORE RANK`` prints
it as JSON, by stage."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from micro import AWARE, JOINT, MODEL, OPTIM, learner
from torch import Tensor

from rxt.bench.training import SameBatch, random_rows
from rxt.data.collate import Conversations
from rxt.training.corpus import Split
from rxt.training.learner import ReactiveLearner
from rxt.training.loop import update
from rxt.training.optim import make_optimizer
from rxt.training.patterns import ALL_PARTS
from rxt.training.process_group import ProcessGroup
from rxt.training.stages.base import StageLoss
from rxt.training.stages.joint import joint_loss
from rxt.training.stages.memory_aware import memory_aware_loss
from rxt.training.together import Sharded

RANKS, ROWS, TURNS = 2, 3, 4
"""Processes; rows or conversations of each one's micro-batch; and their turns."""
OF_JOINT = replace(JOINT, steps=1, batch_size=RANKS * ROWS, optim=replace(OPTIM, accumulate=RANKS))
OF_AWARE = replace(
    AWARE,
    phases=(replace(AWARE.phases[-1], steps=1, turns=TURNS, batch_size=RANKS * ROWS),),
    optim=replace(OPTIM, accumulate=RANKS),
)


class Watched(SameBatch[Any, Any]):
    """The same batch, as long as the model takes, for each process; it says which storages are weights."""

    def batches(self, split: Split, step: int) -> list[Any]:
        return [self.batch] * RANKS

    def loss(
        self, learner: ReactiveLearner, batch: Any, all_batches: list[Any], generator: torch.Generator
    ) -> StageLoss:
        weights.update(parameter.untyped_storage().data_ptr() for parameter in learner.parameters())
        return super().loss(learner, batch, all_batches, generator)


weights = set[int]()
"""Where whole weights lie while a loss is computed."""


def local_bytes(tensors: Iterable[Tensor]) -> int:
    """Of the parts that are here."""
    from torch.distributed.tensor import DTensor

    return sum((tensor.to_local() if isinstance(tensor, DTensor) else tensor).nbytes for tensor in tensors)


def held(stage: Watched, rank: int) -> dict[str, int]:
    """Bytes after an update, and of what its forward pass has kept."""
    subject = Sharded(learner(), ProcessGroup(rank, RANKS), torch.device("cpu"))
    optimizer = make_optimizer(subject.learner, OPTIM)
    kept = dict[int, Tensor]()

    def pack(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        update(stage, subject.learner, optimizer, 0, 0, subject)
    parameters = list(subject.learner.parameters())
    return {
        "weights": local_bytes(parameters),
        "gradients": local_bytes(each.grad for each in parameters if each.grad is not None),
        "optimiser": local_bytes(
            value for part in optimizer.parts for state in part.state.values() for value in state.values()
        ),
        "activations": sum(each.untyped_storage().nbytes() for place, each in kept.items() if place not in weights),
    }


def main() -> None:
    store, rank = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS)
    model, tokens = learner().model, MODEL.max_length
    rows = random_rows(model, ROWS, tokens, seed=1, answers=False)
    talks = Conversations(random_rows(model, ROWS * TURNS, tokens, seed=1, answers=False), (ROWS,) * TURNS)
    joint = Watched("joint", OF_JOINT, rows, ("decoder", "encoder"), True, joint_loss)
    aware = Watched("memory_aware", OF_AWARE, talks, ALL_PARTS, False, memory_aware_loss)
    print(json.dumps({stage.name: held(stage, rank) for stage in (joint, aware)}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
