"""The memory encoder: a naive twin, padded batches, and its optional memory cross-attention."""

from __future__ import annotations

import naive_twins
import pytest
import torch
from naive_twins import ROTATED, assert_twins, randomize
from tiny_reactive import ENCODERS, LAYERS, SLOTS, VOCABULARY, WIDTH, assert_near, ragged, tokens
from torch import Tensor, nn

from rxt.model.encoder import Encoder
from rxt.model.heads import MLMHead


def make(name: str) -> Encoder:
    module = Encoder(ENCODERS[name], nn.Embedding(VOCABULARY, WIDTH)).eval()
    randomize(module, 0.4)
    return module


def memory(encoder: Encoder, batch_size: int) -> Tensor | None:
    """For an encoder that reads it."""
    return torch.randn(LAYERS, batch_size, SLOTS, WIDTH, dtype=torch.float64) if encoder.reads_memory else None


every_kind = pytest.mark.parametrize("name", ENCODERS)


@every_kind
@pytest.mark.parametrize("padded", [False, True])
def test_naive_twin(name: str, padded: bool) -> None:
    encoder = make(name)
    ids, mask = ragged([4, 2])
    slots = memory(encoder, 2)
    found = encoder(ids, mask if padded else None, slots)
    expected = naive_twins.encoder(encoder, ids, slots, mask if padded else None)
    if padded:
        expected = expected * mask[None, :, :, None]
    assert_twins(found, expected, list(encoder.parameters()), ROTATED)


@every_kind
@torch.no_grad()
def test_every_layers_output_is_returned(name: str) -> None:
    encoder, ids = make(name), tokens(2, 4)
    outputs: list[Tensor] = []
    for layer in encoder.layers:
        layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output[0]))
    encoded = encoder(ids, None, memory(encoder, 2))
    assert encoded.shape == (LAYERS, 2, 4, WIDTH)
    assert torch.equal(encoded, torch.stack(outputs))


@every_kind
@torch.no_grad()
def test_a_padded_batch_is_its_rows_alone(name: str) -> None:
    encoder, lengths = make(name), [5, 1, 3]
    ids, mask = ragged(lengths)
    slots = memory(encoder, 3)
    encoded = encoder(ids, mask, slots)
    for b, length in enumerate(lengths):
        alone = encoder(ids[b : b + 1, :length], None, None if slots is None else slots[:, b : b + 1])
        assert_near(encoded[:, b, :length], alone[:, 0])
        assert not encoded[:, b, length:].any(), "padding is encoded as zeros"
    assert_near(encoder(torch.where(mask, ids, VOCABULARY - 1), mask, slots), encoded)


@every_kind
@torch.no_grad()
def test_a_full_mask_is_no_mask(name: str) -> None:
    encoder, ids = make(name), tokens(2, 4)
    slots = memory(encoder, 2)
    assert_near(encoder(ids, torch.ones(2, 4, dtype=torch.bool), slots), encoder(ids, None, slots))


@every_kind
@torch.no_grad()
def test_every_token_sees_every_other(name: str) -> None:
    encoder, ids = make(name), tokens(1, 5)
    slots = memory(encoder, 1)
    changed = ids.clone()
    changed[0, 2] = (changed[0, 2] + 1) % VOCABULARY
    assert ((encoder(changed, None, slots) - encoder(ids, None, slots))[:, 0].abs().amax(-1) > 1e-6).all()


def test_memory_is_read_where_configured() -> None:
    encoder, ids = make("reads memory"), tokens(2, 4)
    slots = memory(encoder, 2)
    assert slots is not None
    encoder(ids, None, slots.requires_grad_()).square().sum().backward()
    assert slots.grad is not None
    assert (slots.grad.abs().amax(-1) > 1e-9).all()
    with pytest.raises(ValueError, match="needs the memory slots"):
        encoder(ids)


@torch.no_grad()
def test_memory_is_ignored_by_encoders_that_do_not_read_it() -> None:
    encoder, ids = make("plain"), tokens(2, 4)
    slots = torch.randn(LAYERS, 2, SLOTS, WIDTH, dtype=torch.float64)
    assert not encoder.reads_memory
    assert torch.equal(encoder(ids, None, slots), encoder(ids))


def test_mlm_head_twin() -> None:
    head = MLMHead(WIDTH, VOCABULARY)
    randomize(head)
    x = torch.randn(2, 3, WIDTH, dtype=torch.float64, requires_grad=True)
    hidden = naive_twins.activation(x @ head.dense.weight.T + head.dense.bias, "gelu")
    hidden = naive_twins.layer_norm(hidden, head.norm.weight, head.norm.bias)
    assert_twins(head(x), hidden @ head.head.weight.T + head.head.bias, [x, *head.parameters()], naive_twins.EXACT)


def test_an_untrained_encoder_hears_nothing_of_its_memory_but_can_learn_to() -> None:
    name = next(name for name in ENCODERS if make(name).reads_memory)
    encoder, ids = Encoder(ENCODERS[name], nn.Embedding(VOCABULARY, WIDTH)).double(), tokens(2, 4)
    first, second = encoder(ids, None, memory(encoder, 2)), encoder(ids, None, memory(encoder, 2))
    assert torch.equal(first, second)
    second.sum().backward()
    gradient = dict(encoder.named_parameters())["layers.0.cross_attention.out_proj.weight"].grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
