"""What a base has kept of its abilities: how likely its own answers still are, now that it has a memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from rxt.data.collate import Rows, collate_rows
from rxt.data.markup import Encoded
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.generation.own_words import own_interactions
from rxt.generation.scoring import score_rows
from rxt.model.grow import silenced
from rxt.model.memory import Memory
from rxt.model.reactive import ReactiveTransformer

BATCH = 16


@dataclass(frozen=True)
class Kept:
    """Mean −log p, in nats a token, of a base's own answers."""

    interactions: int
    tokens: int
    base: float
    """By the base itself."""
    fresh: float
    """Out of a fresh memory."""
    remembering: float
    """Out of the memory of another of these interactions."""

    @property
    def rise(self) -> float:
        """Of the perplexity, out of a fresh memory: 0.03 is 3 %."""
        return math.exp(self.fresh - self.base) - 1

    @property
    def rise_remembering(self) -> float:
        """The same out of the memory of something else."""
        return math.exp(self.remembering - self.base) - 1


def measure_kept(
    model: ReactiveTransformer,
    template: Template,
    count: int = 64,
    seed: int = 1,
    report: Callable[[int], None] = lambda done: None,
) -> Kept:
    """Let the base of a model make up ``count`` questions and answer them; score the answers with and without memory.

    Raises:
        UserError: the model has no base, or its base makes up no two questions.
    """
    if model.config.base is None:
        raise UserError("this model is not built on a pre-trained one, so there is nothing that it could have kept")
    made = own_interactions(model.eval(), template, count, seed)
    if len(made) < 2:
        raise UserError("the base makes up no questions, so there is nothing to compare")
    return score_kept(model, template, made, report)


@torch.no_grad()
def score_kept(
    model: ReactiveTransformer,
    template: Template,
    interactions: Sequence[Encoded],
    report: Callable[[int], None] = lambda done: None,
) -> Kept:
    """Score the learned tokens of interactions, two at least, with and without memory."""
    sums, tokens = torch.zeros(3, dtype=torch.float64), 0
    others = [*interactions[1:], interactions[0]]
    for start in range(0, len(interactions), BATCH):
        some = slice(start, start + BATCH)
        rows, told = (collate_rows(each[some], template.tokens.pad) for each in (interactions, others))
        fresh = model.init_memory(len(rows), 0)
        with silenced(model):
            sums[0] += _nats(model, rows, fresh)
        sums[1] += _nats(model, rows, fresh)
        sums[2] += _nats(model, rows, model.memorize(fresh, told.ids, told.mask))
        tokens += int(rows.targets[:, 1:].sum())
        report(len(rows))
    base, out_of_fresh, remembering = (sums / tokens).tolist()
    return Kept(len(interactions), tokens, base, out_of_fresh, remembering)


def _nats(model: ReactiveTransformer, rows: Rows, memory: Memory) -> float:
    return float(score_rows(model.decoder, rows, memory.slots, torch.arange(len(rows))).nll.double().sum())
