"""How likely a token was, and which others were likely: the model's own distribution, whatever was drawn from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Likelihood:
    """Of one token."""

    log_probability: float
    """In nats."""
    alternatives: tuple[tuple[int, float], ...]
    """The likeliest tokens and their log-probabilities, the likeliest first."""


def likelihoods(logits: Tensor, tokens: Sequence[int], alternatives: Sequence[int | None]) -> list[Likelihood | None]:
    """How likely the tokens of N rows were under ``logits`` (N, V), before penalties and temperature.

    ``alternatives``: for each row how many of the likeliest tokens are named; None: nothing is asked of it.
    """
    rows = [row for row, count in enumerate(alternatives) if count is not None]
    found: list[Likelihood | None] = [None] * len(tokens)
    if not rows:
        return found
    scores = logits[rows].float().log_softmax(-1)
    best, names = scores.topk(min(max(alternatives[row] or 0 for row in rows), scores.shape[-1]))
    own = scores.gather(-1, scores.new_tensor([[tokens[row]] for row in rows]).long())[:, 0].tolist()
    for row, log_probability, values, ids in zip(rows, own, best.tolist(), names.tolist(), strict=True):
        pairs = list(zip(ids, values, strict=True))[: alternatives[row]]
        found[row] = Likelihood(log_probability, tuple(pairs))
    return found
