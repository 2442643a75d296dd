"""What is measured: anything that answers out of a state, and takes a finished interaction into a new state.

A Reactive Transformer's state is its memory; a model that re-reads everything has the conversation so far.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from rxt.data.collate import collate_rows
from rxt.data.template import Encoded, Template
from rxt.generation.generate import generate
from rxt.model.memory import Memory
from rxt.model.reactive import ReactiveTransformer

State = TypeVar("State")


class Subject(ABC, Generic[State]):
    """A chat model under test. A state holds B conversations and is a value: every method returns a new one."""

    def __init__(self, template: Template, trained_turns: int | None = None) -> None:
        """``trained_turns``: of the longest conversations it was trained on, None when not known."""
        self.template = template
        self.trained_turns = trained_turns

    @abstractmethod
    def start(self, batch_size: int, seed: int) -> State:
        """The state of B conversations that have not begun."""

    @abstractmethod
    def answer(self, prompts: Sequence[list[int]], state: State, max_new_tokens: int = 48) -> list[list[int]]:
        """Greedy continuations of B prompts, each out of its own conversation's state."""

    @abstractmethod
    def remember(self, state: State, interactions: Sequence[list[int]]) -> State:
        """The state after B finished interactions, prompt and answer together."""

    @abstractmethod
    def take(self, state: State, rows: Sequence[int]) -> State:
        """The state of some of the conversations, in the order of ``rows``."""

    @abstractmethod
    def join(self, states: Sequence[State]) -> State:
        """One state of several, in order."""

    @abstractmethod
    def state_bytes(self, state: State) -> int:
        """What is kept between turns, of all B conversations."""


class Reactive(Subject[Memory]):
    """A Reactive Transformer with its memory."""

    def __init__(self, model: ReactiveTransformer, template: Template) -> None:
        super().__init__(template, model.config.trained_turns)
        self.model = model

    def start(self, batch_size: int, seed: int) -> Memory:
        return self.model.init_memory(batch_size, seed)

    @torch.no_grad()
    def answer(self, prompts: Sequence[list[int]], state: Memory, max_new_tokens: int = 48) -> list[list[int]]:
        ids, mask = self._rows(prompts)
        whole = generate(self.model, ids, state, max_new_tokens, mask=mask).tolist()
        pad = self.template.tokens.pad
        return [
            [token for token in row[len(prompt) :] if token != pad] for row, prompt in zip(whole, prompts, strict=True)
        ]

    @torch.no_grad()
    def remember(self, state: Memory, interactions: Sequence[list[int]]) -> Memory:
        return self.model.memorize(state, *self._rows(interactions))

    def take(self, state: Memory, rows: Sequence[int]) -> Memory:
        return state.take(rows)

    def join(self, states: Sequence[Memory]) -> Memory:
        return Memory.stack(states)

    def state_bytes(self, state: Memory) -> int:
        return state.nbytes

    def _rows(self, sequences: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """Padded ids and mask, where the model is."""
        ids, mask = as_rows(sequences, self.template)
        device = self.model.decoder.embedding.weight.device
        return ids.to(device), mask.to(device)


def as_rows(sequences: Sequence[list[int]], template: Template) -> tuple[Tensor, Tensor]:
    """Sequences as padded ids (B, T) and their mask (B, T)."""
    rows = collate_rows([Encoded(ids, [False] * len(ids)) for ids in sequences], template.tokens.pad)
    return rows.ids, rows.mask
