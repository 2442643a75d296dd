"""Tensors in a folder of safetensors files, of which each process writes its own part and reads what it needs.

They are files of PyTorch's distributed checkpoints, so that any number of processes can read what any other number has
written; in the form for safetensors, so that nothing is ever unpickled.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor

from rxt.errors import UserError


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A copy on the CPU, of this process's parts, that training does not change."""
    from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

    nothing_special = StagingOptions(
        use_pinned_memory=False, use_shared_memory=False, use_async_staging=False, use_non_blocking_copy=False
    )
    stager = DefaultStager(nothing_special)
    try:
        return cast("dict[str, Tensor]", stager.stage(tensors))
    finally:
        stager.close()


def write_shards(folder: Path, tensors: dict[str, Tensor], group: dist.ProcessGroup | None) -> None:
    """Write tensors of which each process holds a part. Every process calls it, and the folder is there.

    ``group``: the processes, for what they exchange; None is the group of the training.

    Raises:
        OSError: a process cannot write; raised in all of them.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    try:
        writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
        save(tensors, storage_writer=writer, process_group=group)
    except CheckpointException as error:
        causes = [cause for cause, _ in error.failures.values()]
        raise next((cause for cause in causes if isinstance(cause, OSError)), causes[0]) from None


def read_shards(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Fill tensors with those of the folder that have their names, each process its part; whole tensors are read
    whole.

    Raises:
        UserError: one is missing, or has another shape.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    sizes = sizes_of(folder)
    for name, tensor in tensors.items():
        if sizes.get(name) != tensor.shape:
            found = "is missing" if name not in sizes else f"has the shape {tuple(sizes[name])}"
            raise UserError(f"{folder}: {name} {found}, not {tuple(tensor.shape)}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        # each process finds for itself what to read, so they need not agree on it
        load(tensors, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=True)


def sizes_of(folder: Path) -> dict[str, torch.Size]:
    """The shapes of the folder's tensors, whole, by name."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    found = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {name: each.size for name, each in found.items() if isinstance(each, TensorStorageMetadata)}
