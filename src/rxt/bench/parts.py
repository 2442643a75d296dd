"""Where the time of a computation goes: by part of the model, and by what is done there.

One call runs under PyTorch's profiler, in which the parts stand as ranges; what every operation takes by itself counts
for the innermost range around it. Watching takes time too, mostly between operations, so these times tell shares; the
medians come from calls that nobody watches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, TypeVar

from torch import nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from rxt.model.attention import Attention
from rxt.model.feed_forward import DenseFeedForward, MixtureOfExperts
from rxt.model.memory_attention import MemoryAttention
from rxt.training.learner import Learner
from rxt.training.together import Compute, Together

EMBEDDING, ATTENTION, FEED_FORWARD = "embedding", "attention", "feed-forward"
MEMORY_ATTENTION, HEADS, BETWEEN = "memory attention", "heads and losses", "norms and the rest"
GRADIENT, OPTIMIZER, CLIPPING = "gradient walk", "optimiser", "clipping and the rest"
RANGE = "rxt part: "
"""Opens the names of ranges."""
OF_LOSSES = ("aten::cross_entropy_loss", "_LinearCrossEntropy", "aten::amax", "aten::argmax")
"""Operations that are losses, wherever they are called."""
OF_OPTIMIZER = "Optimizer.step#"
"""Opens the names of PyTorch's own ranges around optimisers."""
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "addmv", "mv", "dot")
PRODUCT_WORDS = (
    "scaled_dot_product",
    "mkldnn_linear",
    "mkldnn_matmul",
    "int8pack_mm",
    "int4pack_mm",
    "_linear_pointwise",
)
MOVES = ("copy_", "cat", "fill_", "zero_", "index_select", "index_put_", "index_add_", "gather", "scatter_", "stack")
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Part:
    """Seconds of one part, and what they are made of."""

    name: str
    seconds: float
    products: float
    """In matrix products and attention."""
    moves: float
    """In copies, casts, gathering and filling with zeros."""
    others: float
    """In everything else that computes: norms, activations, sums, the optimiser."""
    overhead: float
    """Between operations: Python, dispatching, autograd's bookkeeping, the profiler."""


class MarkedTogether(Together[Learner]):
    """Trains as one process does; its forward pass and its gradient walk are ranges."""

    def backward(self, losses: Sequence[Compute], passes: int) -> None:
        for compute in losses:
            with record_function(RANGE + BETWEEN):
                loss = compute()
            with record_function(RANGE + GRADIENT):
                loss.backward()


@contextmanager
def marked(model: nn.Module, heads: Sequence[nn.Module]) -> Iterator[None]:
    """Inside, the parts of a model are ranges; the outermost counts for attention within memory attention."""
    memory = {id(inner) for outer in model.modules() if isinstance(outer, MemoryAttention) for inner in outer.modules()}
    changed: list[tuple[nn.Module, str]] = []

    def mark(module: nn.Module, part: str, *methods: str) -> None:
        for method in methods:
            setattr(module, method, _in_range(getattr(module, method), part))
            changed.append((module, method))

    for module in model.modules():
        if isinstance(module, MemoryAttention):
            mark(module, MEMORY_ATTENTION, "forward", "project", "write")
        elif id(module) in memory:
            continue
        elif isinstance(module, Attention):
            mark(module, ATTENTION, "forward", "keys_values")
        elif isinstance(module, DenseFeedForward | MixtureOfExperts):
            mark(module, FEED_FORWARD, "forward")
        elif isinstance(module, nn.Embedding):
            mark(module, EMBEDDING, "forward")
    for head in heads:
        mark(head, HEADS, "forward")
    try:
        yield
    finally:
        for module, method in changed:
            delattr(module, method)


def parts_of(run: Callable[[], object], otherwise: str) -> tuple[Part, ...]:
    """What a call's time goes into, the longest first; what lies in no range is named ``otherwise``."""
    with profile(activities=[ProfilerActivity.CPU]) as watched, record_function(RANGE + otherwise):
        run()
    spent: dict[str, list[float]] = {}
    for event in watched.events() or ():
        part = _part(event)
        if part is not None:
            kinds = spent.setdefault(part, [0.0] * 4)
            kinds[_kind(event)] += event.self_cpu_time_total / 1e6
    parts = [Part(name, sum(kinds), *kinds) for name, kinds in spent.items()]
    return tuple(sorted(parts, key=lambda part: -part.seconds))


def _in_range(method: Callable[P, R], part: str) -> Callable[P, R]:
    @wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with record_function(RANGE + part):
            return method(*args, **kwargs)

    return run


def _part(event: FunctionEvent | None) -> str | None:
    """The innermost range around an event; None outside of all."""
    while event is not None:
        if event.name.startswith(RANGE):
            return event.name.removeprefix(RANGE)
        if event.name.startswith(OF_OPTIMIZER):
            return OPTIMIZER
        if event.name in OF_LOSSES:
            return HEADS
        event = event.cpu_parent
    return None


def _kind(event: FunctionEvent) -> int:
    """0 a product, 1 a move, 2 another operation, 3 between operations: a range, or a node of autograd."""
    space, _, name = event.name.rpartition("::")
    if not space.startswith(("aten", "mkldnn")):
        return 3
    plain = name.strip("_")
    if plain in PRODUCTS or any(word in name for word in PRODUCT_WORDS):
        return 0
    return 1 if name in MOVES else 2


def heads_of(learner: Learner) -> list[nn.Module]:
    """The modules of a learner that make logits."""
    return [module for name, module in learner.named_modules() if name.rpartition(".")[2] in ("head", "mlm_head")]
