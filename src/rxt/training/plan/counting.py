"""What a computation keeps for its backward pass, and how many operations it makes, on tensors that hold no numbers.

PyTorch's fake tensors are meta tensors that know a device: the model's own code runs on them, by the paths that it
takes on that device, and nothing is computed or stored. So a model of any size is counted on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode

from rxt.model.feed_forward import MixtureOfExperts
from rxt.model.replace import replace_modules, take_over

FLOAT32, BFLOAT16 = 4, 2
"""Bytes of a weight, a gradient, a moment, and of the pass that is counted; and of what products are computed in."""


@dataclass(frozen=True)
class Cost:
    """Of one computation, forward and backward. Costs add up; what is multiplied is done so many times."""

    numbers: float = 0.0
    """Floats kept for the backward pass, in the type that products are computed in."""
    exact: float = 0.0
    """Bytes kept besides, whatever that type is: losses, which are in float32, masks and indices."""
    passing: float = 0.0
    """Bytes of the logits' gradients, when the backward pass begins and all the rest is still kept."""
    forward: float = 0.0
    """Operations of the matrix products; a multiply–add counts as two."""
    backward: float = 0.0
    """The same, of the backward pass."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.numbers + other.numbers,
            self.exact + other.exact,
            self.passing + other.passing,
            self.forward + other.forward,
            self.backward + other.backward,
        )

    def __mul__(self, times: float) -> Cost:
        return Cost(
            self.numbers * times, self.exact * times, self.passing * times, self.forward * times, self.backward * times
        )

    @property
    def flops(self) -> float:
        """Operations of both passes."""
        return self.forward + self.backward

    def kept(self, number_bytes: int) -> float:
        """Bytes kept for the backward pass, where a number takes so many."""
        return self.numbers * number_bytes + self.exact

    def most(self, number_bytes: int) -> float:
        """Bytes when the backward pass begins."""
        return self.kept(number_bytes) + self.passing

    def without_gradient(self) -> Cost:
        """The same computation where nothing learns: nothing is kept, and nothing goes backward."""
        return Cost(forward=self.forward)

    def computed_again(self) -> Cost:
        """The same where its backward pass, if it has one, begins with the forward pass once more; what that keeps is
        counted apart."""
        return Cost(forward=(2 if self.backward else 1) * self.forward, backward=self.backward)


def counted(run: Callable[[], Sequence[Tensor]], module: nn.Module) -> tuple[list[Tensor], Cost]:
    """Run a computation and its backward pass.

    Args:
        module: what it computes with. Parameters and buffers are no activations, so they are not counted.

    Returns:
        Its outputs, cut off from it, which want a gradient where they did, and its cost.
    """
    kept = _Kept(module)
    with _counter() as forward, torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
        outputs = list(run())
    learning = [output for output in outputs if output.requires_grad]
    with _counter() as backward:
        if learning:
            torch.autograd.backward(learning, [torch.empty_like(output) for output in learning])
    cost = Cost(
        numbers=kept.numbers,
        exact=kept.exact,
        forward=forward.get_total_flops(),
        backward=backward.get_total_flops(),
    )
    return [output.detach().requires_grad_(output.requires_grad) for output in outputs], cost


class _Kept:
    """What autograd keeps, each storage once."""

    def __init__(self, module: nn.Module) -> None:
        self.numbers, self.exact = 0.0, 0.0
        self._seen = {StorageWeakRef(each.untyped_storage()) for each in (*module.parameters(), *module.buffers())}

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if (reference := StorageWeakRef(storage)) not in self._seen:
            self._seen.add(reference)
            if tensor.is_floating_point() or tensor.is_complex():
                self.numbers += storage.nbytes() / FLOAT32
            else:
                self.exact += storage.nbytes()
        return tensor


class OneProduct(MixtureOfExperts):
    """Experts for counting. Which rows an expert gets is not known where there are no numbers; however they are dealt
    out, as much is kept and multiplied as if one expert took them all."""

    def __init__(self, original: MixtureOfExperts) -> None:
        with torch.device("meta"):
            super().__init__(original.router.weight.shape[1], original.config)
        take_over(self, original)

    def _by_group(self, rows: Tensor, stacked: Any, ends: Tensor) -> Tensor:
        return rows @ stacked[0]

    def _add_by_group(self, rows: Tensor, bias: Tensor, experts: Tensor, ends: Tensor) -> Tensor:
        return rows + bias[0]


def countable(module: nn.Module) -> None:
    """Put experts that can be counted in the place of a module's own, around the same weights."""
    replace_modules(module, {MixtureOfExperts: OneProduct})


def attention_flops(query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object) -> int:
    """q·kᵀ, and the weights times v; what a causal mask hides counts too, as PyTorch's counter has it."""
    batch, heads, tokens, size = query
    return 2 * batch * heads * tokens * key[-2] * (size + value[-1])


def attention_backward_flops(
    gradient: torch.Size, query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object
) -> int:
    """Five products for the two of the forward pass: one of them is computed again."""
    return 5 * attention_flops(query, key, value) // 2


ATTENTION_FLOPS: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_flops,
}
"""For a processor's fused attention, of which PyTorch's counter knows nothing, what it counts for that of a GPU."""


def _counter() -> FlopCounterMode:
    return FlopCounterMode(display=False, custom_mapping=ATTENTION_FLOPS)
