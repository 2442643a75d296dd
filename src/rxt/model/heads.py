"""The masked-language-model head, used in training only."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class MLMHead(nn.Module):
    """Linear(D, D) → GELU → LayerNorm → Linear(D, V)."""

    def __init__(self, width: int, vocab_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits (…, V) of hidden states (…, D)."""
        return self.head(self.states(hidden))

    def states(self, hidden: Tensor) -> Tensor:
        """What the last linear layer reads (…, D), for losses that come with their logits."""
        return self.norm(F.gelu(self.dense(hidden)))
