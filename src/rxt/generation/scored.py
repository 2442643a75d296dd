"""Answers drawn to learn from them: many rows together, each token with its log-probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rxt.errors import UserError
from rxt.generation.decode import check_prompt, decode_loop, steps_left
from rxt.model.memory import Memory

if TYPE_CHECKING:
    from rxt.model.reactive import ReactiveTransformer

LOOK_EVERY = 4
"""Steps between two looks at which rows have ended; those are left out from there on."""


@dataclass(frozen=True)
class Sampled:
    """What was drawn for B prompts, and how likely each token was."""

    tokens: Tensor
    """(B, steps): the new tokens, [EOS] included; −1 after a row's end."""
    log_probabilities: Tensor
    """(B, steps): log p of each token under the temperature that it was drawn with; 0 after a row's end."""


@torch.no_grad()
def generate_scored(
    model: ReactiveTransformer,
    ids: Tensor,
    memory: Memory,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    mask: Tensor | None = None,
) -> Sampled:
    """Draw continuations of prompts (B, T), ``mask`` (B, T) False at padding on the right, until [EOS] or
    ``max_new_tokens``.

    They come from the model's whole distribution, without filters and penalties, so that what a trainer computes anew
    is the very distribution that was drawn from. The same seed draws the same tokens.

    Raises:
        UserError: the temperature is not above 0, there is no room for a token, or as ``generate``.
    """
    if temperature <= 0:
        raise UserError(f"temperature must be above 0 where answers are drawn to learn from them, found {temperature}")
    check_prompt(model, ids, memory, max_new_tokens, mask)
    batch_size, steps = ids.shape[0], steps_left(model, ids, mask, max_new_tokens)
    if steps < 1:
        raise UserError(
            "there is no room for an answer: shorten the prompts, or let answers be one token long at least"
        )
    generator = torch.Generator(ids.device).manual_seed(seed)
    tokens = ids.new_full((batch_size, steps), -1)
    dtype = torch.promote_types(memory.slots.dtype, torch.float32)
    found = torch.zeros(batch_size, steps, device=ids.device, dtype=dtype)
    likely: list[Tensor] = []

    def choose(logits: Tensor, _: Tensor) -> Tensor:
        scores = (logits.to(dtype) / temperature).log_softmax(-1)
        drawn = draw(scores, generator)
        likely.append(scores.gather(-1, drawn[:, None]).squeeze(-1))
        return drawn

    loop = decode_loop(model, ids, memory, max_new_tokens, choose, mask, look_every=LOOK_EVERY, leave_out=True)
    for step, (rows, chosen) in enumerate(loop):
        tokens[rows, step], found[rows, step] = chosen, likely[step]
    used = int((tokens >= 0).any(0).sum())
    return Sampled(tokens[:, :used], found.masked_fill(tokens < 0, 0.0)[:, :used])


def draw(scores: Tensor, generator: torch.Generator) -> Tensor:
    """One token a row by its log-probabilities (B, V) -> (B,): where the sum of probabilities passes a number drawn
    from (0, 1]."""
    sums = scores.exp().cumsum(-1)
    drawn = 1 - torch.rand(scores.shape[0], 1, generator=generator, device=scores.device, dtype=scores.dtype)
    return torch.searchsorted(sums, drawn * sums[:, -1:]).squeeze(-1)
