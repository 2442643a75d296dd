"""What is computed from a model's weights, such as its fingerprint, and kept until one of them changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

from torch import nn

T = TypeVar("T")
WeightState = tuple[tuple[int, int], ...]
"""Where every weight stands, and how often it was written to."""

_KEPT: WeakKeyDictionary[nn.Module, dict[str, tuple[WeightState, object]]] = WeakKeyDictionary()


def from_weights(module: nn.Module, name: str, make: Callable[[], T], shared: bool = False) -> T:
    """What ``make()`` returned last under ``name`` for this module, or returns now if a weight has changed since.

    ``shared``: it holds the weights themselves, so that only other tensors in their place are a change.
    """
    kept, state = _KEPT.setdefault(module, {}), weight_state(module)
    if shared:
        state = tuple((place, 0) for place, _ in state)
    if name not in kept or kept[name][0] != state:
        kept[name] = (state, make())
    return kept[name][1]  # type: ignore[return-value]  # what is kept under a name is always of one type


def forget(module: nn.Module) -> None:
    """Keep nothing any longer: for weights that may have been written to without a trace, as fused optimizers do."""
    _KEPT.pop(module, None)


def weight_state(module: nn.Module) -> WeightState:
    """A value that changes whenever a weight does; finding it out costs next to nothing."""
    weights = [*module.parameters(), *module.buffers()]
    return tuple((weight.data_ptr(), -1 if weight.is_inference() else weight._version) for weight in weights)
