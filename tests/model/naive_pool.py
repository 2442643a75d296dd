"""A conversation with a pool once more, from the equations: one conversation, plain lists, one fragment at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

import naive_twins
import torch
from torch import Tensor, nn

from rxt.model.encoder import Encoder
from rxt.model.reactive import ReactiveTransformer


@dataclass
class NaivePool:
    """Changed in place by every turn."""

    model: ReactiveTransformer
    resident: Tensor
    fresh: Tensor
    fragments: list[Tensor]
    keys: list[Tensor | None] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)

    @classmethod
    def begin(cls, model: ReactiveTransformer, slots: Tensor) -> NaivePool:
        """From a fresh memory (L, S, D)."""
        assert model.config.pool is not None
        size, count = model.config.pool.fragment_slots, model.config.pool.chosen
        first = slots.shape[1] - size * count
        parts = [slots[:, first + i * size : first + (i + 1) * size] for i in range(count)]
        return cls(model, slots[:, :first], parts[-1], parts, [None] * count, [0] * count)

    def see(self, prompt: Tensor) -> tuple[Tensor, list[float]]:
        """The similarities (F,) of a prompt (1, T), and the k largest, the largest first."""
        assert self.model.config.pool is not None
        similarities = torch.stack(self.similarities(encode(self.model, prompt)))
        return similarities, sorted(similarities.tolist(), reverse=True)[: self.model.config.pool.chosen]

    def write(self, chosen: list[int], interaction: Tensor) -> list[int]:
        """Memorize an interaction (1, T); what was written."""
        router, config = self.model.router, self.model.config.pool
        assert router is not None
        assert config is not None
        encoded = encode(self.model, interaction)
        nothing_alike = all(similarity.item() < config.new_below for similarity in self.similarities(encoded))
        full = config.most_writes is not None and self.writes[chosen[0]] >= config.most_writes
        if all(self.writes[i] > 0 for i in chosen) and (nothing_alike or full):
            self.fragments.append(self.fresh)
            self.keys.append(None)
            self.writes.append(0)
            chosen = [len(self.fragments) - 1, *chosen[:-1]]
        slots = naive_twins.memory_attention(self.model.memory_attention, self.active(chosen)[:, None], encoded)[:, 0]
        self.resident, size = slots[:, : self.resident.shape[1]], config.fragment_slots
        key = unit(router.key.weight @ mean(encoded) + router.key.bias)
        for place, i in enumerate(sorted(chosen)):
            start = self.resident.shape[1] + place * size
            self.fragments[i] = slots[:, start : start + size]
            old = self.keys[i]
            self.keys[i] = key if old is None else config.key_decay * old + key
            self.writes[i] += 1
        return chosen

    def active(self, chosen: list[int]) -> Tensor:
        return torch.cat([self.resident, *(self.fragments[i] for i in sorted(chosen))], dim=1)

    def similarities(self, encoded: Tensor) -> list[Tensor]:
        router = self.model.router
        assert router is not None
        query = unit(router.query.weight @ mean(encoded) + router.query.bias)
        nothing = query.new_tensor(router.config.new_below)
        return [nothing if key is None else torch.dot(query, unit(key)) for key in self.keys]


def encode(model: ReactiveTransformer, ids: Tensor) -> Tensor:
    assert isinstance(model.encoder, Encoder)
    return naive_twins.encoder(model.encoder, ids, None, None)


def mean(encoded: Tensor) -> Tensor:
    """(D,) of (L, 1, T, D)."""
    epsilon = torch.finfo(encoded.dtype).eps
    tokens = [token for layer in encoded[:, 0] for token in layer]
    return torch.stack([token / torch.sqrt((token * token).mean() + epsilon) for token in tokens]).sum(0) / len(tokens)


def unit(vector: Tensor) -> Tensor:
    return vector / torch.sqrt((vector * vector).sum())


def weights(module: nn.Module) -> list[Tensor]:
    return list(module.parameters())
