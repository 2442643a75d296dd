"""Small random models for the tests of this folder."""

import torch

from rxt.config import (
    AttentionConfig,
    DecoderConfig,
    EncoderConfig,
    FeedForwardConfig,
    MemoryAttentionConfig,
    MoEConfig,
    RxTConfig,
    SpecialTokens,
)
from rxt.model.reactive import ReactiveTransformer

ALPHA = SpecialTokens()


def make_model(
    seed: int = 0,
    max_length: int = 48,
    vocab_size: int = 320,
    tokens: SpecialTokens = ALPHA,
    memory_seed: int | None = None,
    experts: MoEConfig | None = None,
) -> ReactiveTransformer:
    """A random model, in evaluation mode, whose logits differ enough from each other to have a clear best."""
    attention, feed_forward = AttentionConfig.sqa(4), FeedForwardConfig(dim=48)
    config = RxTConfig(
        DecoderConfig(
            vocab_size, 32, 2, attention, attention, experts or feed_forward, max_length, stateless=(feed_forward,)
        ),
        EncoderConfig(vocab_size, 32, 2, attention, feed_forward, max_length),
        MemoryAttentionConfig(32, 2, 6, attention),
        tokens=tokens,
        template="alpha" if tokens.think is None else "beta",
        memory_seed=memory_seed,
    )
    torch.manual_seed(seed)
    model = ReactiveTransformer(config).eval()
    with torch.no_grad():
        model.decoder.head.weight.mul_(8)
    return model
