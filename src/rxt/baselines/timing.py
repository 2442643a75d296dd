"""The cost of a model that reads its history: again in every turn, or out of a cache that grows with it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rxt.baselines.decoder_only import DecoderOnly
from rxt.evaluation.latency import Stopwatch, Timed, TurnCost
from rxt.model.cache import KVCache

CHUNK = 256
"""New tokens that are read at once into a cache: what each may look at then takes memory in proportion to the cache."""


class ReRead(Timed):
    """Keeps the tokens of the conversation and reads all of them in every turn; within a turn it has a cache."""

    name = "decoder-only, reads all again"

    def __init__(self, model: DecoderOnly) -> None:
        self.model = model.eval()
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
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

    name = "decoder-only, keeps a cache"

    def __init__(self, model: DecoderOnly, length: int) -> None:
        """``length``: of the longest conversation, in tokens; room for it is made at once."""
        self.model = model.eval()
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
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


def read(model: DecoderOnly, ids: Tensor, start: int, cache: KVCache) -> Tensor:
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
    model: DecoderOnly, prompt: Tensor, start: int, cache: KVCache, tokens: int, heard: Callable[[], None]
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
