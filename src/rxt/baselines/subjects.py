"""The baselines under test: what each keeps between turns, and how it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rxt.baselines.config import BaselineConfig
from rxt.baselines.decoder_only import DecoderOnly
from rxt.baselines.model import CONFIG, Baseline
from rxt.config import read_json
from rxt.data.collate import Rows
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.evaluation.pooled import load_subject
from rxt.evaluation.subject import Subject, as_rows
from rxt.folders import model_folder
from rxt.generation.decode import Begun, continue_texts
from rxt.model.cache import KVCache
from rxt.model.rounded_updates import Updates

History = tuple[tuple[int, ...], ...]
"""The tokens of B conversations so far."""


class ReadsHistory(Subject[History]):
    """Reads the conversation again at every turn: all of it, or its last tokens."""

    def __init__(self, model: Baseline, template: Template, budget: int | None = None) -> None:
        """``budget``: tokens of history that are read, None for all."""
        super().__init__(template, model.config.trained_turns)
        self.model = model
        self.budget = budget

    def start(self, batch_size: int, seed: int) -> History:
        return ((),) * batch_size

    @torch.no_grad()
    def answer(self, prompts: Sequence[list[int]], state: History, max_new_tokens: int = 48) -> list[list[int]]:
        texts = [[*history, *prompt] for history, prompt in zip(state, prompts, strict=True)]
        ids, mask = as_rows(texts, self.template)
        decoder = self.model.decoder
        return continue_greedily(decoder, decoder.embedding(ids), mask.sum(1), max_new_tokens)

    def remember(self, state: History, interactions: Sequence[list[int]]) -> History:
        return tuple(self._kept((*history, *said)) for history, said in zip(state, interactions, strict=True))

    def take(self, state: History, rows: Sequence[int]) -> History:
        return tuple(state[row] for row in rows)

    def join(self, states: Sequence[History]) -> History:
        return tuple(history for state in states for history in state)

    def state_bytes(self, state: History) -> int:
        """Of the keys and values of what is read: kept between turns, or computed again."""
        return self.model.decoder.new_cache(1, max(map(len, state), default=0)).nbytes * len(state)

    def _kept(self, history: tuple[int, ...]) -> tuple[int, ...]:
        return history if self.budget is None else history[len(history) - min(self.budget, len(history)) :]


class CarriesMemory(Subject[Tensor]):
    """Carries memory tokens (B, M, D) from turn to turn."""

    def __init__(self, model: Baseline, template: Template) -> None:
        super().__init__(template, model.config.trained_turns)
        self.model = model

    @torch.no_grad()
    def start(self, batch_size: int, seed: int) -> Tensor:
        return self.model.start(batch_size)

    @torch.no_grad()
    def answer(self, prompts: Sequence[list[int]], state: Tensor, max_new_tokens: int = 48) -> list[list[int]]:
        ids, mask = as_rows(prompts, self.template)
        decoder = self.model.decoder
        return continue_greedily(
            decoder, torch.cat([state, decoder.embedding(ids)], dim=1), state.shape[1] + mask.sum(1), max_new_tokens
        )

    @torch.no_grad()
    def remember(self, state: Tensor, interactions: Sequence[list[int]]) -> Tensor:
        ids, mask = as_rows(interactions, self.template)
        return self.model.turn(Rows(ids, mask, torch.zeros_like(mask)), state).memory

    def take(self, state: Tensor, rows: Sequence[int]) -> Tensor:
        return state[list(rows)]

    def join(self, states: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(states))

    def state_bytes(self, state: Tensor) -> int:
        return state.nbytes


@torch.no_grad()
def continue_greedily(decoder: DecoderOnly, x: Tensor, lengths: Tensor, max_new_tokens: int) -> list[list[int]]:
    """Greedy continuations of B embedded prompts (B, T, D) of ``lengths`` (B,), padded on the right; each ends with its
    [EOS]."""
    tokens, (batch_size, longest, _) = decoder.config.tokens, x.shape
    limit = longest + max_new_tokens
    cache = decoder.new_cache(batch_size, limit)
    positions = torch.arange(longest, device=x.device).expand(batch_size, -1)
    states = decoder.run(x, positions, cache=cache.first(longest)).states
    logits = decoder.head(states[torch.arange(batch_size, device=x.device), lengths - 1])  # (B, V)
    begun = Begun(_Read(decoder, cache), logits, lengths, longest)
    chosen = continue_texts(begun, max_new_tokens, limit, lambda logits, _: logits.argmax(-1), tokens.eos)
    said = [step.tokens for step in chosen]
    rows = torch.stack(said, dim=1).tolist() if said else [[] for _ in range(batch_size)]
    return [[token for token in row if token >= 0] for row in rows]


@dataclass
class _Read:
    """Texts that stand in a decoder-only model's cache."""

    decoder: DecoderOnly
    cache: KVCache

    def step(self, tokens: Tensor, positions: Tensor, longest: int) -> Tensor:
        return self.decoder.step(tokens[:, None], positions[:, None], self.cache.first(longest))[:, 0]

    def keep(self, rows: Tensor) -> None:
        self.cache = self.cache.take(rows)


def is_baseline(values: dict[str, Any]) -> bool:
    """Whether a ``config.json`` is a baseline's."""
    return "baseline" in values


def load_any(
    source: str | Path | None = None,
    history_tokens: int | None = None,
    base: str | Path | None = None,
    updates: Updates = "float32",
) -> Subject[Any]:
    """A model folder of either sort, ready to be measured; the bundled model when not given.

    ``history_tokens`` is for models that re-read their history: they then read the last so many tokens only. ``base``:
    where the model is that this one is the memory of. ``updates``: the type that memory updates multiply in.
    """
    folder = model_folder(source)
    values = read_json(folder / CONFIG)
    if not is_baseline(values):
        if history_tokens is not None:
            raise UserError(
                f"{source or 'the bundled model'}: has a memory and reads no history, so leave out the limit of it"
            )
        return load_subject(source, base, updates)
    if updates == "bfloat16":
        raise UserError(f"{source}: has no memory that is updated, so leave out the type of its updates")
    config = BaselineConfig.from_dict(values, str(folder / CONFIG))
    model = Baseline.from_folder(folder, config).eval()
    template = Template(ChatTokenizer.load(folder, config.decoder.tokens), config.template, config.interaction_length)
    if config.baseline == "history":
        return ReadsHistory(model, template, history_tokens)
    if history_tokens is not None:
        raise UserError(f"{source}: is no model that reads its history, so leave out the limit of it")
    return CarriesMemory(model, template) if config.baseline == "recurrent" else ReadsHistory(model, template, budget=0)
