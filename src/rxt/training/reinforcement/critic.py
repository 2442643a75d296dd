"""The critic: what a question will earn, guessed from the interaction memorized before it and its query."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor

from rxt.data.collate import Rows, collate_rows
from rxt.data.template import Encoded
from rxt.model.classifier import SequenceClassifier
from rxt.model.encoder import Encoder, SharedEncoder


def make_critic(encoder: Encoder | SharedEncoder) -> SequenceClassifier:
    """A classifier with one output, the value. Its encoder is its own, and starts as a copy of the model's."""
    return SequenceClassifier(deepcopy(encoder), 1)


def critic_rows(before: Sequence[Sequence[int]], prompts: Sequence[Sequence[int]], pad: int) -> Rows:
    """What the critic reads: the saved interaction, then the query's prompt."""
    texts = [[*saved, *prompt] for saved, prompt in zip(before, prompts, strict=True)]
    return collate_rows([Encoded(ids, [False] * len(ids)) for ids in texts], pad)


def value_loss(values: Tensor, returns: Tensor) -> Tensor:
    """(value − return)² (N,)."""
    return torch.square(values - returns)
