"""The Reactive Transformer. Read this file first: respond and memorize, side by side.

A conversation is a chain of ``answer = respond(query, memory)`` and ``memory = memorize(memory, interaction)``;
the interaction's cost does not depend on how many came before it (arXiv 2510.03561).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from rxt.config import RxTConfig
from rxt.errors import UserError
from rxt.model.decoder import Decoder
from rxt.model.encoder import Encoder
from rxt.model.memory import Memory, initial_slots
from rxt.model.memory_attention import MemoryAttention


class ReactiveTransformer(nn.Module):
    """Decoder, memory encoder and memory attention around one shared embedding. It holds parameters, never a memory."""

    def __init__(self, config: RxTConfig) -> None:
        super().__init__()
        self.config = config
        embedding = nn.Embedding(config.decoder.vocab_size, config.decoder.width)
        nn.init.normal_(embedding.weight, std=config.decoder.width**-0.5)
        self.decoder = Decoder(config.decoder, embedding)
        self.encoder = Encoder(config.encoder, embedding)
        self.memory_attention = MemoryAttention(config.memory_attention)
        self._fingerprint: tuple[tuple[tuple[int, int], ...], str] | None = None

    def decode(self, ids: Tensor, memory: Memory, mask: Tensor | None = None) -> Tensor:
        """Respond: logits (B, T, V) of the interaction's tokens (B, T), given the memory of what came before."""
        self.check_memory(memory)
        return self.decoder(ids, memory.slots, mask)

    def encode(self, ids: Tensor, mask: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Read a finished interaction: every encoder layer's output (L, B, T, D)."""
        return self.encoder(ids, mask, None if memory is None else memory.slots)

    def memorize(self, memory: Memory, ids: Tensor, mask: Tensor | None = None) -> Memory:
        """Merge a finished interaction (B, T) into the memory: a new value, the old one is untouched."""
        self.check_memory(memory)
        encoded = self.encode(ids, mask, memory)
        slots = self.memory_attention(memory.slots, encoded, mask)
        return memory.advance(slots, None if self.training else self.fingerprint())

    def init_memory(self, batch_size: int = 1, seed: int | None = None) -> Memory:
        """The memory of a conversation that has not begun, slots (L, B, S, D). The same seed draws the same memory."""
        weight = self.decoder.head.weight
        config = self.config
        if seed is None and config.memory_seed is not None:
            slots = initial_slots(config.memory_shape, 1, config.memory_init, config.memory_seed).repeat(1, batch_size, 1, 1)
        else:
            slots = initial_slots(config.memory_shape, batch_size, config.memory_init, seed)
        return Memory(slots.to(weight.device, weight.dtype), fingerprint=None if self.training else self.fingerprint())

    def check_memory(self, memory: Memory) -> None:
        """Refuse a memory of another shape, or one that other weights made: it would mean nothing to this model."""
        layers, slots, width = self.config.memory_shape
        found = (memory.slots.shape[0], memory.slots.shape[2], memory.slots.shape[3])
        if found != (layers, slots, width):
            raise UserError(f"this model's memory has (L, S, D) = {(layers, slots, width)}, found {found}")
        if memory.fingerprint is not None and not self.training and memory.fingerprint != self.fingerprint():
            raise UserError(f"this memory was made by other weights: it has fingerprint {memory.fingerprint}, the model {self.fingerprint()}")

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any weight; computed again only after a weight has changed."""
        parameters = dict(self.named_parameters())
        state = tuple((parameter.data_ptr(), parameter._version) for parameter in parameters.values())
        if self._fingerprint is None or self._fingerprint[0] != state:
            digest = hashlib.sha256()
            for name, parameter in parameters.items():
                digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}\n".encode())
                digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().data)
            self._fingerprint = (state, digest.hexdigest()[:16])
        return self._fingerprint[1]

    def generate(
        self,
        ids: Tensor,
        memory: Memory,
        max_new_tokens: int,
        temperature: float = 0.0,
        stop_at_eos: bool = True,
        compiled: bool = False,
    ) -> Tensor:
        """Continue a prompt (B, T) -> (B, T'): prompt and continuation. Temperature 0 is greedy.

        ``rxt.generation.generate`` has every sampling option.
        """
        from rxt.generation.generate import Sampling, generate

        return generate(self, ids, memory, max_new_tokens, Sampling(temperature=temperature), stop_at_eos, compiled=compiled)

    def save_pretrained(self, folder: str | Path, layout: Literal["rxt", "published"] = "rxt") -> None:
        """Write ``config.json`` and ``model.safetensors`` into a folder, each whole or not at all."""
        from rxt.model.checkpoint import save_model

        if layout == "published":
            raise UserError("the published layout cannot be written yet; use layout='rxt'")
        save_model(self, Path(folder))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> ReactiveTransformer:
        """Load a folder that :meth:`save_pretrained` wrote. Every tensor must be there, and no other."""
        from rxt.model.checkpoint import load_model

        return load_model(Path(folder))
