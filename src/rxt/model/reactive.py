"""The Reactive Transformer. Read this file first: respond and memorize, side by side.

A conversation is a chain of ``answer = respond(query, memory)`` and ``memory = memorize(memory, interaction)``;
the interaction's cost does not depend on how many came before it (arXiv 2510.03561).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from rxt.config import RxTConfig, read_json
from rxt.errors import UserError
from rxt.model.decoder import Decoder
from rxt.model.encoder import Encoder
from rxt.model.memory import Memory, initial_slots
from rxt.model.memory_attention import MemoryAttention

if TYPE_CHECKING:
    from rxt.interop.hub import Saves

WeightState = tuple[tuple[int, int], ...]
"""Where every weight stands, and how often it was written to."""


class ReactiveTransformer(nn.Module):
    """Decoder, memory encoder and memory attention around one shared embedding. It holds parameters, never a memory."""

    def __init__(self, config: RxTConfig) -> None:
        super().__init__()
        self.config = config
        embedding = nn.Embedding(config.decoder.vocab_size, config.decoder.width)
        nn.init.normal_(embedding.weight, std=config.decoder.width**-0.5)
        self.decoder = Decoder(config.decoder, embedding)
        with torch.no_grad():  # not tied, but they start equal: to copy a token is then to pass its embedding through
            self.decoder.head.weight.copy_(embedding.weight)
        self.encoder = Encoder(config.encoder, embedding)
        self.memory_attention = MemoryAttention(config.memory_attention)
        self._fingerprint: tuple[WeightState, str] | None = None
        self._readers: dict[bool, tuple[WeightState, Decoder]] = {}
        """By whether its steps are to be compiled."""
        self._stands_for: str | None = None

    def decode(self, ids: Tensor, memory: Memory, mask: Tensor | None = None) -> Tensor:
        """Respond: logits (B, T, V) of the interaction's tokens (B, T), given the memory of what came before."""
        self.check_memory(memory, ids.shape[0])
        return self.decoder(ids, memory.slots, mask)

    def encode(self, ids: Tensor, mask: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """Read a finished interaction: every encoder layer's output (L, B, T, D)."""
        return self.encoder(ids, mask, None if memory is None else memory.slots)

    def memorize(self, memory: Memory, ids: Tensor, mask: Tensor | None = None) -> Memory:
        """Merge a finished interaction (B, T) into the memory: a new value, the old one is untouched."""
        fingerprint = None if self.training else self.fingerprint()
        self._check_memory(memory, ids.shape[0], fingerprint)
        if mask is not None:  # padding that nobody needs costs as much as text
            longest = max(1, int((mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).max()))
            ids, mask = ids[:, :longest], mask[:, :longest]
        encoded = self.encode(ids, mask, memory)
        slots = self.memory_attention(memory.slots, encoded, mask)
        return memory.advance(slots, fingerprint)

    def init_memory(self, batch_size: int = 1, seed: int | None = None) -> Memory:
        """The memory of a conversation that has not begun, slots (L, B, S, D). The same seed draws the same memory.

        A model whose configuration has a ``memory_seed`` starts every conversation from that one draw, whatever
        ``seed``.
        """
        weight = self.decoder.embedding.weight
        config = self.config
        if config.memory_seed is not None:
            slots = initial_slots(config.memory_shape, 1, config.memory_init, config.memory_seed).repeat(
                1, batch_size, 1, 1
            )
        else:
            slots = initial_slots(config.memory_shape, batch_size, config.memory_init, seed)
        return Memory(slots.to(weight.device, weight.dtype), fingerprint=None if self.training else self.fingerprint())

    def check_memory(self, memory: Memory, batch_size: int | None = None) -> None:
        """Refuse a memory of another shape, or one that other weights made: it would mean nothing to this model.

        With ``batch_size``, also one of more or fewer conversations: a single one would be spread over all without a
        word.
        """
        known = None if self.training or memory.fingerprint is None else self.fingerprint()
        self._check_memory(memory, batch_size, known)

    def _check_memory(self, memory: Memory, batch_size: int | None, fingerprint: str | None) -> None:
        layers, slots, width = self.config.memory_shape
        found = (memory.slots.shape[0], memory.slots.shape[2], memory.slots.shape[3])
        if found != (layers, slots, width):
            raise UserError(f"this model's memory has (L, S, D) = {(layers, slots, width)}, found {found}")
        if batch_size is not None and memory.batch_size != batch_size:
            raise UserError(
                f"a memory of {memory.batch_size} conversations does not go with the tokens of {batch_size}"
            )
        if memory.fingerprint is not None and fingerprint is not None and memory.fingerprint != fingerprint:
            raise UserError(
                f"this memory was made by other weights: it has fingerprint {memory.fingerprint}, the model {fingerprint}"  # noqa: E501
            )

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any weight; computed again only after a weight has changed."""
        if self._stands_for is not None:
            return self._stands_for
        state = self._weight_state()
        if self.training or self._fingerprint is None or self._fingerprint[0] != state:
            digest = hashlib.sha256()
            for name, weight in [*self.named_parameters(), *self.named_buffers()]:
                digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
                digest.update(weight.detach().cpu().flatten().view(torch.uint8).numpy().data)
            self._fingerprint = (state, digest.hexdigest()[:16])
        return self._fingerprint[1]

    def reader(self, compiled: bool = False) -> Decoder:
        """The decoder for inference: in evaluation on a processor a copy laid out for reading, made anew after a weight
        has changed.

        It has linear weights of its own and shares all others: experts, norms, embedding. ``compiled`` asks for the one
        whose steps are to be compiled, which has experts of its own.
        """
        from rxt.model.reading import compiling_copy, reading_copy

        if self.training or self.decoder.embedding.weight.device.type != "cpu":
            return self.decoder
        state = self._weight_state()
        if compiled not in self._readers or self._readers[compiled][0] != state:
            make = compiling_copy if compiled else reading_copy
            self._readers[compiled] = (state, make(self.decoder))
        return self._readers[compiled][1]

    def stand_for(self, original: ReactiveTransformer) -> None:
        """From now on this is a form of another model, for inference: it goes by that model's fingerprint and is not
        saved."""
        self._stands_for, self._readers = original.fingerprint(), {}

    def _weight_state(self) -> WeightState:
        """Changes whenever a weight does, and costs nothing to find out."""
        weights = [*self.parameters(), *self.buffers()]
        return tuple((weight.data_ptr(), -1 if weight.is_inference() else weight._version) for weight in weights)

    def train(self, mode: bool = True) -> ReactiveTransformer:
        """Switch between training and evaluation. The fingerprint is forgotten: fused optimizers write weights without
        a trace."""
        if mode != self.training:
            self._fingerprint, self._readers = None, {}
        super().train(mode)
        return self

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
        from rxt.generation.generate import generate
        from rxt.generation.sampling import Sampling

        return generate(
            self, ids, memory, max_new_tokens, Sampling(temperature=temperature), stop_at_eos, compiled=compiled
        )

    def save_pretrained(self, folder: str | Path, layout: Literal["rxt", "published"] = "rxt") -> None:
        """Write ``config.json`` and ``model.safetensors`` into a folder, each whole or not at all."""
        from rxt.interop.published_export import save_published
        from rxt.model.checkpoint import save_model

        if self._stands_for is not None:
            raise UserError(
                "a quantized model is not saved: save the model that it was made of, and quantize again after loading"
            )
        match layout:
            case "rxt":
                save_model(self, Path(folder))
            case "published":
                save_published(self, Path(folder))
            case _:
                raise UserError(f"there is no layout {layout!r}: write 'rxt' or 'published'")

    def push_to_hub(
        self,
        hub_id: str,
        tokenizer: Saves | str | Path | None = None,
        card: str | Path | None = None,
        revision: str | None = None,
        private: bool = False,
        layout: Literal["rxt", "published"] = "rxt",
    ) -> str:
        """Upload the model to the Hugging Face Hub as one commit, and return its address there.

        Args:
            hub_id: ``owner/name``; made where there is no such repository yet.
            tokenizer: a ``ChatTokenizer``, a ``tokenizer.json``, or the model's folder, which holds one.
            card: a README.md to show there. By default the one beside ``tokenizer``; else the one that the repository
                has already stays; else a short one with the model's sizes is written.
            revision: a branch, made where it is missing; the main branch by default.
            private: whether a new repository is private.

        Raises:
            UserError: you are not logged in, may not write there, or the Hub cannot be reached.
        """
        from rxt.interop.hub import push

        return push(self, hub_id, tokenizer, card, revision, private, layout)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, revision: str | None = None, cache_dir: str | Path | None = None
    ) -> ReactiveTransformer:
        """Load a folder, or a hub id ``owner/name``, in either layout: its ``config.json`` tells which.

        Every tensor must be there, and no other. The model comes ready for inference. ``revision`` (a branch, tag or
        commit) and ``cache_dir`` are for models of the Hub.
        """
        from rxt.folders import model_folder
        from rxt.interop.published import is_published, load_published
        from rxt.model.checkpoint import CONFIG, load_model

        folder = model_folder(source, revision=revision, cache_dir=cache_dir)
        return load_published(folder) if is_published(read_json(folder / CONFIG)) else load_model(folder)

    @classmethod
    def from_components(
        cls,
        decoder: Decoder | str | Path,
        encoder: Encoder | str | Path,
        memory_attention: MemoryAttention | str | Path,
        embedding: Literal["decoder", "encoder"] | None = None,
        like: RxTConfig | None = None,
    ) -> ReactiveTransformer:
        """Put trained parts together, each a module or where ``rxt.load_component`` finds one. Modules are copied,
        never changed.

        Args:
            embedding: whose table both use; needed where decoder and encoder bring different ones.
            like: special tokens, template, title of system prompts and fresh memory as in this configuration, which no
            part
                holds; by default those of ``RxTConfig``. Its own parts do not matter.

        Raises:
            UserError: widths, layers or vocabularies do not agree, embeddings differ and none is chosen, or a part is
            of
                another kind. Lengths may differ: the shorter one is the model's.
        """
        from rxt.interop.assemble import assemble

        return assemble(decoder, encoder, memory_attention, embedding, like)
