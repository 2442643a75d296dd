"""How the next token is chosen: greedy, or drawn with temperature and filters. No step waits for the device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rxt.errors import UserError


@dataclass(frozen=True)
class Sampling:
    """Options of drawing a token, applied in the order of the fields."""

    temperature: float = 0.0
    """0 takes the likeliest token; 1 draws from the model's own distribution."""
    top_k: int | None = None
    """Draw from the k likeliest tokens only."""
    top_p: float | None = None
    """Draw from the fewest likeliest tokens that together have at least this probability."""
    min_p: float | None = None
    """Drop tokens with less than this share of the likeliest token's probability."""
    repetition_penalty: float = 1.0
    """Logits of tokens already in the text are divided by it when positive, multiplied when negative (arXiv
    1909.05858). It comes before the temperature and holds for greedy choices too."""
    seed: int | None = None
    """Makes draws repeatable."""

    def __post_init__(self) -> None:
        finite = math.isfinite
        _require(finite(self.temperature) and self.temperature >= 0, "temperature", "0 or more", self.temperature)
        _require(self.top_k is None or self.top_k >= 1, "top_k", "at least 1", self.top_k)
        _require(self.top_p is None or 0 < self.top_p <= 1, "top_p", "above 0 and at most 1", self.top_p)
        _require(self.min_p is None or 0 <= self.min_p <= 1, "min_p", "between 0 and 1", self.min_p)
        _require(
            finite(self.repetition_penalty) and self.repetition_penalty > 0,
            "repetition_penalty",
            "above 0",
            self.repetition_penalty,
        )
        _require(self.seed is None or 0 <= self.seed < 2**63, "seed", "between 0 and 2^63 - 1", self.seed)

    def generator(self, device: torch.device) -> torch.Generator | None:
        """The random numbers that ``seed`` stands for; None, torch's own, without a seed."""
        return None if self.seed is None else torch.Generator(device).manual_seed(self.seed)


def _require(condition: bool, name: str, expected: str, found: float | None) -> None:
    if not condition:
        raise UserError(f"{name} must be {expected}, found {found}")


def sample(
    logits: Tensor, sampling: Sampling, generator: torch.Generator | None = None, seen: Tensor | None = None
) -> Tensor:
    """Choose one token a row: ``logits`` (B, V) -> (B,).

    ``seen`` (B, V) is True for the tokens that ``repetition_penalty`` is about.
    """
    scores = logits.float()
    if seen is not None and sampling.repetition_penalty != 1:
        penalty = sampling.repetition_penalty
        scores = torch.where(seen, torch.where(scores > 0, scores / penalty, scores * penalty), scores)
    if sampling.temperature == 0:
        return scores.argmax(-1)
    # The likeliest token stands at 0, so that a tiny temperature cannot overflow.
    scores = (scores - scores.amax(-1, keepdim=True)) / sampling.temperature
    if sampling.top_k is None and sampling.top_p is None and sampling.min_p is None:
        return _draw(scores, generator)
    scores, tokens = scores.sort(dim=-1, descending=True, stable=True)
    choice = _draw(scores.masked_fill(~_kept(scores, sampling), -math.inf), generator)
    return tokens.gather(-1, choice.unsqueeze(-1)).squeeze(-1)


def _kept(scores: Tensor, sampling: Sampling) -> Tensor:
    """Which of the scores (B, V), the likeliest first, the filters keep. The first is always kept."""
    rank = torch.arange(scores.shape[-1], device=scores.device)
    kept = (rank < (sampling.top_k or scores.shape[-1])).expand_as(scores)
    if sampling.top_p is not None:
        probabilities = scores.masked_fill(~kept, -math.inf).softmax(-1)
        kept = kept & (probabilities.cumsum(-1) - probabilities < sampling.top_p)
    if sampling.min_p:
        kept = kept & (scores >= math.log(sampling.min_p))
    return kept


def _draw(scores: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw from softmax(scores) by the Gumbel-max trick: argmax(scores - log E) with E ~ Exp(1)."""
    noise = torch.empty_like(scores).exponential_(generator=generator)
    return (scores - noise.clamp_(min=torch.finfo(noise.dtype).tiny).log_()).argmax(-1)
