"""Memory updates of many conversations together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rxt.errors import UserError
from rxt.model.memory import Memory

if TYPE_CHECKING:
    from rxt.model.reactive import ReactiveTransformer

MOST_PADDING = 1.25
"""Conversations are updated together as long as the longest interaction is at most so many times the shortest."""


@torch.no_grad()
def memorize_together(
    model: ReactiveTransformer, memories: Sequence[Memory], interactions: Sequence[Sequence[int]]
) -> list[Memory]:
    """Merge one finished interaction (token ids, of any length) into each memory (B = 1): the new memories, in order.

    Interactions of like length share a batch, so little of it is padding. Each memory is what ``model.memorize`` makes
    of it alone.

    Raises:
        UserError: numbers differ, an interaction is empty, or a memory holds several conversations or is another
        model's.
    """
    if len(memories) != len(interactions):
        raise UserError(f"{len(memories)} memories need as many interactions, found {len(interactions)}")
    if any(memory.batch_size != 1 for memory in memories):
        raise UserError(
            "memorize_together takes memories of one conversation each; memory.select(i) takes one out of a batch"
        )
    if not all(map(len, interactions)):
        raise UserError("an interaction has at least one token")
    updated: dict[int, Memory] = {}
    for group in by_length([len(interaction) for interaction in interactions]):
        together = Memory.stack([memories[index] for index in group])
        new = model.memorize(together, *padded(model, [interactions[index] for index in group]))
        updated |= {index: new.select(row) for row, index in enumerate(group)}
    return [updated[index] for index in range(len(memories))]


def padded(model: ReactiveTransformer, texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor | None]:
    """Token ids of several texts as one batch (B, T) where the model is, and the mask (B, T) that is False at padding,
    None where there is no padding."""
    lengths = torch.tensor([len(text) for text in texts])
    longest = int(lengths.max())
    ids = torch.full((len(texts), longest), model.config.tokens.pad)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
    mask, device = torch.arange(longest) < lengths[:, None], model.decoder.embedding.weight.device
    return ids.to(device), None if bool(mask.all()) else mask.to(device)


def by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Indices, the shortest first, in groups of like length."""
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if groups and lengths[index] <= MOST_PADDING * lengths[groups[-1][0]]:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
