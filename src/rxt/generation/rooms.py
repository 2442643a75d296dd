"""The places of a batch: what each conversation in it has."""

from __future__ import annotations

import torch
from torch import Tensor

from rxt.model.attention import KeyValue
from rxt.model.cache import KVCache


class Rooms:
    """The cache, the projected memories and the tokens seen of all places."""

    def __init__(self, cache: KVCache, memory: KVCache, vocab_size: int) -> None:
        self.cache = cache
        self.memory = memory
        self.slots = [0] * cache.keys.shape[1]
        """Of each place's memory, those that were given; what is behind them is zeros."""
        self.seen = torch.zeros(cache.keys.shape[1], vocab_size, dtype=torch.bool, device=cache.keys.device)
        """Which tokens each place's text has, for repetition penalties."""
        self.said = torch.zeros(self.seen.shape, dtype=torch.int32, device=self.seen.device)
        """How often each place's answer has each token, for penalties of those that have one."""

    def view(self, start: int, stop: int, length: int, whole: bool = False) -> tuple[KVCache, list[KeyValue]]:
        """Some places, with the first ``length`` entries of their cache, in the same storage. ``whole``: with all slots
        of their memories, not only those that one of them uses."""
        memory = self.memory.rows(start, stop)
        if not whole:
            memory = memory.first(max(self.slots[start:stop]))
        return self.cache.rows(start, stop).first(length), [
            KeyValue(*pair) for pair in zip(memory.keys, memory.values, strict=True)
        ]

    def settle(self, place: int, memory: list[KeyValue], prompt: Tensor) -> None:
        """Copy what a memory offers, B = 1, into a place, where a prompt (T,) begins the text."""
        self.said[place] = 0
        self.seen[place] = False
        self.seen[place, prompt] = True
        slots = self.slots[place] = memory[0].keys.shape[2] if memory else 0
        for layer, (keys, values) in enumerate(memory):
            for room, given in ((self.memory.keys, keys), (self.memory.values, values)):
                room[layer, place, :, :slots] = given[0]
                room[layer, place, :, slots:] = 0

    def move(self, source: int, target: int, length: int) -> None:
        """Copy one place into another; its cache holds at most ``length`` entries."""
        for tensor in (self.cache.keys, self.cache.values):
            tensor[:, target, :, :length] = tensor[:, source, :, :length]
        for tensor in (self.memory.keys, self.memory.values):
            tensor[:, target] = tensor[:, source]
        self.slots[target] = self.slots[source]
        self.seen[target] = self.seen[source]
        self.said[target] = self.said[source]

    def take_over(self, old: Rooms) -> None:
        """Copy everything from smaller rooms."""
        _, rows, _, length, _ = old.cache.keys.shape
        for mine, theirs in ((self.cache.keys, old.cache.keys), (self.cache.values, old.cache.values)):
            mine[:, :rows, :, :length] = theirs
        for mine, theirs in ((self.memory.keys, old.memory.keys), (self.memory.values, old.memory.values)):
            mine[:, :rows] = theirs
        self.slots[:rows] = old.slots
        self.seen[:rows] = old.seen
        self.said[:rows] = old.said
