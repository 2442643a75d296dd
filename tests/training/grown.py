"""A tiny random base as it is published, and models that are grown on it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from micro import tokenizer
from safetensors.torch import save_file
from torch import nn

from rxt.config import AttentionConfig, BaseModel, DecoderConfig, FeedForwardConfig
from rxt.config.on_base import memory_on
from rxt.interop.llama import places
from rxt.model.decoder import Decoder
from rxt.model.grow import grow
from rxt.pretrained import ReactiveTransformer

WIDTH, LAYERS, HEADS, KV_HEADS, LENGTH = 32, 5, 4, 2, 96
READING = (1, 3, 4)
SLOTS = 16
"""Enough for a queue of two groups."""


def base_config(vocab_size: int) -> DecoderConfig:
    attention = AttentionConfig(HEADS, HEADS, KV_HEADS, output_bias=False, rope_base=50_000.0)
    return DecoderConfig(
        vocab_size,
        WIDTH,
        LAYERS,
        attention,
        attention,
        FeedForwardConfig(48, bias=False),
        LENGTH,
        head_norm="rms",
        norm_eps=1e-5,
        head_bias=False,
        tied_head=True,
        memory_layers=(),
    )


def random_base(vocab_size: int) -> Decoder:
    """Its weights are large enough for everything to matter."""
    torch.manual_seed(5)
    config = base_config(vocab_size)
    decoder = Decoder(config, nn.Embedding(vocab_size, WIDTH)).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.25)
    return decoder


def grown(vocab_size: int = 13, double: bool = False, rank: int = 0, tokens: bool = False) -> ReactiveTransformer:
    """A model on a random base, whose memory is heard."""
    decoder = random_base(vocab_size)
    if double:
        decoder = decoder.double()
    torch.manual_seed(6)
    base = BaseModel("tiny", "0")
    config = memory_on(decoder.config, base, READING, SLOTS, adapter_rank=rank, tokens_as_slots=tokens)
    config = replace(config, memory_init="learned")  # of zeros nothing is heard
    model = grow(decoder, config, ReactiveTransformer)
    with torch.no_grad():
        assert model.fresh_memory is not None
        model.fresh_memory.mul_(10)
        for name, parameter in model.named_parameters():
            if tokens and name.endswith(("queries", "lora_up")):  # as if they had learned something
                parameter.normal_(std=0.1)
    return model.train()


@cache
def _stored(vocab_size: int) -> tuple[dict[str, torch.Tensor], str]:
    decoder = random_base(vocab_size)
    config = decoder.config
    values = {
        "model_type": "llama",
        "vocab_size": vocab_size,
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": LENGTH,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.self_attention.rope_base,
        "tie_word_embeddings": True,
    }
    return {name: tensor.clone().contiguous() for name, tensor in places(decoder).items()}, json.dumps(values)


def store_base(folder: Path) -> Path:
    """A folder as ``transformers`` writes it, with the tests' tokenizer."""
    folder.mkdir(parents=True)
    tensors, config = _stored(tokenizer().vocab_size)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(config)
    tokenizer().save(folder / "tokenizer.json")
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("bos", "eos", "pad")}
    (folder / "tokenizer_config.json").write_text(json.dumps(special))
    return folder
