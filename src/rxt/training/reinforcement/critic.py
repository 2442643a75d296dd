"""The critic: what a question will earn, guessed from the interaction memorized before it and its query."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from rxt.data.collate import Rows, collate_rows
from rxt.data.template import Encoded
from rxt.model.encoder import Encoder, SharedEncoder


class Critic(nn.Module):
    """An encoder of its own, which starts as a copy of the model's, the mean over its tokens, and a value head."""

    def __init__(self, encoder: Encoder | SharedEncoder) -> None:
        super().__init__()
        self.encoder = deepcopy(encoder)
        self.value = nn.Linear(encoder.config.width, 1)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def forward(self, rows: Rows, slots: Tensor) -> Tensor:
        """Values (N,) of N questions; ``slots`` (L, N, S, D) is the memory before each, for encoders that read it."""
        encoded = self.encoder(rows.ids, rows.mask, slots if self.encoder.reads_memory else None)[
            -1
        ]  # (N, T, D), zeros at padding
        mean = encoded.sum(1) / rows.mask.sum(1, keepdim=True)
        return self.value(mean).squeeze(-1)


def critic_rows(before: Sequence[Sequence[int]], prompts: Sequence[Sequence[int]], pad: int) -> Rows:
    """What the critic reads: the saved interaction, then the query's prompt."""
    texts = [[*saved, *prompt] for saved, prompt in zip(before, prompts, strict=True)]
    return collate_rows([Encoded(ids, [False] * len(ids)) for ids in texts], pad)


def value_loss(values: Tensor, returns: Tensor) -> Tensor:
    """(value − return)² (N,)."""
    return torch.square(values - returns)
