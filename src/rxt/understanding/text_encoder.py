"""An encoder that reads texts by themselves, ``[BOS] text [EOS]``, as it did when it learned to guess hidden words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rxt.config import read_json
from rxt.data.collate import Rows, collate_rows
from rxt.data.template import Encoded
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.folders import model_folder
from rxt.interop.layouts import load_pretrained
from rxt.interop.published import is_published, load_published_component
from rxt.model.checkpoint import CONFIG
from rxt.model.encoder import Encoder, SharedEncoder, without_memory

MASK = "[MASK]"
"""Stands for a hidden word in a text."""
BATCH = 32


@dataclass(frozen=True)
class TextEncoder:
    """An encoder without memory, and the tokenizer it goes with."""

    encoder: Encoder | SharedEncoder
    tokenizer: ChatTokenizer

    def __post_init__(self) -> None:
        known = self.encoder.config.vocab_size
        if self.tokenizer.vocab_size > known:
            raise UserError(
                f"{self.tokenizer.source}: its vocabulary has {self.tokenizer.vocab_size} tokens, the encoder's "
                f"embedding only {known}: they do not belong together"
            )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.embedding.weight.device

    @property
    def max_length(self) -> int:
        """T: the longest text in tokens, [BOS] and [EOS] included."""
        return self.encoder.config.max_length

    def ids(self, text: str, cut: bool = False) -> list[int]:
        """``[BOS] text [EOS]``.

        Args:
            cut: cut a text that is too long at its end, instead of refusing it.

        Raises:
            UserError: the text is empty or too long.
        """
        return self._framed(text, self.tokenizer.encode(text), cut)

    def masked_ids(self, text: str) -> list[int]:
        """The same, where [MASK] in the text is the token that hides a word; a space before it belongs to the word."""
        return self._framed(text, self.tokenizer.encode_around(text, MASK, self.tokenizer.mask), False)

    def _framed(self, text: str, ids: Sequence[int], cut: bool) -> list[int]:
        if not text.strip():
            raise UserError("the text is empty")
        tokens, room = self.tokenizer.tokens, self.max_length - 2
        begin = [] if tokens.bos is None else [tokens.bos]  # a base's texts may begin with nothing
        if len(ids) > room and not cut:
            raise UserError(
                f"the text is too long: {len(ids)} tokens, at most {room} fit; shorten it ({text[:24]!r} …)"
            )
        return [*begin, *ids[:room], tokens.eos]

    def rows(self, sequences: Sequence[Sequence[int]]) -> Rows:
        """Token sequences as one batch, on the encoder's device."""
        encoded = [Encoded(list(ids), [False] * len(ids)) for ids in sequences]
        return collate_rows(encoded, self.tokenizer.tokens.pad).to(self.device)

    def batches(self, sequences: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], Rows]]:
        """Token sequences of like length together, each batch with the places that its rows have in the input."""
        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            yield places, self.rows([sequences[place] for place in places])


def load_text_encoder(
    source: str | Path | None,
    tokenizer: ChatTokenizer | str | Path | None = None,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
) -> TextEncoder:
    """The encoder of a whole model in either layout, or a published encoder of its own, ready for inference.

    Args:
        source: a folder, ``owner/name`` on the Hugging Face Hub, or None for the bundled model.
        tokenizer: loaded, or a ``tokenizer.json`` or a folder with one; by default the one beside the weights.

    Raises:
        UserError: there is no encoder, or the tokenizer does not go with it.
    """
    folder = model_folder(source, revision=revision, cache_dir=cache_dir)
    values = read_json(folder / CONFIG)
    tokens = None
    if is_published(values) or "decoder" in values:
        model = load_pretrained(folder)
        encoder, tokens = model.encoder, model.config.tokens
    elif "classes" in values:
        raise UserError(f"{folder}: is a classifier; use it with rxt classify, or name the model it was trained from")
    else:
        encoder = load_published_component(folder)
    if not isinstance(encoder, Encoder | SharedEncoder):
        raise UserError(f"{folder}: holds a {type(encoder).__name__}; an encoder or a whole model is needed here")
    if not isinstance(tokenizer, ChatTokenizer):
        tokenizer = ChatTokenizer.load(tokenizer or folder, tokens)
    return TextEncoder(without_memory(encoder), tokenizer)
