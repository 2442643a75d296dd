"""The decoder: a naive twin, and every way to compute the same logits gives the same logits."""

from __future__ import annotations

from dataclasses import replace

import naive_twins
import pytest
import torch
from naive_twins import ROTATED, assert_twins, randomize
from tiny_reactive import DECODER, DECODERS, DENSE, LAYERS, MOE, SLOTS, VOCABULARY, WIDTH, assert_near, ragged, tokens
from torch import Tensor, nn

from rxt.model.decoder import Decoder


def make(name: str) -> Decoder:
    module = Decoder(DECODERS[name], nn.Embedding(VOCABULARY, WIDTH)).eval()
    randomize(module, 0.4)
    return module


def memory(batch_size: int) -> Tensor:
    return torch.randn(LAYERS, batch_size, SLOTS, WIDTH, dtype=torch.float64)


def all_at_once(decoder: Decoder, ids: Tensor, slots: Tensor) -> Tensor:
    with torch.no_grad():
        return decoder(ids, slots)


every_kind = pytest.mark.parametrize("name", DECODERS)


@every_kind
def test_naive_twin(name: str) -> None:
    decoder, ids, slots = make(name), tokens(2, 4), memory(2).requires_grad_()
    assert_twins(decoder(ids, slots), naive_twins.decoder(decoder, ids, slots), [slots, *decoder.parameters()], ROTATED)


@every_kind
@pytest.mark.parametrize("chunks", [[1] * 7, [7], [3, 1, 2, 1]], ids=["token by token", "at once", "several at once"])
@torch.no_grad()
def test_cached_is_uncached(name: str, chunks: list[int]) -> None:
    decoder, ids, slots = make(name), tokens(2, 7), memory(2)
    source, cache, start = decoder.project_memory(slots), decoder.new_cache(2, 9), 0
    logits = []
    for length in chunks:
        positions = torch.arange(start, start + length).expand(2, -1)
        logits.append(decoder.step(ids[:, start : start + length], positions, source, cache))
        start += length
    assert_near(torch.cat(logits, 1), decoder(ids, slots))


@every_kind
@torch.no_grad()
def test_rows_of_a_cached_batch_stand_at_positions_of_their_own(name: str) -> None:
    """Prompts of 2 and 4 tokens, padded to 4; then each row goes on where its own prompt ended, over the padding."""
    decoder, slots, lengths = make(name), memory(2), [2, 4]
    rows = [tokens(1, length + 3) for length in lengths]
    source, cache = decoder.project_memory(slots), decoder.new_cache(2, 8)
    prompt = torch.zeros(2, 4, dtype=torch.long)
    for b, length in enumerate(lengths):
        prompt[b, :length] = rows[b][0, :length]
    first = decoder.step(prompt, torch.arange(4).expand(2, -1), source, cache)
    following = torch.cat([row[:, length:] for row, length in zip(rows, lengths, strict=True)])
    starts = torch.tensor(lengths).unsqueeze(1)
    one = decoder.step(following[:, :1], starts, source, cache)
    two = decoder.step(following[:, 1:], starts + torch.tensor([1, 2]), source, cache)
    for b, length in enumerate(lengths):
        found = torch.cat([first[b, :length], one[b], two[b]])
        assert_near(found, decoder(rows[b], slots[:, b : b + 1])[0])


@torch.no_grad()
def test_cache_entries_that_were_never_written_are_never_read() -> None:
    decoder, ids, slots = make("beta-like"), tokens(2, 5), memory(2)
    cache = decoder.new_cache(2, 12)
    cache.keys.fill_(1e3)
    cache.values.fill_(1e3)
    found = decoder.step(ids, torch.arange(5).expand(2, -1), decoder.project_memory(slots), cache)
    assert_near(found, decoder(ids, slots))


@torch.no_grad()
def test_a_cache_holds_each_token_at_its_position() -> None:
    """Tokens written in a strange order, at ragged positions: the cache holds what each wrote, where it belongs."""
    decoder = make("plain")
    cache = decoder.new_cache(2, 6)
    positions = torch.tensor([[4, 0], [1, 5]])
    new = torch.arange(1, 33, dtype=torch.float64).view(2, 2, 2, 4)  # (B, Hkv, T, Hd)
    layer = cache.at(positions)[1]
    layer.extend(type(decoder.project_memory(memory(2))[0])(new, -new))
    for b in range(2):
        for t in range(2):
            assert torch.equal(cache.keys[1, b, :, positions[b, t]], new[b, :, t])
            assert torch.equal(cache.values[1, b, :, positions[b, t]], -new[b, :, t])
    assert int((cache.keys[1].abs().sum((1, 3)) > 0).sum()) == 4
    assert not cache.keys[0].any()


@every_kind
@torch.no_grad()
def test_memory_projected_once_is_memory_read_inside(name: str) -> None:
    decoder, ids, slots = make(name), tokens(2, 5), memory(2)
    source = decoder.project_memory(slots)
    expected = decoder(ids, slots)
    slots.zero_()  # what was read stays read
    found = decoder.step(ids, torch.arange(5).expand(2, -1), source, decoder.new_cache(2, 5))
    assert_near(found, expected)
    assert (found - decoder(ids, slots)).abs().max() > 1e-3


@every_kind
@torch.no_grad()
def test_a_padded_batch_is_its_rows_alone(name: str) -> None:
    decoder, slots, lengths = make(name), memory(3), [5, 1, 3]
    ids, mask = ragged(lengths)
    logits = decoder(ids, slots, mask)
    for b, length in enumerate(lengths):
        assert_near(logits[b, :length], decoder(ids[b : b + 1, :length], slots[:, b : b + 1])[0])
        assert not logits[b, length:].any(), "logits of padding are zeros"
    louder = torch.where(mask, ids, VOCABULARY - 1)
    assert_near(decoder(louder, slots, mask), logits)


@every_kind
@torch.no_grad()
def test_a_batch_is_its_conversations_one_at_a_time(name: str) -> None:
    decoder, ids, slots = make(name), tokens(3, 4), memory(3)
    alone = torch.cat([decoder(ids[b : b + 1], slots[:, b : b + 1]) for b in range(3)])
    assert_near(decoder(ids, slots), alone)


@every_kind
@torch.no_grad()
def test_no_token_sees_a_later_one(name: str) -> None:
    decoder, ids, slots = make(name), tokens(1, 6), memory(1)
    changed = ids.clone()
    changed[0, 3] = (changed[0, 3] + 1) % VOCABULARY
    before, after = decoder(ids, slots), decoder(changed, slots)
    assert_near(after[:, :3], before[:, :3])
    assert ((after - before)[0, 3:].abs().amax(-1) > 1e-6).all()


@every_kind
def test_every_memory_layer_reads_its_own_memory(name: str) -> None:
    """Every slot of every layer has a say; the order of the slots has none."""
    decoder, ids, slots = make(name), tokens(1, 4), memory(1).requires_grad_()
    decoder(ids, slots).square().sum().backward()
    assert slots.grad is not None
    assert (slots.grad.abs().amax(-1) > 1e-9).all()
    shuffled = slots.detach()[:, :, torch.tensor([2, 0, 1])]
    assert_near(all_at_once(decoder, ids, shuffled), all_at_once(decoder, ids, slots))
    assert (all_at_once(decoder, ids, slots.flip(0)) - all_at_once(decoder, ids, slots)).abs().max() > 1e-3


@torch.no_grad()
def test_a_memory_of_another_number_of_layers_is_not_read() -> None:
    with pytest.raises(ValueError, match="zip"):
        make("plain")(tokens(1, 3), torch.zeros(LAYERS + 1, 1, SLOTS, WIDTH, dtype=torch.float64))


@torch.no_grad()
def test_balance_is_the_mean_over_routed_layers() -> None:
    ids, slots = tokens(2, 4), memory(2)
    decoder = make("stateless")
    losses: list[Tensor] = []
    for module in decoder.modules():
        if type(module).__name__ == "MixtureOfExperts":
            module.register_forward_hook(lambda _module, _inputs, output: losses.append(output[1]))
    balance = decoder.hidden(ids, slots).balance
    assert len(losses) == 2
    assert_near(balance, (losses[0] + losses[1]) / 2)
    assert make("plain").hidden(ids, slots).balance.item() == 0


@torch.no_grad()
def test_padding_does_not_change_the_balance() -> None:
    decoder, slots = make("moe"), memory(2)
    ids, mask = ragged([4, 2])
    louder = torch.where(mask, ids, VOCABULARY - 1)
    balance = decoder.hidden(ids, slots, mask).balance
    assert_near(decoder.hidden(louder, slots, mask).balance, balance)
    assert (decoder.hidden(louder, slots).balance - balance).abs() > 1e-4


@torch.no_grad()
def test_hidden_states_are_what_the_head_reads() -> None:
    decoder, ids, slots = make("head rms"), tokens(2, 4), memory(2)
    assert_near(decoder.head(decoder.hidden(ids, slots).states), decoder(ids, slots))


def test_a_cache_has_a_place_for_every_layer_and_key_head_of_the_model() -> None:
    decoder = make("beta-like").bfloat16()
    cache = decoder.new_cache(3, 10)
    assert cache.keys.shape == cache.values.shape == (1 + LAYERS + 2, 3, 2, 10, WIDTH // 4)
    assert cache.keys.dtype == cache.values.dtype == torch.bfloat16


def test_stateless_layers_have_no_memory_and_layers_are_counted() -> None:
    decoder = Decoder(replace(DECODER, stateless=(DENSE, MOE), final_stateless=(MOE,)), nn.Embedding(VOCABULARY, WIDTH))
    assert (len(decoder.stateless), len(decoder.layers), len(decoder.final_stateless)) == (2, LAYERS, 1)
    assert not any(
        "cross" in name or "stm" in name
        for part in (decoder.stateless, decoder.final_stateless)
        for name, _ in part.named_parameters()
    )
