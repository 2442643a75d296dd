"""Weights that begin able to copy: each token knows the one before it, and what followed a token is found by it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rxt.config import AttentionConfig, RxTConfig
from rxt.config.copying import check_copying
from rxt.errors import UserError
from rxt.model.attention import Attention
from rxt.model.copying_start import start_copying
from rxt.model.decoder import DecoderLayer
from rxt.model.encoder import Encoder, EncoderLayer
from rxt.model.layers import Rotation, rotate, rotation_of
from rxt.model.reactive import ReactiveTransformer
from rxt.presets import preset

CONFIG = preset("hybrid").with_vocabulary(400, preset("hybrid").tokens)


def made(copies: bool = True, seed: int = 0) -> ReactiveTransformer:
    torch.manual_seed(seed)
    model = ReactiveTransformer(CONFIG).eval()
    if copies:
        start_copying(model)
    return model


def looks(attention: Attention, x: Tensor, source: Tensor, rotation: Rotation, turned: bool) -> Tensor:
    """(H, T, S) how much each of the tokens x (1, T, D) looks at each of ``source`` (1, S, D), whose keys are turned as
    well or not."""
    queries = attention.q_proj(x).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
    queries = rotate(queries if attention.q_norm is None else attention.q_norm(queries), rotation)
    keys = attention.keys_values(source, rotation if turned else None).keys
    return (queries @ keys.transpose(-1, -2) / attention.head_dim**0.5).softmax(-1)[0]


def turns(length: int) -> Rotation:
    rotation = rotation_of(CONFIG.decoder.self_attention, CONFIG.decoder.width, torch.arange(length))
    assert rotation is not None
    return rotation


@torch.no_grad()
def test_every_head_of_the_first_layers_looks_at_the_token_before() -> None:
    model = made()
    x = model.decoder.embedding(torch.randint(9, 400, (1, 30)))
    assert isinstance(model.encoder, Encoder)
    for layer in (model.decoder.layers[0], model.encoder.layers[0]):
        assert isinstance(layer, DecoderLayer | EncoderLayer)
        normed = layer.norm1(x)
        weights = looks(layer.attention, normed, normed, turns(30), turned=True)
        assert float(weights[:, torch.arange(1, 30), torch.arange(29)].min()) > 0.7


@torch.no_grad()
def found(model: ReactiveTransformer, strings: int = 50) -> float:
    """Of random strings that stand in memory as their encoded tokens: how often the first layer that reads looks most
    at the token that followed two others."""
    layer, right = model.decoder.layers[0], 0
    assert isinstance(layer, DecoderLayer)
    for _ in range(strings):
        string = torch.randperm(391)[:12] + 9
        start = int(torch.randint(0, 10, ()))
        memory = model.memory_attention.normed(model.encoder(string[None]))[0]
        x, rotation = model.decoder.embedding(string[None, start : start + 2]), turns(2)
        normed = layer.norm1(x)
        x = x + layer.attention(normed, layer.attention.keys_values(normed, rotation), rotation, causal=True)
        weights = looks(layer.cross_attention, layer.norm2(x), memory, rotation, turned=False)
        right += int(weights[:, -1].mean(0).argmax()) == start + 2
    return right / strings


def test_what_followed_is_found_without_any_training() -> None:
    assert found(made()) > 0.8
    assert found(made(copies=False)) < 0.4, "chance is 1 in 12"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"self_attention": AttentionConfig.mha(4)}, "needs decoder.self_attention with input_bias, rotated"),
        ({"memory_layers": (1, 2, 3)}, "needs a first layer that reads memory"),
        ({"cross_attention": AttentionConfig.gqa(4, 2)}, "needs a cross_attention of the same kind"),
    ],
)
def test_a_model_that_cannot_begin_so_is_one_line(change: dict[str, object], problem: str) -> None:
    decoder = replace(CONFIG.decoder, **change)  # type: ignore[arg-type]
    layers = len(decoder.reading)
    encoder = replace(CONFIG.encoder, layers=layers)
    memory = replace(CONFIG.memory_attention, layers=layers)
    config: RxTConfig = replace(CONFIG, decoder=decoder, encoder=encoder, memory_attention=memory)
    with pytest.raises(UserError, match=problem):
        check_copying(config)
