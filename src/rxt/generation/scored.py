"""Answers drawn to learn from them: many rows together, each token with its log-probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rxt.errors import UserError
from rxt.generation.generate import check_prompt
from rxt.generation.inference_copy import inference_decoder
from rxt.model.attention import KeyValue
from rxt.model.cache import KVCache
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
    decoder, limit, (batch_size, prompt_length) = inference_decoder(model), model.config.max_length, ids.shape
    lengths = ids.new_full((batch_size,), prompt_length) if mask is None else mask.sum(1)
    steps = min(max_new_tokens, limit - int(lengths.min()))
    if steps < 1:
        raise UserError(
            "there is no room for an answer: shorten the prompts, or let answers be one token long at least"
        )
    generator = torch.Generator(ids.device).manual_seed(seed)
    memory_kv = decoder.project_memory(memory.slots)
    cache = decoder.new_cache(batch_size, min(limit, prompt_length + steps))
    tokens = ids.new_full((batch_size, steps), -1)
    found = torch.zeros(
        batch_size, steps, device=ids.device, dtype=torch.promote_types(memory.slots.dtype, torch.float32)
    )
    rows = torch.arange(batch_size, device=ids.device)  # those that are still being answered
    logits = decoder.begin(ids, lengths - 1, memory_kv, cache)  # (B, V)
    goes_on = lengths < limit
    for step in range(steps):
        scores = (logits.to(found.dtype) / temperature).log_softmax(-1)
        chosen = draw(scores, generator)  # (rows,)
        tokens[rows, step] = chosen.masked_fill(~goes_on, -1)
        found[rows, step] = scores.gather(-1, chosen[:, None]).squeeze(-1).masked_fill(~goes_on, 0.0)
        lengths = lengths + 1
        goes_on = goes_on & (chosen != model.config.tokens.eos) & (lengths < limit)
        if (step + 1) % LOOK_EVERY == 0:
            kept = goes_on.nonzero().squeeze(1)
            if not len(kept):
                break
            rows, chosen, lengths, goes_on = rows[kept], chosen[kept], lengths[kept], goes_on[kept]
            memory_kv = [KeyValue(layer.keys[kept], layer.values[kept]) for layer in memory_kv]
            cache = KVCache(cache.keys[:, kept], cache.values[:, kept])
        if step + 1 < steps:
            room = min(int(lengths.max()), cache.keys.shape[3])
            positions = (lengths - 1).clamp(max=room - 1)[
                :, None
            ]  # a row that has ended writes where nobody reads any more
            logits = decoder.step(chosen[:, None], positions, memory_kv, cache.first(room))[:, 0]
    used = int((tokens >= 0).any(0).sum())
    return Sampled(tokens[:, :used], found[:, :used])


def draw(scores: Tensor, generator: torch.Generator) -> Tensor:
    """One token a row by its log-probabilities (B, V) -> (B,): where the sum of probabilities passes a number drawn
    from (0, 1]."""
    sums = scores.exp().cumsum(-1)
    drawn = 1 - torch.rand(scores.shape[0], 1, generator=generator, device=scores.device, dtype=scores.dtype)
    return torch.searchsorted(sums, drawn * sums[:, -1:]).squeeze(-1)
