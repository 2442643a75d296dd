"""A whole model out of parts: they must fit, and are not changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import rxt
from rxt.config import AttentionConfig, FeedForwardConfig, GateConfig, MemoryAttentionConfig, RxTConfig, SpecialTokens
from rxt.config import DecoderConfig as D
from rxt.config import EncoderConfig as E
from rxt.errors import UserError
from rxt.model.decoder import Decoder
from rxt.model.encoder import Encoder
from rxt.model.memory_attention import MemoryAttention
from rxt.pretrained import ReactiveTransformer

SQA, DENSE = AttentionConfig.sqa(4), FeedForwardConfig(8)
DECODER, ENCODER = D(20, 32, 2, SQA, SQA, DENSE, 8), E(20, 32, 2, SQA, DENSE, 8)
MEMORY = MemoryAttentionConfig(32, 2, 6, SQA)


def decoder(config: D = DECODER) -> Decoder:
    return Decoder(config, nn.Embedding(config.vocab_size, config.width))


def encoder(config: E = ENCODER) -> Encoder:
    return Encoder(config, nn.Embedding(config.vocab_size, config.width))


def tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("chosen", ["decoder", "encoder"])
def test_parts_are_built_in_and_not_changed(chosen: Any) -> None:
    parts = {"decoder": decoder(), "encoder": encoder(), "memory_attention": MemoryAttention(MEMORY)}
    before = {name: tensors(part) for name, part in parts.items()}
    model = ReactiveTransformer.from_components(parts["decoder"], parts["encoder"], parts["memory_attention"], chosen)
    assert not model.training
    assert model.decoder.embedding is model.encoder.embedding
    assert torch.equal(model.decoder.embedding.weight, parts[chosen].embedding.weight)
    for parameter in model.parameters():
        parameter.data.zero_()
    assert all(same(tensors(part), before[name]) for name, part in parts.items())
    assert all(part.training for part in parts.values())


def test_equal_embeddings_need_no_choice() -> None:
    whole = ReactiveTransformer(RxTConfig(DECODER, ENCODER, MEMORY)).eval()
    assert isinstance(whole.encoder, Encoder)
    again = ReactiveTransformer.from_components(whole.decoder, whole.encoder, whole.memory_attention)
    assert same(tensors(again), tensors(whole))
    assert again.fingerprint() == whole.fingerprint()
    assert len(list(again.parameters())) == len(list(whole.parameters()))
    ids, memory = torch.tensor([[1, 3, 9]]), whole.init_memory(seed=1)
    assert torch.equal(again.decode(ids, memory), whole.decode(ids, memory))
    assert torch.equal(again.memorize(memory, ids).slots, whole.memorize(memory, ids).slots)


def test_different_embeddings_need_a_choice() -> None:
    with pytest.raises(
        UserError, match=r"embedding: the decoder's and the encoder's differ.*embedding='decoder' or 'encoder'"
    ):
        ReactiveTransformer.from_components(decoder(), encoder(), MemoryAttention(MEMORY))
    wrong: Any = "both"
    with pytest.raises(UserError, match="embedding must be 'decoder' or 'encoder', found 'both'"):
        ReactiveTransformer.from_components(decoder(), encoder(), MemoryAttention(MEMORY), wrong)


@pytest.mark.parametrize(
    ("first", "second", "memory", "message"),
    [
        (DECODER, replace(ENCODER, width=16), MEMORY, "width must agree: decoder 32, encoder 16, memory_attention 32"),
        (DECODER, ENCODER, replace(MEMORY, width=16), "width must agree: decoder 32, encoder 32, memory_attention 16"),
        (DECODER, ENCODER, replace(MEMORY, layers=3), "layers must agree: decoder 2, encoder 2, memory_attention 3"),
        (replace(DECODER, layers=4), ENCODER, MEMORY, "layers must agree: decoder 4, encoder 2, memory_attention 2"),
        (DECODER, replace(ENCODER, vocab_size=21), MEMORY, "vocab_size must agree: decoder 20, encoder 21"),
    ],
)
def test_parts_that_do_not_fit_are_named(first: D, second: E, memory: MemoryAttentionConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ReactiveTransformer.from_components(decoder(first), encoder(second), MemoryAttention(memory))


def test_the_shorter_length_is_the_models() -> None:
    model = ReactiveTransformer.from_components(
        decoder(), encoder(replace(ENCODER, max_length=5)), MemoryAttention(MEMORY), "decoder"
    )
    assert model.config.max_length == 5


def test_parts_of_different_types_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"one type and device, found decoder torch.bfloat16 on cpu; encoder torch.float32 on cpu"
    ):
        ReactiveTransformer.from_components(decoder().bfloat16(), encoder(), MemoryAttention(MEMORY), "decoder")


def test_another_kind_of_part_is_refused(reference: Path) -> None:
    wrong: Any = encoder()
    with pytest.raises(UserError, match="decoder must be of type Decoder, found Encoder"):
        ReactiveTransformer.from_components(wrong, encoder(), MemoryAttention(MEMORY))
    with pytest.raises(UserError, match=r"mlm_head: encoder must be of type Encoder, found MLMHead"):
        ReactiveTransformer.from_components(decoder(), reference / "mlm_head", MemoryAttention(MEMORY))


def test_what_no_part_holds_is_taken_from_a_configuration() -> None:
    tokens = SpecialTokens(think=5, tool_call=6, tool_use=7, internal=8)
    like = RxTConfig(
        DECODER,
        ENCODER,
        replace(MEMORY, gate=GateConfig("static")),
        tokens=tokens,
        template="beta",
        system_prompt_title="RULES",
        memory_init="zeros",
        memory_seed=3,
    )
    model = ReactiveTransformer.from_components(decoder(), encoder(), MemoryAttention(MEMORY), "decoder", like)
    assert model.config == replace(like, memory_attention=MEMORY)
    first, second = decoder(replace(DECODER, vocab_size=10)), encoder(replace(ENCODER, vocab_size=10))
    outside = replace(like, tokens=replace(tokens, mask=19))
    with pytest.raises(UserError, match=r"tokens\.mask 19 is outside the vocabulary of 10"):
        ReactiveTransformer.from_components(first, second, MemoryAttention(MEMORY), "decoder", outside)


def as_parts(folder: Path, out: Path) -> dict[str, Any]:
    """A whole published checkpoint as three folders, each with its own copy of the embedding."""
    values, stored = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    stored["encoder.model.embedding.weight"] = stored["decoder.model.embedding.weight"].clone()
    parts = {name: out / name for name in ("decoder", "encoder", "memory_attention")}
    for name, path in parts.items():
        path.mkdir(parents=True)
        own = values[f"{name}_config"]
        if name == "memory_attention":
            own = own | {"memory_attention_variant": values["memory_attention_variant"]}
        (path / "config.json").write_text(json.dumps(own))
        save_file(
            {key.partition(".")[2]: tensor for key, tensor in stored.items() if key.startswith(f"{name}.")},
            path / "model.safetensors",
        )
    return parts


@pytest.mark.parametrize("name", ["alpha_legacy_moe", "beta"])
def test_a_published_model_again_from_its_parts(tmp_path: Path, reference: Path, name: str) -> None:
    whole, parts = ReactiveTransformer.from_pretrained(reference / name), as_parts(reference / name, tmp_path)
    loaded: dict[str, Any] = {part: rxt.load_component(folder) for part, folder in parts.items()}
    for model in (
        ReactiveTransformer.from_components(**parts, like=whole.config),
        ReactiveTransformer.from_components(**loaded, like=whole.config),
    ):
        assert model.config == whole.config
        assert same(tensors(model), tensors(whole))
