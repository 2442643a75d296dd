"""Training with compiled layers: ``torch.compile`` of each layer of decoder, encoder and memory attention.

A layer at a time, since layers of one kind take the same code, however many there are: their weights are given to it.
A layer with experts is compiled up to their products and between them (:mod:`rxt.model.learned_groups`).
What stands around them stays as it is, so that a walk over any number of turns, a gradient that is cut, activations
that are computed again and processes that hold parts need nothing of the compiler.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import nn

from rxt.errors import UserError
from rxt.model.consolidation import MemoryAttentionLayer
from rxt.model.decoder import DecoderLayer
from rxt.model.encoder import EncoderLayer

MOST_VARIANTS = 128
"""Pieces of code: kinds of layers, times what phases freeze, with and without memory, masks, gradients. PyTorch's own
limit, 8, would leave the ninth as it is."""


def compile_layers(learner: nn.Module, backend: str = "inductor") -> None:
    """Have every layer compiled when it is next called; for lengths and batches of any size. Copies of the learner are
    not compiled. ``backend``: PyTorch's, by its name.
    """
    import torch._dynamo.config as config

    # Of layers that processes hold parts of, PyTorch would only ask what class they are; ours differ within one, and
    # phases freeze them.
    config.skip_fsdp_guards = False
    config.optimize_ddp = False  # which would split what is one layer in any case
    for module in learner.modules():
        if isinstance(module, DecoderLayer | EncoderLayer | MemoryAttentionLayer):
            module.compile(dynamic=True, backend=backend, recompile_limit=MOST_VARIANTS)


def as_written() -> AbstractContextManager[None]:
    """A context in which compiled layers are run as they are written: answers grow token by token, and a validation is
    too short to compile for."""
    return torch.compiler.set_stance("force_eager")


def check_compiler() -> None:
    """Refuse to compile where there is no C++ compiler, which is needed on GPUs too.

    Raises:
        UserError: there is none.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except RuntimeError:
        raise UserError(
            "--compiled: no C++ compiler is found; install one (CXX names it), or leave --compiled out"
        ) from None
