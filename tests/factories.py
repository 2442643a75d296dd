"""The tiny models and tokenizers of all tests: one place to change when a configuration gets a new field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache

import torch
from torch import Tensor, nn

from rxt.config import (
    AttentionConfig,
    DecoderConfig,
    EncoderConfig,
    FeedForwardConfig,
    MemoryAttentionConfig,
    MoEConfig,
    PoolConfig,
    RxTConfig,
    SpecialTokens,
    TemplateName,
)
from rxt.data.tokenizer import ChatTokenizer
from rxt.model.decoder import Decoder
from rxt.pretrained import ReactiveTransformer

TEXTS = ("hello there, how are you", "my name is Ann and I live in Graz") * 3
ATTENTION = AttentionConfig.sqa(4)
ALPHA = SpecialTokens()


@cache
def tiny_tokenizer(template: TemplateName = "alpha") -> ChatTokenizer:
    """A byte-level tokenizer of at most 320 tokens, trained on two sentences."""
    return ChatTokenizer.train(TEXTS, 320, template)


def tiny_config(
    vocab_size: int = 320,
    width: int = 32,
    layers: int = 2,
    slots: int = 6,
    max_length: int = 64,
    hidden: int = 48,
    experts: MoEConfig | None = None,
    stateless: int = 0,
    tokens: SpecialTokens = ALPHA,
    memory_seed: int | None = None,
) -> RxTConfig:
    """The configuration of a model with symmetric SQA everywhere, four heads, and SwiGLU of size ``hidden``.

    Args:
        experts: the memory layers' feed-forward in the decoder, in place of the dense one.
        stateless: decoder layers without memory, before those with it.
        tokens: the template follows from them; those of Beta have a thinking token.
    """
    dense = FeedForwardConfig(hidden)
    return RxTConfig(
        DecoderConfig(
            vocab_size,
            width,
            layers,
            ATTENTION,
            ATTENTION,
            experts or dense,
            max_length,
            stateless=(dense,) * stateless,
        ),
        EncoderConfig(vocab_size, width, layers, ATTENTION, dense, max_length),
        MemoryAttentionConfig(width, layers, slots, ATTENTION),
        tokens=tokens,
        template="alpha" if tokens.think is None else "beta",
        memory_seed=memory_seed,
    )


def tiny_model(config: RxTConfig) -> ReactiveTransformer:
    """A random model in evaluation mode."""
    return ReactiveTransformer(config).eval()


def chat_model(
    seed: int = 0,
    max_length: int = 48,
    vocab_size: int = 320,
    tokens: SpecialTokens = ALPHA,
    memory_seed: int | None = None,
    experts: MoEConfig | None = None,
) -> ReactiveTransformer:
    """A random model in evaluation mode whose logits differ enough from each other to have a clear best."""
    torch.manual_seed(seed)
    model = tiny_model(
        tiny_config(
            vocab_size, max_length=max_length, experts=experts, stateless=1, tokens=tokens, memory_seed=memory_seed
        )
    )
    with torch.no_grad():
        model.decoder.head.weight.mul_(8)
    return model


FRAGMENTS = PoolConfig(fragment_slots=2, chosen=2, key_width=8, new_below=-1, most_writes=2)
"""Of a pool that opens its third fragment in the third turn."""


def pooled_model(pool: PoolConfig = FRAGMENTS, seed: int = 0, max_length: int = 48) -> ReactiveTransformer:
    """:func:`chat_model` with a pool and a random router."""
    model = chat_model(seed, max_length).with_pool(pool)
    assert model.router is not None
    torch.manual_seed(seed + 1)
    with torch.no_grad():
        for weight in model.router.parameters():
            weight.normal_()
    return model


def remembering_model(seed: int = 0) -> ReactiveTransformer:
    """A random model in evaluation mode whose answers depend on its memory."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    model = tiny_model(tiny_config().with_vocabulary(tokenizer.vocab_size, tokenizer.tokens))
    draw_matrices(model, 0.25)
    return model


def draw_matrices(model: nn.Module, scale: float) -> None:
    """Draw every matrix of a model from N(0, scale²)."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=scale)


def linear_head(decoder: Decoder) -> nn.Linear:
    """The head of a decoder that has a matrix of its own."""
    assert isinstance(decoder.head, nn.Linear)
    return decoder.head


class ScriptedHead(nn.Module):
    """A head that reads its logits from a script, one line a step, whatever the decoder has computed.

    A line is a token, or logits by token, where the others have 0.
    """

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.script: Iterator[int | Mapping[int, float]] = iter(())

    def follow(self, script: Iterable[int | Mapping[int, float]]) -> None:
        """Begin a new script; a step without a line is an error."""
        self.script = iter(script)

    def forward(self, states: Tensor) -> Tensor:
        line = next(self.script, None)
        assert line is not None, "the script is at its end"
        logits = states.new_zeros(self.vocab_size)
        for token, logit in {line: 50.0}.items() if isinstance(line, int) else line.items():
            logits[token] = logit
        return logits.expand(*states.shape[:-1], self.vocab_size)

    def __deepcopy__(self, copies: object) -> ScriptedHead:
        return self  # a copy for inference goes on in the same script


def scripted_model(max_length: int = 96) -> tuple[ReactiveTransformer, ChatTokenizer, ScriptedHead]:
    """A random model with the beta template that says what its head is told to."""
    tokenizer = tiny_tokenizer("beta")
    model = chat_model(max_length=max_length, tokens=tokenizer.tokens)
    head = ScriptedHead(model.config.decoder.vocab_size)
    model.decoder.head = head  # type: ignore[assignment]
    return model, tokenizer, head
