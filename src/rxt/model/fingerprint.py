"""A short name for a model's weights, which every memory that they make carries."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from rxt.model.weight_cache import from_weights

DIGITS = 16


def fingerprint(module: nn.Module) -> str:
    """16 hexadecimal digits that change with any weight; in evaluation computed again only after one has changed."""
    if module.training:
        return digest(module)
    return from_weights(module, "fingerprint", lambda: digest(module))


def digest(module: nn.Module) -> str:
    """The first digits of the SHA-256 of every parameter and buffer: its name, type, shape and bytes."""
    found = hashlib.sha256()
    for name, weight in [*module.named_parameters(), *module.named_buffers()]:
        found.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        # a copy: numpy would pin the weight's own memory, which sharded training frees and takes again
        found.update(weight.detach().to("cpu", copy=True).flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()[:DIGITS]
