"""A small random model whose answers depend on its memory, and its tokenizer."""

from __future__ import annotations

from functools import cache

import torch

from rxt.config import (
    AttentionConfig,
    DecoderConfig,
    EncoderConfig,
    FeedForwardConfig,
    MemoryAttentionConfig,
    RxTConfig,
)
from rxt.data.tokenizer import ChatTokenizer
from rxt.model.reactive import ReactiveTransformer

ATTENTION, DENSE = AttentionConfig.sqa(4), FeedForwardConfig(48)
MODEL = RxTConfig(
    DecoderConfig(320, 32, 2, ATTENTION, ATTENTION, DENSE, 64),
    EncoderConfig(320, 32, 2, ATTENTION, DENSE, 64),
    MemoryAttentionConfig(32, 2, 6, ATTENTION),
)


@cache
def tokenizer() -> ChatTokenizer:
    return ChatTokenizer.train(["hello there, how are you", "my name is Ann and I live in Graz"] * 3, 320)


def small_model(seed: int = 0) -> ReactiveTransformer:
    torch.manual_seed(seed)
    model = ReactiveTransformer(MODEL.with_vocabulary(tokenizer().vocab_size, tokenizer().tokens)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.25)
    return model
