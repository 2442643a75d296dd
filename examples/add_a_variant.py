"""Add a memory-attention variant of your own, with one class and one line: ``python examples/add_a_variant.py``.

Here slots look at the mean of their own layer's memory before an interaction is written into them.
"""

from dataclasses import replace

import torch
from torch import Tensor

import rxt
from rxt.config import VARIANTS, MemoryAttentionConfig
from rxt.config.variants import Variant
from rxt.model.consolidation import GatedLayer


class PullToTheMean(GatedLayer):
    """Every slot moves towards the mean of its layer's slots, as far as a gate lets it."""

    def __init__(self, config: MemoryAttentionConfig) -> None:
        super().__init__(config)
        self.pull = self.new_gate(config.gate)

    def consolidate(self, memory: Tensor, mean: Tensor | None) -> Tensor:
        return self.pull(memory, memory.mean(dim=1, keepdim=True).expand_as(memory))  # (B, S, D)


def main() -> None:
    VARIANTS["pull-to-the-mean"] = Variant(f"{__name__}:PullToTheMean")  # the one line

    pocket = rxt.RxTConfig.preset("pocket")
    attention = replace(pocket.memory_attention, variant="pull-to-the-mean")
    model = rxt.ReactiveTransformer(replace(pocket, memory_attention=attention)).eval()

    memory = model.init_memory(batch_size=2, seed=0)  # (L, B, S, D)
    with torch.no_grad():
        updated = model.memorize(memory, torch.randint(10, 100, (2, 12)))
    print("slots", tuple(updated.slots.shape), "moved by", f"{(updated.slots - memory.slots).abs().mean():.4f}")


if __name__ == "__main__":
    main()
