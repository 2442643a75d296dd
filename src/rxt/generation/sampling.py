"""How the next token is chosen: greedy, or drawn with temperature and filters. No step waits for the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rxt.errors import UserError

NO_TOP_K = 2**62
"""More tokens than any vocabulary has."""


@dataclass(frozen=True)
class Sampling:
    """Options of drawing a token, applied in the order of the fields where they say nothing else."""

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
    frequency_penalty: float = 0.0
    """Taken from a token's logit for every time that the answer has it already; with the next one it comes after the
    repetition penalty, before the temperature, and holds for greedy choices too."""
    presence_penalty: float = 0.0
    """Taken from the logits of all tokens that the answer has."""

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
        _require(finite(self.frequency_penalty), "frequency_penalty", "a finite number", self.frequency_penalty)
        _require(finite(self.presence_penalty), "presence_penalty", "a finite number", self.presence_penalty)
        _require(self.seed is None or 0 <= self.seed < 2**63, "seed", "between 0 and 2^63 - 1", self.seed)

    def generator(self, device: torch.device) -> torch.Generator | None:
        """The random numbers that ``seed`` stands for; None, torch's own, without a seed."""
        return None if self.seed is None else torch.Generator(device).manual_seed(self.seed)


def _require(condition: bool, name: str, expected: str, found: float | None) -> None:
    if not condition:
        raise UserError(f"{name} must be {expected}, found {found}")


GREEDY = Sampling()
"""The likeliest token, always."""


@dataclass(frozen=True)
class SamplingBatch:
    """The options of B rows as columns (B, 1), so that every row is sampled by its own in the same operations."""

    temperature: Tensor
    """1 in rows that take the likeliest token."""
    greedy: Tensor
    """(B,): True in rows that take the likeliest token."""
    filtered: Tensor
    """True in rows with ``top_k``, ``top_p`` or ``min_p``."""
    top_k: Tensor
    top_p: Tensor
    log_min_p: Tensor
    repetition_penalty: Tensor
    frequency_penalty: Tensor
    presence_penalty: Tensor
    drawing: tuple[int, ...]
    """The rows that draw."""
    penalizes: bool
    """Whether any row has a repetition penalty."""
    counts: bool
    """Whether any row has a frequency or presence penalty."""
    filters: bool
    """Whether any row that draws is filtered."""

    @classmethod
    def of(cls, rows: Sequence[Sampling], device: torch.device) -> SamplingBatch:
        """One row each; a batch of one row stands for any number of rows alike."""

        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)[:, None]

        greedy = [row.temperature == 0 for row in rows]
        filtered = [not (row.top_k is row.top_p is row.min_p is None) for row in rows]
        return cls(
            column([row.temperature or 1.0 for row in rows]),
            torch.tensor(greedy, device=device),
            torch.tensor(filtered, device=device)[:, None],
            torch.tensor([row.top_k or NO_TOP_K for row in rows], device=device)[:, None],
            column([math.inf if row.top_p is None else row.top_p for row in rows]),
            column([math.log(row.min_p) if row.min_p else -math.inf for row in rows]),
            column([row.repetition_penalty for row in rows]),
            column([row.frequency_penalty for row in rows]),
            column([row.presence_penalty for row in rows]),
            tuple(index for index, row in enumerate(rows) if row.temperature > 0),
            any(row.repetition_penalty != 1 for row in rows),
            any(row.frequency_penalty != 0 or row.presence_penalty != 0 for row in rows),
            any(filtered[index] and not greedy[index] for index in range(len(rows))),
        )


def sample(
    logits: Tensor,
    sampling: Sampling | SamplingBatch,
    generators: Sequence[torch.Generator | None] = (None,),
    seen: Tensor | None = None,
    said: Tensor | None = None,
) -> Tensor:
    """Choose one token a row: ``logits`` (B, V) -> (B,).

    With one generator all rows draw from the same random numbers; with B of them each row draws what it would draw
    alone. ``seen`` (B, V) is True for the tokens that ``repetition_penalty`` is about, ``said`` (B, V) how often the
    answer has each token, which the frequency and presence penalties are about.
    """
    options = SamplingBatch.of([sampling], logits.device) if isinstance(sampling, Sampling) else sampling
    scores = logits.float()
    if seen is not None and options.penalizes:
        penalty = options.repetition_penalty
        scores = torch.where(seen, torch.where(scores > 0, scores / penalty, scores * penalty), scores)
    if said is not None and options.counts:
        scores = scores - options.frequency_penalty * said - options.presence_penalty * (said > 0)
    best = scores.argmax(-1)
    if not options.drawing:
        return best
    # The likeliest token stands at 0, so that a tiny temperature cannot overflow.
    scores = (scores - scores.amax(-1, keepdim=True)) / options.temperature
    noise = _noise(scores, options, generators)
    if not options.filters:
        return best.where(options.greedy, (scores - noise).argmax(-1))
    ordered, tokens = scores.sort(dim=-1, descending=True, stable=True)
    ordered = ordered.masked_fill(~_kept(ordered, options), -math.inf)
    tokens = tokens.where(options.filtered, torch.arange(tokens.shape[-1], device=tokens.device))
    choice = (ordered.where(options.filtered, scores) - noise).argmax(-1, keepdim=True)
    return best.where(options.greedy, tokens.gather(-1, choice).squeeze(-1))


def _kept(scores: Tensor, options: SamplingBatch) -> Tensor:
    """Which of the scores (B, V), the likeliest first, the filters keep. The first is always kept."""
    kept = torch.arange(scores.shape[-1], device=scores.device) < options.top_k
    probabilities = scores.masked_fill(~kept, -math.inf).softmax(-1)
    kept = kept & (probabilities.cumsum(-1) - probabilities < options.top_p)
    return kept & (scores >= options.log_min_p)


def _noise(scores: Tensor, options: SamplingBatch, generators: Sequence[torch.Generator | None]) -> Tensor:
    """log E with E ~ Exp(1), (B, V): argmax(scores - log E) is a draw from softmax(scores) (the Gumbel-max trick)."""
    noise = torch.ones_like(scores)
    if len(generators) == 1:
        noise.exponential_(generator=generators[0])
    else:
        for row in options.drawing:
            noise[row].exponential_(generator=generators[row])
    return noise.clamp_(min=torch.finfo(noise.dtype).tiny).log_()
