"""The timed baselines really hold the conversation: what they say is what the plain model says after the same
history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from factories import remembering_model, tiny_config, tiny_model
from rxt.baselines import timing
from rxt.baselines.config import DecoderOnlyConfig
from rxt.baselines.decoder_only import DecoderOnly
from rxt.baselines.timing import KeptCache, ReRead, WithoutMemory, answer
from rxt.config import AttentionConfig, FeedForwardConfig
from rxt.model.decoder import Decoder, DecoderLayer
from rxt.model.grow import adapt_layer

CONFIG = DecoderOnlyConfig(50, 16, 2, AttentionConfig.sqa(4), FeedForwardConfig(24), 64)
Q, A = 5, 3


def make() -> DecoderOnly:
    model = DecoderOnly(CONFIG).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.4)
    return model


@torch.no_grad()
def naive(logits: Callable[[Tensor], Tensor], ids: Tensor, tokens: int) -> list[int]:
    said: list[int] = []
    for _ in range(tokens):
        said.append(int(logits(torch.cat([ids, torch.tensor([said], dtype=torch.long)], 1))[0, -1].argmax()))
    return said


def without_memory(decoder: Decoder) -> Callable[[Tensor], Tensor]:
    return lambda ids: decoder.head(decoder.hidden(ids, None).states)


def listen(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Everything that the timed models say from now on."""
    heard: list[list[int]] = []

    def told(*arguments: object) -> list[int]:
        heard.append(answer(*arguments))  # type: ignore[arg-type]
        return heard[-1]

    monkeypatch.setattr(timing, "answer", told)
    return heard


@pytest.mark.parametrize("grown", [False, True], ids=["decoder-only", "without its memory"])
def test_both_say_what_the_plain_model_says(monkeypatch: pytest.MonkeyPatch, grown: bool) -> None:
    monkeypatch.setattr(timing, "CHUNK", 4)
    heard = listen(monkeypatch)
    decoder, plain, history = remembering_model().decoder, make(), torch.randint(50, (6, Q + A))
    model = WithoutMemory(decoder) if grown else plain
    logits = without_memory(decoder) if grown else plain
    again, kept = ReRead(model), KeptCache(model, 6 * (Q + A))
    done = 0
    for turn in (1, 2, 5, 6):
        query = history[turn - 1 : turn, :Q]
        expected = naive(logits, torch.cat([history[: turn - 1].reshape(1, -1), query], 1), A)
        for subject in (again, kept):
            subject.skip(history[done : turn - 1])
            for _ in range(2):  # a turn can be timed again
                cost = subject.turn(query, A)
                assert heard[-1] == expected
                assert 0 < cost.first_token <= cost.last_token
                assert cost.update == 0
        done = turn - 1
    assert len({tuple(said) for said in heard}) > 1


def test_parameters_without_a_memory_are_those_that_a_decoder_without_one_has() -> None:
    config = tiny_config().decoder
    plain = Decoder(replace(config, memory_layers=()), nn.Embedding(config.vocab_size, config.width))
    assert WithoutMemory(tiny_model(tiny_config()).decoder).size == sum(each.numel() for each in plain.parameters())


@torch.no_grad()
def test_low_rank_adapters_are_the_memory_s_and_not_the_base_s() -> None:
    decoder, history = remembering_model().decoder, torch.randint(50, (1, 7))
    plain = WithoutMemory(decoder)
    size, said = plain.size, plain.begin(history, plain.new_cache(1, 7))
    for layer in decoder.layers:
        assert isinstance(layer, DecoderLayer)
        adapt_layer(layer, 2)
        for name, weight in layer.named_parameters():
            if name.endswith("lora_up"):
                nn.init.ones_(weight)
    assert plain.size == size
    torch.testing.assert_close(plain.begin(history, plain.new_cache(1, 7)), said, rtol=0, atol=0)


def test_what_is_kept_and_what_is_read() -> None:
    model, history = make(), torch.randint(50, (4, Q + A))
    again, kept = ReRead(model), KeptCache(model, 4 * (Q + A))
    first = [subject.turn(history[:1, :Q], A) for subject in (again, kept)]
    for subject in (again, kept):
        subject.skip(history[:3])
    fourth = [subject.turn(history[3:, :Q], A) for subject in (again, kept)]
    whole, token = (
        4 * (Q + A),
        2 * CONFIG.layers * CONFIG.attention.kv_heads * (CONFIG.width // CONFIG.attention.heads) * 4,
    )
    assert [cost.tokens for cost in first] == [Q + A - 1] * 2, "the last token of an answer is read with the next query"
    assert [cost.tokens for cost in fourth] == [whole - 1, Q + A]
    assert [cost.state_bytes for cost in first] == [(Q + A) * 8, (Q + A - 1) * token]
    assert [cost.state_bytes for cost in fourth] == [whole * 8, (whole - 1) * token]
