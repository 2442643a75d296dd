"""Texts as vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.model.classifier import mean_pooled
from rxt.model.encoder import Encoder, SharedEncoder, without_memory
from rxt.model.reactive import ReactiveTransformer
from rxt.understanding.text_encoder import TextEncoder, load_text_encoder

Source = str | Path | ReactiveTransformer | Encoder | SharedEncoder | None


def embed(model: Source, texts: Sequence[str], tokenizer: ChatTokenizer | None = None) -> Tensor:
    """Embeddings (N, D) of N texts, float32, on the CPU: the mean over all tokens of the encoder's last layer.

    Args:
        model: a folder or ``owner/name`` on the Hub with a whole model or an encoder, None for the bundled model, or
            one of these loaded.
        tokenizer: needed with a loaded model; otherwise the one beside the weights.

    Raises:
        UserError: a text is empty or too long, or there is no tokenizer.
    """
    if isinstance(texts, str):
        raise UserError("embed takes a list of texts, found a single one; write [text]")
    reader = _reader(model, tokenizer)
    return pooled(reader, [reader.ids(text) for text in texts])


@torch.inference_mode()
def pooled(reader: TextEncoder, sequences: Sequence[Sequence[int]]) -> Tensor:
    """Embeddings (N, D) of N token sequences, as of ``reader.ids``, float32, on the CPU."""
    found = torch.empty(len(sequences), reader.encoder.config.width)
    for places, rows in reader.batches(sequences):
        found[places] = mean_pooled(reader.encoder(rows.ids, rows.mask), rows.mask).float().cpu()
    return found


def _reader(model: Source, tokenizer: ChatTokenizer | None) -> TextEncoder:
    if model is None or isinstance(model, str | Path):
        return load_text_encoder(model, tokenizer)
    if tokenizer is None:
        raise UserError("a loaded model does not know its tokenizer; give it too: tokenizer=rxt.ChatTokenizer.load(…)")
    encoder = model.encoder if isinstance(model, ReactiveTransformer) else model
    return TextEncoder(without_memory(encoder), tokenizer)
