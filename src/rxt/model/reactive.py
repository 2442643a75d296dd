"""The Reactive Transformer. Read this file first: decode and memorize, side by side.

A conversation is a chain of ``answer = decode(query, memory)`` and ``memory = memorize(memory, interaction)``; what an
interaction costs does not depend on how many came before it (arXiv 2510.03561). Sizes: B conversations, T tokens, L
layers with memory, S slots in each, width D, V words.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from rxt.config import RxTConfig
from rxt.errors import UserError
from rxt.model.decoder import Decoder
from rxt.model.encoder import make_encoder
from rxt.model.fingerprint import fingerprint
from rxt.model.layers import make_embedding
from rxt.model.memory import Memory, initial_slots
from rxt.model.memory_attention import MemoryAttention
from rxt.model.router import Router
from rxt.model.weight_cache import forget


class ReactiveTransformer(nn.Module):
    """Decoder, memory encoder and memory attention around one shared embedding. It holds parameters, never a memory."""

    def __init__(self, config: RxTConfig) -> None:
        super().__init__()
        self.config = config
        embedding = make_embedding(config.decoder.vocab_size, config.decoder.width)
        self.decoder = Decoder(config.decoder, embedding)
        if isinstance(self.decoder.head, nn.Linear):
            with torch.no_grad():  # they start equal: to copy a token is then to pass its embedding through
                self.decoder.head.weight.copy_(embedding.weight)
        self.encoder = make_encoder(config.encoder, self.decoder)
        self.memory_attention = MemoryAttention(config.memory_attention)
        self.fresh_memory = nn.Parameter(fresh_slots(config)) if config.memory_init == "learned" else None
        """(L, S, D): what every conversation starts from, where that is learned."""
        self.router = None if config.pool is None else Router(config.pool, config.decoder.width)
        """What chooses fragments, in models that have a pool of them: :mod:`rxt.model.mixture_of_memory`."""
        self.stands_for: str | None = None
        """The fingerprint of the model whose form for inference this is; None for a model itself."""

    def decode(self, ids: Tensor, memory: Memory, mask: Tensor | None = None) -> Tensor:
        """Respond: logits (B, T, V) of the interaction's tokens (B, T), given the memory of what came before."""
        self.check_memory(memory, ids.shape[0])
        return self.decoder(ids, memory.slots, mask)

    def encode(self, ids: Tensor, mask: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Understand a finished interaction (B, T): every encoder layer's output (L, B, T, D)."""
        return self.encoder(ids, mask, None if memory is None else memory.slots)

    def memorize(self, memory: Memory, ids: Tensor, mask: Tensor | None = None) -> Memory:
        """Merge a finished interaction (B, T) into the memory: a new value, the old one is untouched."""
        self.check_memory(memory, ids.shape[0])
        if mask is not None:
            ids, mask = without_padding(ids, mask)
        encoded = self.encode(ids, mask, memory)
        slots = self.memory_attention(memory.slots, encoded, mask)
        return memory.advance(slots, self.made_by())

    def init_memory(self, batch_size: int = 1, seed: int | None = None) -> Memory:
        """The memory of a conversation that has not begun, slots (L, B, S, D). The same seed draws the same memory.

        A model whose configuration has a ``memory_seed`` starts every conversation from that one draw, whatever
        ``seed``; one whose fresh memory is learned starts every conversation from that.
        """
        config, weight = self.config, self.decoder.embedding.weight
        if self.fresh_memory is not None:
            learned = self.fresh_memory if self.training else self.fresh_memory.detach()
            slots = learned.unsqueeze(1).repeat(1, batch_size, 1, 1)
        elif config.memory_seed is None:
            slots = initial_slots(config.memory_shape, batch_size, config.memory_init, seed)
        else:
            one = initial_slots(config.memory_shape, 1, config.memory_init, config.memory_seed)
            slots = one.repeat(1, batch_size, 1, 1)
        return Memory(slots.to(weight.device, weight.dtype), fingerprint=self.made_by())

    def check_memory(self, memory: Memory, batch_size: int | None = None) -> None:
        """Refuse a memory of another shape, or one that other weights made: it would mean nothing to this model.

        With ``batch_size``, also one of more or fewer conversations: a single one would be spread over all without a
        word.
        """
        memory.check_fits(self.config.memory_shape, batch_size)
        if memory.fingerprint is not None and not self.training and memory.fingerprint != self.fingerprint():
            made_by, mine = memory.fingerprint, self.fingerprint()
            raise UserError(f"this memory was made by other weights: it has fingerprint {made_by}, the model {mine}")

    def fingerprint(self) -> str:
        """16 hexadecimal digits that name the weights."""
        return self.stands_for or fingerprint(self)

    def made_by(self) -> str | None:
        """The fingerprint for a new memory; weights in training change too often to have one."""
        return None if self.training else self.fingerprint()

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation. What was computed from the weights is forgotten: fused optimizers
        write them without a trace."""
        if mode != self.training:
            forget(self)
        return super().train(mode)


def fresh_slots(config: RxTConfig) -> Tensor:
    """Where a learned fresh memory (L, S, D) starts: a draw from N(0, 1)."""
    if torch.get_default_device().type == "meta":  # shapes alone
        return torch.empty(config.memory_shape)
    return initial_slots(config.memory_shape, 1, "standard", config.memory_seed)[:, 0]


def without_padding(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens and mask (B, T) without the columns that are padding in every row: they would cost as much as text."""
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    longest = max(1, int((mask * places).max()))
    return ids[:, :longest], mask[:, :longest]
