"""Copies of a module that share its weights, and other modules in the place of some of theirs."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TypeVar

from torch import Tensor, nn

from rxt.model.feed_forward import MixtureOfExperts

Module = TypeVar("Module", bound=nn.Module)


def share_copy(module: Module) -> Module:
    """The same modules once more around the same tensors: what is replaced in the copy stays in the original."""
    tensors = [*module.parameters(), *module.buffers()]
    return deepcopy(module, {id(tensor): tensor for tensor in tensors})


def replace_matrices(
    module: nn.Module,
    linear: Callable[[nn.Linear], nn.Module],
    stack: Callable[[Tensor], nn.Module],
    kept: tuple[str, ...] = (),
) -> None:
    """Put other modules in the place of linear layers, but those named ``kept``, and of routed experts' matrices."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and name not in kept:
                setattr(parent, name, linear(child))
        if isinstance(parent, MixtureOfExperts):
            for name in ("w1", "w2"):
                stacked = getattr(parent, name)
                if isinstance(stacked, nn.Parameter):
                    delattr(parent, name)
                    setattr(parent, name, stack(stacked))
