"""Copies of a module that share its weights, and other modules in the place of some of theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)
Table = Mapping[type[nn.Module], Callable[[Any], nn.Module]]
"""What makes the module that takes the place of one of exactly this class, out of it."""


def share_copy(module: Module) -> Module:
    """The same modules once more around the same tensors: what is replaced in the copy stays in the original."""
    tensors = [*module.parameters(), *module.buffers()]
    return deepcopy(module, {id(tensor): tensor for tensor in tensors})


def replace_modules(module: nn.Module, table: Table, kept: tuple[str, ...] = ()) -> None:
    """Put other modules in the place of those whose class is in the table, innermost first.

    Those named ``kept`` stay, and all that they hold.
    """
    for name, child in list(module.named_children()):
        if name not in kept:
            replace_modules(child, table, kept)
            make = table.get(type(child))
            if make is not None:
                setattr(module, name, make(child))


def take_over(module: nn.Module, original: nn.Module) -> None:
    """Give a module the parameters, buffers and parts of another, under the same names, in the place of its own."""
    module.training = original.training
    for name, buffer in original.named_buffers(recurse=False):
        module.register_buffer(name, buffer)
    for name, inner in [*original.named_parameters(recurse=False), *original.named_children()]:
        if hasattr(module, name):
            delattr(module, name)
        setattr(module, name, inner)
