"""Markers for thinking, calls and results in a vocabulary that was made without them: special tokens of a pre-trained
model that its chat template does not write."""

from __future__ import annotations

import torch

from rxt.config import SpecialTokens
from rxt.data.markup import SAID
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.interop.backbone import Backbone

ALIKE = 0.05
"""Of a token's length: rows of the head that are no further apart are those of tokens that were never learned."""


def with_parts(tokenizer: ChatTokenizer, backbone: Backbone) -> ChatTokenizer:
    """The tokenizer of a base, with markers for the parts of the template ``beta`` among its tokens. Those that the
    model says are tokens that it can tell from all others.

    Raises:
        UserError: the base has too few special tokens that it has no use for, or none that can be told apart.
    """
    rows = backbone.decoder.head.weight.detach()[list(tokenizer.unused)]  # (N, D)
    apart = torch.cdist(rows, rows).fill_diagonal_(torch.inf) if len(rows) else rows.new_empty(0, 0)
    own = [bool(distances.min() > ALIKE * row.norm()) for distances, row in zip(apart, rows, strict=True)]
    told_apart = [token for token, distinct in zip(tokenizer.unused, own, strict=True) if distinct][: len(SAID)]
    left = [token for token in tokenizer.unused if token not in told_apart]
    if len(told_apart) < len(SAID) or not left:
        raise UserError(
            f"{tokenizer.source}: has {len(tokenizer.unused)} special tokens that it has no use for, {len(told_apart)} "
            f"of them unlike each other; thinking and tools need {len(SAID) + 1}, {len(SAID)} unlike each other: take "
            "another base"
        )
    return tokenizer.having(SpecialTokens(**dict(zip(SAID, told_apart, strict=True)), tool_use=left[0]))
