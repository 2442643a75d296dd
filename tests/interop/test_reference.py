"""Every reference checkpoint must compute the tensors that stand beside it, within 1e-4 in float32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rxt.interop.published import load_published_component
from rxt.model.decoder import Decoder
from rxt.model.encoder import Encoder
from rxt.model.heads import MLMHead
from rxt.model.memory import Memory
from rxt.model.memory_attention import MemoryAttention
from rxt.pretrained import ReactiveTransformer

WHOLE = ("alpha_legacy_moe", "alpha_vectorized_moe", "beta")
MEMORY = (
    "memory_simple",
    "memory_simple_ungated",
    "memory_self",
    "memory_interlayer_linear",
    "memory_interlayer_elementwise",
    "memory_interlayer_static",
    "memory_interlayer_tanh",
    "memory_self_interlayer",
)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def expected_of(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "expected.safetensors")


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert expected.abs().max() > 0.1, "an expectation of zeros would prove nothing"
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("turn", [0, 1, 2])
def test_a_turn_of_a_whole_model(reference: Path, name: str, turn: int) -> None:
    model, expected = ReactiveTransformer.from_pretrained(reference / name), expected_of(reference / name)
    ids, memory = expected[f"turn{turn}.ids"], Memory(expected[f"memory.{turn}"])
    assert_same(model.decode(ids, memory), expected[f"turn{turn}.logits"])
    assert_same(model.encode(ids), expected[f"turn{turn}.encoded"])
    assert_same(model.memorize(memory, ids).slots, expected[f"memory.{turn + 1}"])


@pytest.mark.parametrize("name", WHOLE)
def test_three_turns_in_a_row(reference: Path, name: str) -> None:
    """Our own memory goes into the next turn: errors must not grow past the bound."""
    model, expected = ReactiveTransformer.from_pretrained(reference / name), expected_of(reference / name)
    memory = Memory(expected["memory.0"])
    for turn in range(3):
        assert_same(model.decode(expected[f"turn{turn}.ids"], memory), expected[f"turn{turn}.logits"])
        memory = model.memorize(memory, expected[f"turn{turn}.ids"])
    assert_same(memory.slots, expected["memory.3"])


@pytest.mark.parametrize("name", WHOLE)
def test_a_padded_batch_with_a_memory_each(reference: Path, name: str) -> None:
    model, expected = ReactiveTransformer.from_pretrained(reference / name), expected_of(reference / name)
    ids, mask, memory = expected["batch.ids"], expected["batch.mask"], Memory(expected["batch.memory.0"])
    assert not mask.all()
    assert_same(model.decode(ids, memory, mask), expected["batch.logits"])
    assert_same(model.encode(ids, mask), expected["batch.encoded"])
    assert_same(model.memorize(memory, ids, mask).slots, expected["batch.memory.1"])


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("turn", [0, 1, 2])
def test_greedy_continuation(reference: Path, name: str, turn: int) -> None:
    model, expected = ReactiveTransformer.from_pretrained(reference / name), expected_of(reference / name)
    ids, memory = expected[f"turn{turn}.ids"], Memory(expected[f"memory.{turn}"])
    prompt = ids[:, : ids.shape[1] // 2 + 1]
    found = model.generate(prompt, memory, max_new_tokens=8, temperature=0.0, stop_at_eos=False)
    assert found.tolist() == expected[f"turn{turn}.greedy"].tolist()


@pytest.mark.parametrize("name", ["decoder_dense_gqa", "decoder_micro_sft"])
def test_decoder(reference: Path, name: str) -> None:
    decoder, expected = load_published_component(reference / name), expected_of(reference / name)
    assert isinstance(decoder, Decoder)
    assert_same(decoder(expected["ids"], expected["memory"], expected["mask"]), expected["logits"])


@pytest.mark.parametrize("name", ["encoder", "encoder_beta"])
def test_encoder(reference: Path, name: str) -> None:
    encoder, expected = load_published_component(reference / name), expected_of(reference / name)
    assert isinstance(encoder, Encoder)
    assert_same(encoder(expected["ids"], expected["mask"]), expected["encoded"])


@pytest.mark.parametrize("name", MEMORY)
def test_memory_attention(reference: Path, name: str) -> None:
    network, expected = load_published_component(reference / name), expected_of(reference / name)
    assert isinstance(network, MemoryAttention)
    assert_same(network(expected["memory"], expected["encoded"], expected["mask"]), expected["updated"])


def test_mlm_head(reference: Path) -> None:
    head, expected = load_published_component(reference / "mlm_head"), expected_of(reference / "mlm_head")
    assert isinstance(head, MLMHead)
    assert_same(head(expected["hidden"]), expected["logits"])


def test_every_reference_folder_is_tested(reference: Path) -> None:
    tested = {*WHOLE, *MEMORY, "decoder_dense_gqa", "decoder_micro_sft", "encoder", "encoder_beta", "mlm_head"}
    assert {folder.name for folder in reference.iterdir()} == tested
