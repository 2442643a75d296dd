"""Tiny pre-trained models with a chat template, and random memories on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tiny_bases import store_base
from tiny_tokenizers import store_tokenizer

import rxt
from rxt.data.tokenizer import ChatTokenizer
from rxt.interop.backbone import Backbone
from rxt.pretrained import ReactiveTransformer

LAYERS = (1, 3)
KINDS = {
    "llama": ("llama3.1", "llama3", False),
    "qwen": ("qwen2", "chatml", False),
    "mistral": ("mistral", "llama2", True),
    "tokens": ("qwen2", "chatml", True),
}
"""The base, its chat template, and whether slots hold tokens."""


@dataclass(frozen=True)
class Grown:
    """A model with a memory, and the pre-trained one that it is built on."""

    model: ReactiveTransformer
    tokenizer: ChatTokenizer
    base: Path
    memory: Path
    """A folder with the memory's weights alone."""
    theirs: Any
    """The base, as ``transformers`` loads it."""
    their_tokenizer: Any


def grow(path: Path, kind: str) -> Grown:
    base, template, tokens_as_slots = KINDS[kind]
    folder = path / "base"
    their_tokenizer = store_tokenizer(folder, template)
    theirs = store_base(folder, base, vocab_size=len(their_tokenizer), max_position_embeddings=160, pad_token_id=2)
    tokenizer = rxt.load_base_tokenizer(folder)
    torch.manual_seed(1)
    model = ReactiveTransformer.on_base(
        Backbone.from_pretrained(folder),
        LAYERS,
        8 if tokens_as_slots else 5,
        tokens=tokenizer.tokens,
        markers=tokenizer.markers,
        tokens_as_slots=tokens_as_slots,
    )
    for index in () if tokens_as_slots else LAYERS:  # loud enough for other memories to make other answers
        model.decoder.layers[index].get_parameter("read_scale").data.fill_(2.0)
    model.save_pretrained(path / "memory")
    return Grown(model, tokenizer, folder, path / "memory", theirs, their_tokenizer)
