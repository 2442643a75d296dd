"""Weights that begin able to go on in what was told before: induction, by construction.

Whoever goes on in a text that memory holds must find what followed (Olsson et al. 2022, arXiv 2209.11895). Two layers
have to learn for that at the same time: one by which every token knows the one before it, and one that looks tokens
up by that. From random weights neither has much to learn from before the other is there, and it takes long. With e the
embedding of a token, e⁻ that of the one before it, and W an orthogonal matrix, drawn once::

    first layer of encoder and decoder    x = e + W e⁻               attention by position alone, to the token before
    first layer that reads memory         softmax(e · Wᵀ m) m        m = e + W e⁻ as it is written
    second layer of the decoder           the same within the interaction, in half of its heads

All weights learn; nothing is kept as it begins.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rxt.config.copying import check_copying
from rxt.model.attention import Attention
from rxt.model.decoder import DecoderLayer
from rxt.model.encoder import Encoder, EncoderLayer
from rxt.model.reactive import ReactiveTransformer

PEAK = 24.0
"""Score, before the softmax, of the token before; the one beside it has some three less."""
FASTEST = 6
"""Pairs of a head that say where a token is: those that turn the fastest tell neighbours apart."""
LOUDNESS = 0.5
"""Of what is found, beside what a layer knows."""


@torch.no_grad()
def start_copying(model: ReactiveTransformer) -> None:
    """Give an untrained model these weights. ``UserError`` if it cannot begin so."""
    check_copying(model.config)
    assert isinstance(model.encoder, Encoder)
    width = model.config.decoder.width
    before = torch.linalg.qr(torch.randn(width, width))[0]  # W
    first, second = model.decoder.layers[0], model.decoder.layers[1]
    assert isinstance(first, DecoderLayer)
    assert isinstance(second, DecoderLayer)
    reader = model.encoder.layers[0]
    assert isinstance(reader, EncoderLayer)
    for attention in (first.attention, reader.attention):
        _look_at_the_token_before(attention, before)
    _look_up(first.cross_attention, before, width)
    _look_up(second.attention, before, width // 2)


def _look_at_the_token_before(attention: Attention, before: Tensor) -> None:
    """Add W e⁻ to every e, which is of length 1, out of what is normed to a length of √D."""
    head_dim, heads, width = attention.head_dim, attention.config.query_heads, len(before)
    pairs = torch.arange(0, head_dim, 2, dtype=torch.float32)
    angles = attention.config.rope_base ** (-pairs / head_dim)  # by which neighbours differ
    sizes = (torch.arange(len(angles)) < FASTEST) * (PEAK * head_dim**0.5 / min(FASTEST, len(angles))) ** 0.5
    query = torch.stack((sizes, torch.zeros_like(sizes)), -1).flatten()
    key = torch.stack((sizes * angles.cos(), sizes * angles.sin()), -1).flatten()
    for projection, position in ((attention.q_proj, query), (attention.k_proj, key)):
        projection.weight.mul_(0.1)
        projection.bias.copy_(position.repeat(heads))
    _become(attention.v_proj, torch.eye(width))
    assert isinstance(attention.out_proj, nn.Linear)
    _become(attention.out_proj, before.T * width**-0.5)


def _look_up(attention: Attention, before: Tensor, dims: int) -> None:
    """Find e by e⁻, in so many of the numbers that heads have."""
    same = torch.eye(len(before))
    assert isinstance(attention.out_proj, nn.Linear)
    for projection, weight in (
        (attention.q_proj, same),
        (attention.k_proj, before),
        (attention.v_proj, same),
    ):
        projection.weight[:dims] = weight[:dims].to(projection.weight)
        if projection.bias is not None:
            projection.bias[:dims] = 0
    attention.out_proj.weight[:, :dims] = LOUDNESS * same[:, :dims].to(attention.out_proj.weight)
    if attention.out_proj.bias is not None:
        nn.init.zeros_(attention.out_proj.bias)


def _become(linear: nn.Linear, weight: Tensor) -> None:
    linear.weight.copy_(weight)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
