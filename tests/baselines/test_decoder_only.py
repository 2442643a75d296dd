"""The decoder-only baseline: read at once, in pieces or token by token, it says the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rxt.baselines.config import DecoderOnlyConfig
from rxt.baselines.decoder_only import DecoderOnly, equal_size, parameter_count
from rxt.config import AttentionConfig, FeedForwardConfig, MoEConfig, RxTConfig
from rxt.errors import UserError
from rxt.model.parameters import parameter_counts
from rxt.pretrained import ReactiveTransformer

DENSE = FeedForwardConfig(24)
CONFIG = DecoderOnlyConfig(50, 16, 3, AttentionConfig.mha(4), DENSE, 64)
CONFIGS = {
    "plain": CONFIG,
    "grouped": replace(CONFIG, attention=AttentionConfig.gqa(4, 2)),
    "sparse, gated, layer norm": replace(
        CONFIG, attention=AttentionConfig(4, 2, 2, gated=True, qk_norm=True), norm="layer"
    ),
    "experts, no head norm": replace(CONFIG, feed_forward=MoEConfig(12, 4, 2), head_norm=None),
}


def make(config: DecoderOnlyConfig) -> DecoderOnly:
    model = DecoderOnly(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3)
    return model


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_cached_is_uncached(name: str) -> None:
    model = make(CONFIGS[name])
    ids = torch.randint(50, (3, 11))
    whole = model(ids)
    cache = model.new_cache(3, 20)
    first, last = model.begin(ids[:, :8], cache), model.read(ids[:, 8:], torch.arange(8, 11).expand(3, -1), cache)
    torch.testing.assert_close(model.head(torch.cat([first, last], 1)), whole)
    for pieces in ([11], [1] * 11, [4, 6, 1]):
        cache, found, start = model.new_cache(3, 20), [], 0
        for length in pieces:
            positions = torch.arange(start, start + length).expand(3, -1)
            start += length
            found.append(model.step(ids[:, start - length : start], positions, cache.first(start)))
        torch.testing.assert_close(torch.cat(found, 1), whole)
        assert not cache.keys[:, :, :, 11:].any(), "nothing is written beyond the tokens"


@torch.no_grad()
def test_rows_of_a_cache_stand_at_positions_of_their_own() -> None:
    model = make(CONFIG)
    rows = [torch.randint(50, (1, length)) for length in (5, 2)]
    cache = model.new_cache(2, 9)
    padded = torch.zeros(2, 5, dtype=torch.long)
    for row, ids in enumerate(rows):
        padded[row, : ids.shape[1]] = ids[0]
    model.read(padded, torch.arange(5).expand(2, -1), cache)
    new = torch.tensor([[7], [9]])
    found = model.step(new, torch.tensor([[5], [2]]), cache)
    for row, ids in enumerate(rows):
        alone = model(torch.cat([ids, new[row : row + 1]], 1))[:, -1]
        torch.testing.assert_close(found[row], alone)


@torch.no_grad()
def test_padding_and_the_future_are_not_seen() -> None:
    model = make(CONFIG)
    ids = torch.randint(50, (1, 8))
    padded = torch.cat([ids, torch.zeros(1, 3, dtype=torch.long)], 1)
    mask = torch.arange(11)[None] < 8
    found = model(padded, mask)
    torch.testing.assert_close(found[:, :8], model(ids))
    assert not found[:, 8:].any()
    torch.testing.assert_close(model(ids[:, :5]), model(ids)[:, :5])


@torch.no_grad()
def test_hidden_is_what_the_head_reads_and_experts_are_balanced() -> None:
    for name in ("plain", "experts, no head norm"):
        model = make(CONFIGS[name])
        ids = torch.randint(50, (2, 6))
        hidden = model.hidden(ids)
        torch.testing.assert_close(model.head(hidden.states), model(ids))
        assert bool(hidden.balance > 0) == (name != "plain")


def test_the_sizes_agree_with_the_reactive_transformer_as_well_as_layers_can() -> None:
    for preset in ("pocket", "rxt-alpha-nano"):
        config = RxTConfig.preset(preset)
        found = equal_size(config, 1_000)
        step = parameter_count(replace(found.config, layers=2)) - parameter_count(replace(found.config, layers=1))
        assert found.parameters == parameter_count(found.config)
        assert found.wanted == parameter_counts(config).total
        assert abs(found.parameters - found.wanted) <= step / 2
    config = RxTConfig.preset("pocket")
    model = DecoderOnly(equal_size(config, 64).config)
    assert sum(parameter.numel() for parameter in model.parameters()) == equal_size(config, 64).parameters
    decoder = ReactiveTransformer(config).decoder
    assert model.config.width == decoder.config.width
    assert model.config.attention == decoder.config.cross_attention


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(UserError, match=r"self_attention\.heads 3 must divide width 16"):
        replace(CONFIG, attention=AttentionConfig.mha(3))
    with pytest.raises(UserError, match="layers must be at least 1"):
        replace(CONFIG, layers=0)
