"""Thinking that begins where it should and ends in time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rxt.data.template import Mode, Template


class Thoughts:
    """The constraint of a reply in mode ``thinking`` or ``auto``.

    In mode ``auto`` the larger of the logits of [T] and [A] decides how the reply begins. Thinking is text, without
    other markers; where the model would end its turn in the middle of it, or has spent its budget, it goes over to its
    answer. There it may say what it likes.
    """

    def __init__(self, template: Template, mode: Mode, budget: int) -> None:
        """``budget``: tokens of thinking at most; with 0 of them ``auto`` is ``fast``."""
        tokens = template.tokens
        assert mode != "fast"
        assert tokens.answer is not None
        assert tokens.think is not None
        self._answer, self._think, self._eos = tokens.answer, tokens.think, tokens.eos
        self._others = torch.tensor(sorted(template.tokenizer.special_ids - {self._answer, self._eos}))
        self._left = budget
        self._open = mode == "auto"
        """Nothing has been said yet, and the model decides how to begin."""
        self._thinking = mode == "thinking"

    @property
    def over(self) -> bool:
        """The model has gone over to its answer."""
        return not self._open and not self._thinking

    def narrow(self, logits: Tensor) -> Tensor:
        """As :class:`rxt.generation.constraint.Constraint`."""
        if self._open:
            openers = [self._answer, self._think] if self._left > 0 else [self._answer]
            return _only(logits, torch.tensor(openers, device=logits.device))
        if self._thinking and self._left == 0:
            return _only(logits, torch.tensor([self._answer], device=logits.device))
        return logits.index_fill(0, self._others.to(logits.device), -math.inf) if self._thinking else logits

    def take(self, token: int, left: int) -> int:
        """As :class:`rxt.generation.constraint.Constraint`."""
        if self._open:
            self._open, self._thinking = False, token == self._think
        elif self._thinking:
            token = self._answer if token == self._eos else token
            self._thinking = token != self._answer
            self._left -= 1
        return token


def most_thinking(template: Template, prompt: Sequence[int], mode: Mode, budget: int | None) -> int:
    """Tokens of thinking at most: ``budget``, or what leaves the template's reserve for the answer."""
    markers = 2 if mode == "auto" else 1  # [T] is in the prompt, or said
    room = template.answer_room(prompt) - markers - (template.reserve - len(template.markup.end))
    return max(0, room if budget is None else min(budget, room))


def _only(logits: Tensor, tokens: Tensor) -> Tensor:
    """Logits (V,) where nothing but the likeliest of ``tokens`` can come; the first of them among equals."""
    best = tokens[logits[tokens].argmax()]
    return torch.full_like(logits, -math.inf).index_fill(0, best[None], 0.0)
