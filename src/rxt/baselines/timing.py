"""The cost of a model that reads its history: again in every turn, or out of a cache that grows with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from rxt.evaluation.latency import Stopwatch, Timed, TurnCost
from rxt.model.cache import KVCache
from rxt.model.checkpoint import MEMORY
from rxt.model.decoder import Decoder
from rxt.model.low_rank import without_adapters

CHUNK = 256
"""New tokens that are read at once into a cache: what each may look at then takes memory in proportion to the cache."""


class History(Protocol):
    """What reads a history, as :class:`rxt.baselines.decoder_only.DecoderOnly` does."""

    def new_cache(self, batch_size: int, length: int) -> KVCache:
        """An empty cache for ``length`` tokens."""
        ...

    def begin(self, ids: Tensor, cache: KVCache) -> Tensor:
        """States (B, T, D) of a history (B, T), which is written into a cache that holds nothing yet."""
        ...

    def read(self, ids: Tensor, positions: Tensor, cache: KVCache) -> Tensor:
        """States (B, T, D) of tokens (B, T) at ``positions`` (B, T), which continue what ``cache`` holds."""
        ...

    def head(self, states: Tensor) -> Tensor:
        """Logits (B, T, V)."""
        ...

    @property
    def size(self) -> int:
        """Parameters."""
        ...


class WithoutMemory:
    """A Reactive Transformer's decoder as it is without a memory: of a model on a pre-trained base, that base."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder.eval()
        self.head: nn.Module = decoder.head

    @property
    def size(self) -> int:
        """Parameters that a decoder without memory has."""
        named = self.decoder.named_parameters(prefix="decoder")
        return sum(parameter.numel() for name, parameter in named if MEMORY.match(name) is None)

    def new_cache(self, batch_size: int, length: int) -> KVCache:
        """An empty cache for ``length`` tokens."""
        return self.decoder.new_cache(batch_size, length)

    def begin(self, ids: Tensor, cache: KVCache) -> Tensor:
        """States (B, T, D) of a history (B, T), which is written into a cache that holds nothing yet."""
        with without_adapters(self.decoder):
            return self.decoder.states_of_prompt(ids, None, cache)

    def read(self, ids: Tensor, positions: Tensor, cache: KVCache) -> Tensor:
        """States (B, T, D) of tokens (B, T) at ``positions`` (B, T), which continue what ``cache`` holds."""
        with without_adapters(self.decoder):
            return self.decoder.states_of_step(ids, positions, None, cache)


class ReRead(Timed):
    """Keeps the tokens of the conversation and reads all of them in every turn; within a turn it has a cache."""

    def __init__(self, model: History, name: str = "decoder-only") -> None:
        self.model = model
        self.name = f"{name}, reads all again"
        self.parameters = model.size
        self._history = torch.zeros(1, 0, dtype=torch.long)

    def skip(self, interactions: Tensor) -> None:
        self._history = torch.cat([self._history, interactions.reshape(1, -1)], 1)

    @torch.no_grad()
    def turn(self, query: Tensor, answer_tokens: int) -> TurnCost:
        clock = Stopwatch()
        prompt = torch.cat([self._history, query], 1)
        cache = self.model.new_cache(1, prompt.shape[1] + answer_tokens)
        answer(self.model, prompt, 0, cache, answer_tokens, clock.token)
        kept = prompt.shape[1] + answer_tokens
        return TurnCost(clock.first, clock.last, 0.0, kept * prompt.element_size(), kept - 1)


class KeptCache(Timed):
    """Keeps the keys and values of every token between turns, and reads only what is new."""

    def __init__(self, model: History, length: int, name: str = "decoder-only") -> None:
        """``length``: of the longest conversation, in tokens; room for it is made at once."""
        self.model = model
        self.name = f"{name}, keeps a cache"
        self.parameters = model.size
        self._cache = model.new_cache(1, length)
        self._used = 0
        self._unread = torch.zeros(1, 0, dtype=torch.long)

    @torch.no_grad()
    def skip(self, interactions: Tensor) -> None:
        """The last token of an answer is read with the next query, as it is in a conversation."""
        if not len(interactions):
            return
        new = torch.cat([self._unread, interactions.reshape(1, -1)], 1)
        read(self.model, new[:, :-1], self._used, self._cache)
        self._used += new.shape[1] - 1
        self._unread = new[:, -1:]

    @torch.no_grad()
    def turn(self, query: Tensor, answer_tokens: int) -> TurnCost:
        clock = Stopwatch()
        prompt = torch.cat([self._unread, query], 1)
        answer(self.model, prompt, self._used, self._cache, answer_tokens, clock.token)
        read_now = prompt.shape[1] + answer_tokens - 1
        return TurnCost(clock.first, clock.last, 0.0, self._cache.first(self._used + read_now).nbytes, read_now)


def read(model: History, ids: Tensor, start: int, cache: KVCache) -> Tensor:
    """Read tokens (1, T), T at least 1, into a cache that holds ``start`` tokens -> the last state (1, 1, D)."""
    if not start:
        return model.begin(ids, cache)[:, -1:]
    states = torch.empty(0)
    for piece in ids.split(CHUNK, 1):
        positions = torch.arange(start, start + piece.shape[1])[None]
        start += piece.shape[1]
        states = model.read(piece, positions, cache.first(start))
    return states[:, -1:]


def answer(
    model: History, prompt: Tensor, start: int, cache: KVCache, tokens: int, heard: Callable[[], None]
) -> list[int]:
    """Continue a prompt (1, T) greedily by so many tokens; ``heard`` is called as soon as each is there."""
    state = read(model, prompt, start, cache)
    at = start + prompt.shape[1]
    said: list[int] = []
    while True:
        chosen = model.head(state)[:, -1:].argmax(-1)  # (1, 1)
        said.append(int(chosen))
        heard()
        if len(said) == tokens:
            return said
        state = read(model, chosen, at, cache)
        at += 1
