from pathlib import Path

import pytest
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


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved random model with its tokenizer."""
    torch.manual_seed(0)
    attention, feed_forward = AttentionConfig.sqa(4), FeedForwardConfig(dim=48)
    config = RxTConfig(
        DecoderConfig(320, 32, 2, attention, attention, feed_forward, 48),
        EncoderConfig(320, 32, 2, attention, feed_forward, 48),
        MemoryAttentionConfig(32, 2, 6, attention),
    )
    path = tmp_path_factory.mktemp("models") / "tiny"
    ReactiveTransformer(config).eval().save_pretrained(path)
    ChatTokenizer.train(["hello there, how are you", "my name is Ann and I live in Graz"] * 3, 320).save(path)
    return path
