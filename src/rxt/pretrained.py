"""The model that users hold: the Reactive Transformer of ``rxt.model.reactive``, with loading, saving and generating.

Everything below this file (training, generation, the server's engine) takes the plain model and needs no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from torch import Tensor

from rxt.config import Markers, PoolConfig, RxTConfig, SpecialTokens, TemplateName
from rxt.config.on_base import memory_on
from rxt.data.tokenizer import ChatTokenizer
from rxt.folders import model_folder
from rxt.generation.conversation import Conversation
from rxt.generation.generate import generate
from rxt.generation.manner import FAST, Manner
from rxt.generation.sampling import GREEDY, Sampling
from rxt.generation.shared_memory import SharedMemory
from rxt.interop.assemble import Embedding, assemble
from rxt.interop.backbone import Backbone
from rxt.interop.hub import Saves, push
from rxt.interop.layouts import Layout, load_pretrained, save_pretrained
from rxt.interop.on_base import load_tokenizer
from rxt.model import reactive
from rxt.model.decoder import Decoder
from rxt.model.encoder import Encoder
from rxt.model.grow import grow
from rxt.model.memory import Memory
from rxt.model.memory_attention import MemoryAttention
from rxt.model.mixture_of_memory import with_pool
from rxt.model.pool import Pool

if TYPE_CHECKING:
    from rxt.model.rounded_updates import Updates


class ReactiveTransformer(reactive.ReactiveTransformer):
    """A Reactive Transformer that can be loaded, saved, uploaded, put together out of parts, and asked to generate."""

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
        sampling = Sampling(temperature=temperature)
        return generate(self, ids, memory, max_new_tokens, sampling, stop_at_eos, compiled=compiled)

    def with_pool(self, pool: PoolConfig) -> Self:
        """The same model, its weights shared, for conversations that have more fragments of memory than a turn sees.

        The router that chooses them is new and untrained. Memories of this model are none of the new one's.

        Raises:
            UserError: the fragments need more slots than the memory has, the encoder reads memory, or the model is
                quantized.
        """
        return with_pool(self, pool)

    def save_pretrained(
        self, folder: str | Path, layout: Layout = "rxt", merged: bool = False, half: bool = False
    ) -> None:
        """Write ``config.json`` and ``model.safetensors`` into a folder, each whole or not at all.

        Of a model that is built on a pre-trained one, these are the weights of the memory alone, and which base they
        need; ``merged`` writes all. ``half`` rounds them to float16, half the room; they are loaded as float32 all the
        same.
        """
        save_pretrained(self, folder, layout, merged, half)

    def push_to_hub(
        self,
        hub_id: str,
        tokenizer: Saves | str | Path | None = None,
        card: str | Path | None = None,
        revision: str | None = None,
        private: bool = False,
        layout: Layout = "rxt",
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
        return push(self, hub_id, tokenizer, card, revision, private, layout)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        base: str | Path | None = None,
    ) -> Self:
        """Load a folder, or a hub id ``owner/name``, in either layout: its ``config.json`` tells which.

        Every tensor must be there, and no other. The model comes ready for inference. ``revision`` (a branch, tag or
        commit) and ``cache_dir`` are for models of the Hub. ``base``: where the pre-trained model is that this one is
        built on, if not where its configuration says.
        """
        return load_pretrained(source, cls, revision, cache_dir, base)

    @classmethod
    def on_base(
        cls,
        backbone: Backbone,
        memory_layers: Sequence[int] | None = None,
        slots: int = 48,
        max_length: int | None = None,
        tokens: SpecialTokens | None = None,
        markers: Markers | None = None,
        adapter_rank: int = 0,
        tokens_as_slots: bool = False,
        template: TemplateName = "alpha",
    ) -> Self:
        """Give a pre-trained model a memory, still untrained. Its layers are shared, not copied, and are the encoder
        too.

        Args:
            memory_layers: those that read memory, counted from 0; by default every third from two fifths to five
                sixths of the way up (in small models more, in large ones fewer), with ``tokens_as_slots`` all from a
                quarter of the way up.
            slots: S, of each of them.
            max_length: of an interaction, in tokens; by default 2048, or what the base takes.
            tokens: the special tokens of its interactions: of :func:`rxt.load_base_tokenizer`, its ``tokens``.
            markers: what stands around their parts; of the same, its ``markers``.
            adapter_rank: of low-rank adapters (LoRA) beside the matrices of all layers from the first that reads memory
                on; by default there are none.
            tokens_as_slots: slots hold the tokens of interactions, and the layers' own self-attention looks at them; by
                default every layer that reads memory gets a cross-attention of its own.
            template: ``beta`` for thinking and tools, whose markers :func:`rxt.with_parts` finds in the vocabulary.

        Raises:
            UserError: layers that the model has not, a length that it does not take, or ``tokens`` without the parts of
                ``beta``.
        """
        base = backbone.identity()
        config = memory_on(
            backbone.config,
            base,
            memory_layers,
            slots,
            max_length,
            tokens,
            markers,
            adapter_rank,
            tokens_as_slots,
            template,
        )
        return grow(backbone.decoder, config, cls)

    @classmethod
    def from_components(
        cls,
        decoder: Decoder | str | Path,
        encoder: Encoder | str | Path,
        memory_attention: MemoryAttention | str | Path,
        embedding: Embedding | None = None,
        like: RxTConfig | None = None,
    ) -> Self:
        """Put trained parts together, each a module or where ``rxt.load_component`` finds one. Modules are copied,
        never changed.

        Args:
            embedding: whose table both use, ``"decoder"`` or ``"encoder"``; needed where they bring different ones.
            like: special tokens, template, title of system prompts and fresh memory as in this configuration, which no
                part holds; by default those of ``RxTConfig``. Its own parts do not matter.

        Raises:
            UserError: widths, layers or vocabularies do not agree, embeddings differ and none is chosen, or a part is
                of another kind. Lengths may differ: the shorter one is the model's.
        """
        return assemble(decoder, encoder, memory_attention, embedding, like, cls)


def load_chat(
    source: str | Path | None = None,
    seed: int | None = 0,
    sampling: Sampling = GREEDY,
    system: str | None = None,
    max_new_tokens: int | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    base: str | Path | None = None,
    manner: Manner = FAST,
    knowledge: Pool | None = None,
    shared: SharedMemory | None = None,
    updates: Updates = "float32",
) -> Conversation:
    """A conversation with the model in a folder or on the Hugging Face Hub (``owner/name``); ``None`` is the bundled
    one.

    ``revision`` (a branch, tag or commit) and ``cache_dir`` are for models of the Hub. ``base``: where the pre-trained
    model is that this one is built on, if not where its configuration says. ``manner``: mode, budget and tools of turns
    that do not ask for others. ``knowledge``: fragments to begin with, ``shared``: those of the user's other
    conversations, for models with a pool. ``updates``: the type that memory updates multiply in, as in
    :func:`rxt.round_updates`; ``auto`` times both.

    Raises:
        UserError: there is no such model, or its updates cannot be in bfloat16.
    """
    model, tokenizer = load_model(source, revision, cache_dir, base)
    if updates != "float32":
        from rxt.model.rounded_updates import with_updates

        model = with_updates(model, updates)
    return Conversation(
        model, tokenizer, seed, sampling, system, max_new_tokens, manner=manner, knowledge=knowledge, shared=shared
    )


def load_model(
    source: str | Path | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    base: str | Path | None = None,
) -> tuple[ReactiveTransformer, ChatTokenizer]:
    """A model and its tokenizer, from where :func:`load_chat` takes them."""
    folder = model_folder(source, revision=revision, cache_dir=cache_dir)
    model = ReactiveTransformer.from_pretrained(folder, cache_dir=cache_dir, base=base)
    return model, load_tokenizer(folder, model.config, base, cache_dir)
