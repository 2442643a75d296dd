"""A decoder's step as compiled code: one piece for every number of rows and length of the cache, made when it is first
needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.model.attention import KeyValue
    from rxt.model.cache import KVCache
    from rxt.model.decoder import Decoder

    Step = Callable[[Decoder, Tensor, Tensor, list[KeyValue], KVCache], Tensor]

SHORTEST_CACHE = 256
"""Tokens that the cache of a compiled step has room for at least, where the model takes so many."""
MOST_ROWS = 4
"""On a processor, conversations a step up to which compiled code is the faster: the products of more are the library's
in any case."""
MOST_SHAPES = 64
"""Pieces of code a decoder: numbers of rows times lengths of the cache. PyTorch's own limit, 8, would leave the ninth
uncompiled."""
_steps: WeakKeyDictionary[Decoder, Step] = WeakKeyDictionary()


def compiled_step(decoder: Decoder) -> Step:
    """``Decoder.step`` compiled for this decoder alone, whose modules must stay as they are (its weights may
    change)."""
    if decoder not in _steps:
        _steps[decoder] = _refusing_plainly(compile_step(decoder, "inductor"))
    return _steps[decoder]


def compile_step(decoder: Decoder, backend: str | Callable[..., Any]) -> Step:
    """What :func:`compiled_step` keeps, by any backend of PyTorch's; a graph break is an error.

    PyTorch would look through all modules before each step, to see that none has changed: a sixth to a third of the
    time of a small model's. So every decoder has code of its own, and only what the step is given is looked at.
    """
    return torch.compile(  # type: ignore[call-overload]  # the overloads of 2.13 do not have the last two
        type(decoder).step,
        dynamic=False,
        fullgraph=True,
        backend=backend,
        options={"guard_filter_fn": _what_is_given},
        isolate_recompiles=True,
        recompile_limit=MOST_SHAPES,
    )


@torch.inference_mode()
def plain_step(decoder: Decoder, ids: Tensor, positions: Tensor, memory: list[KeyValue], cache: KVCache) -> Tensor:
    """``Decoder.step`` as it is, without the bookkeeping that gradients would need: a tenth of the time of a small
    model's."""
    return decoder.step(ids, positions, memory, cache)


def pays(rows: int, device: torch.device) -> bool:
    """Whether a compiled step of so many conversations is faster than one that is not."""
    return device.type != "cpu" or rows <= MOST_ROWS


def cache_length(needed: int, limit: int) -> int:
    """A compiled step is compiled once for every length of its cache: there are few, each twice the one before."""
    length = SHORTEST_CACHE
    while length < needed:
        length *= 2
    return min(limit, length)


def cache_lengths(limit: int) -> list[int]:
    """All that there are, in a model that takes so many tokens."""
    return sorted({cache_length(needed, limit) for needed in range(1, limit + 1)})


def _refusing_plainly(step: Step) -> Step:
    """The same step, which says in one line what is missing where it cannot be compiled."""

    def take(decoder: Decoder, ids: Tensor, positions: Tensor, memory: list[KeyValue], cache: KVCache) -> Tensor:
        try:
            return step(decoder, ids, positions, memory, cache)
        except RuntimeError as error:
            from torch._inductor.exc import InductorError

            if not isinstance(error, InductorError):
                raise
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise UserError(
                f"the steps cannot be compiled: {reason}; install a C++ compiler (CXX names it), or go on without"
            ) from None

    return take


def _what_is_given(guards: Sequence[Any]) -> list[bool]:
    """Which of PyTorch's guards are kept: those of PyTorch's own state (threads, gradients) and of tensors that are not
    the decoder's."""
    return [
        guard.guard_type in ("GLOBAL_STATE", "SHAPE_ENV")
        or (guard.guard_type == "TENSOR_MATCH" and not guard.is_global and not guard.name.startswith("self"))
        for guard in guards
    ]
