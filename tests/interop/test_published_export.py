"""What we write in the published layout is what the published checkpoints hold, and reads back as the same model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from rxt.config import (
    AttentionConfig,
    DecoderConfig,
    EncoderConfig,
    FeedForward,
    FeedForwardConfig,
    GateConfig,
    MemoryAttentionConfig,
    MemoryNormConfig,
    MoEConfig,
    RxTConfig,
    SpecialTokens,
)
from rxt.errors import UserError
from rxt.interop.published import load_published, load_published_component
from rxt.interop.published_config_export import published_config
from rxt.interop.published_export import save_published, save_published_component
from rxt.model.memory_attention import MemoryAttention
from rxt.presets import preset, preset_names
from rxt.pretrained import ReactiveTransformer

WHOLE = ("alpha_legacy_moe", "alpha_vectorized_moe", "beta")
PARTS = (
    "decoder_dense_gqa",
    "decoder_micro_sft",
    "encoder",
    "encoder_beta",
    "mlm_head",
    "memory_self",
    "memory_self_interlayer",
)
PARTS += (
    "memory_simple",
    "memory_simple_ungated",
    *(f"memory_interlayer_{gate}" for gate in ("elementwise", "linear", "static", "tanh")),
)
SQA = AttentionConfig.sqa(4)
DENSE = FeedForwardConfig(8)
MEMORY = MemoryAttentionConfig(width=32, layers=2, slots=6, attention=SQA)


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(str(folder / "model.safetensors"), framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.mark.parametrize("name", WHOLE)
def test_an_exported_reference_is_the_reference(reference: Path, tmp_path: Path, name: str) -> None:
    save_published(load_published(reference / name), tmp_path / "copy")
    (found, aliases), (expected, expected_aliases) = read(tmp_path / "copy"), read(reference / name)
    twice = {"encoder.model.embedding.weight", "memory_attention.model.stm.memory"}
    assert found.keys() == expected.keys() | twice, (
        "the published loader draws at random what is not there under its own name"
    )
    assert aliases == {name: kept for name, kept in expected_aliases.items() if name not in twice}
    assert torch.equal(found["encoder.model.embedding.weight"], expected["decoder.model.embedding.weight"])
    for key, tensor in expected.items():
        if key.endswith("stm.memory"):  # a fresh memory: a draw, not a parameter
            assert found[key].shape == tensor.shape
        else:
            torch.testing.assert_close(found[key], tensor, rtol=1e-6, atol=0 if "rope" not in key else 1e-6)


@pytest.mark.parametrize("name", WHOLE)
def test_an_exported_configuration_says_what_the_reference_says(reference: Path, name: str) -> None:
    found, expected = (
        published_config(load_published(reference / name).config),
        json.loads((reference / name / "config.json").read_text()),
    )
    for part in ("decoder_config", "encoder_config", "memory_attention_config", "tokenizer_config"):
        said = {key: value for key, value in found[part].items() if key in expected[part]}
        assert said == {key: expected[part][key] for key in said}
        assert expected[part].keys() - found[part].keys() <= ({"use_vectorized_moe"} if name == "beta" else set())
    assert found["memory_attention_variant"] == expected["memory_attention_variant"]


def tiny(
    feed_forward: FeedForward = DENSE,
    stateless: tuple[FeedForward, ...] = (),
    attention: AttentionConfig = SQA,
    cross: AttentionConfig = SQA,
    memory: MemoryAttentionConfig = MEMORY,
    reads_memory: bool = False,
) -> RxTConfig:
    decoder = DecoderConfig(
        vocab_size=20,
        width=32,
        layers=2,
        self_attention=attention,
        cross_attention=cross,
        feed_forward=feed_forward,
        max_length=8,
        stateless=stateless,
        final_stateless=stateless[:1],
    )
    encoder = EncoderConfig(
        vocab_size=20,
        width=32,
        layers=2,
        self_attention=SQA,
        feed_forward=FeedForwardConfig(12, activation="gelu", gated=False),
        max_length=8,
        cross_attention=cross if reads_memory else None,
        norm="layer",
    )
    return RxTConfig(decoder, encoder, memory)


MIXTURE = MoEConfig(8, 4, 2)
ROUND_TRIPS = {
    "dense": tiny(),
    "listed experts": tiny(MIXTURE),
    "listed experts, ungated": tiny(replace(MIXTURE, gated=False, activation="relu")),
    "listed experts and a shared one": tiny(replace(MIXTURE, shared_experts=1, shared_dim=5)),
    "stacked experts, global biases": tiny(replace(MIXTURE, bias="global", shared_experts=2, shared_bias="global")),
    "stacked experts, mixed biases": tiny(
        replace(MIXTURE, bias="off", shared_experts=2, shared_dim=3, weighted_shared=True)
    ),
    "stateless layers": tiny(MIXTURE, (FeedForwardConfig(20), MIXTURE)),
    "stateless experts before dense layers": tiny(FeedForwardConfig(8), (MIXTURE,)),
    "head counts": tiny(attention=AttentionConfig.gqa(4, 2), cross=AttentionConfig.mqa(4)),
    "multi-head": tiny(attention=AttentionConfig.mha(4), cross=AttentionConfig(4, 1, 2)),
    "gated, normed attention": tiny(
        attention=replace(SQA, gated=True, qk_norm=True), cross=replace(SQA, gated=True, qk_norm=True)
    ),
    "self-attention alone gated, by silu": tiny(attention=replace(SQA, gated=True, gate_activation="silu")),
    "cross-attention alone gated": tiny(cross=replace(SQA, gated=True)),
    "an encoder that reads memory": tiny(reads_memory=True),
    "simple memory": tiny(memory=replace(MEMORY, variant="simple", gate=GateConfig("replace"))),
    "self memory": tiny(memory=replace(MEMORY, variant="self", consolidation=AttentionConfig.mha(4), self_gate=False)),
    "grouped memory": tiny(
        memory=replace(MEMORY, variant="grouped-self-interlayer", groups=2, gate=GateConfig("elementwise", "tanh"))
    ),
    "ungated memory": tiny(memory=replace(MEMORY, gate=GateConfig("ungated"))),
    "one gate a layer": tiny(
        memory=replace(MEMORY, gate=GateConfig("linear", per_slot=False, status="linear", init=-1.0))
    ),
    "gates that started spread and apart": tiny(
        memory=replace(MEMORY, gate=GateConfig("linear", longest=16.0, own_status=2.0))
    ),
    "own start of memory": replace(tiny(), memory_init="zeros", memory_seed=7, system_prompt_title="RULES"),
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_round_trip(tmp_path: Path, name: str) -> None:
    model = ReactiveTransformer(ROUND_TRIPS[name])
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)  # biases too: zeros in another place would not be noticed
    save_published(model, tmp_path)
    again = load_published(tmp_path)
    tensors = again.state_dict()
    assert tensors.keys() == model.state_dict().keys()
    assert all(torch.equal(tensors[key], tensor) for key, tensor in model.state_dict().items())
    assert published_config(again.config) == published_config(model.config)
    assert again.config.memory_attention.gate == model.config.memory_attention.gate
    slots = torch.randn(2, 1, 6, 32)
    with torch.no_grad():
        ids = torch.tensor([[1, 3, 9, 4]])
        assert torch.equal(again.decoder(ids, slots), model.decoder(ids, slots))
        encoded = model.encoder(ids, None, slots)
        assert torch.equal(again.memory_attention(slots, encoded), model.memory_attention(slots, encoded))


OWN = ("pocket", "open", "hybrid", "babi")
"""Presets whose self- and cross-attention have different heads."""


@pytest.mark.parametrize("name", [name for name in preset_names() if name not in OWN])
def test_every_preset_of_the_family_has_published_words(name: str) -> None:
    config = preset(name)
    values = published_config(config)
    assert values["decoder_config"]["num_layers"] == config.decoder.layers


def test_the_pocket_model_has_none_and_is_told_why() -> None:
    why = r"cannot say: decoder self- and cross-attention with different heads; keep .* own layout \(--layout rxt\)"
    with pytest.raises(UserError, match=why):
        published_config(preset("pocket"))


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (tiny(MIXTURE, (replace(MIXTURE, top_k=1),)), "different mixtures of experts"),
        (tiny(FeedForwardConfig(8), (FeedForwardConfig(8, gated=False),)), "different activations"),
        (tiny(MIXTURE, (FeedForwardConfig(20), FeedForwardConfig(30))), "dense stateless layers of different sizes"),
        (tiny(cross=AttentionConfig.sqa(8)), "different heads"),
        (
            tiny(attention=replace(SQA, gated=True, gate_activation="silu"), cross=replace(SQA, gated=True)),
            "different activations",
        ),
        (tiny(memory=replace(MEMORY, norm=MemoryNormConfig("ema-rms"))), "memory norm 'ema-rms'"),
        (tiny(memory=replace(MEMORY, attention=replace(SQA, gated=True))), "gated heads"),
    ],
)
def test_what_cannot_be_said_is_named(tmp_path: Path, config: RxTConfig, what: str) -> None:
    with pytest.raises(UserError, match=what):
        save_published(ReactiveTransformer(config), tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_an_alpha_configuration_has_no_key_that_its_own_loader_refuses() -> None:
    """What only rxt knows stands among the tokens' ids, which are read as they are; Beta models alone know a title."""
    alpha = published_config(replace(tiny(), memory_seed=7, system_prompt_title="RULES"))
    parts = {
        "decoder_config",
        "encoder_config",
        "memory_attention_config",
        "memory_attention_variant",
        "tokenizer",
        "tokenizer_config",
    }
    assert alpha.keys() == parts
    assert alpha["tokenizer_config"]["rxt"]["system_prompt_title"] == "RULES"
    assert "rxt" not in published_config(tiny())["tokenizer_config"]
    beta = replace(
        tiny(),
        tokens=SpecialTokens(think=5, tool_use=6, tool_call=7, internal=8),
        template="beta",
        system_prompt_title="RULES",
    )
    assert published_config(beta).keys() == parts | {"system_prompt_title"}


LISTED = {"experts.3.fc2.bias", "shared_experts.0.fc1.linear.weight"}
ONE = {"w1", "shared_expert.fc1.linear.weight", "shared_expert.fc2.weight"}
ONE_BIASED = {"b1", "shared_expert.fc1.linear.bias", "shared_expert.fc2.bias"}
ONE_UNGATED = {"shared_expert.fc1.weight", "shared_expert.fc1.bias"}
SEVERAL = {"shared_w1", "shared_w2", "shared_experts_bias", "shared_expert_gate.weight"}


@pytest.mark.parametrize(
    ("mixture", "names"),
    [
        (replace(MIXTURE, bias="global"), {"w1", "w2", "global_bias"}),
        (replace(MIXTURE, bias="off", shared_experts=1, shared_bias="off"), ONE),
        (replace(MIXTURE, shared_experts=1, shared_dim=5, shared_bias="local"), ONE_BIASED),
        (replace(MIXTURE, shared_experts=2, shared_bias="global"), SEVERAL),
        (replace(MIXTURE, gated=False, bias="off", shared_experts=1), ONE_UNGATED),
        (replace(MIXTURE, shared_experts=1), LISTED),
    ],
)
def test_experts_have_their_published_names(tmp_path: Path, mixture: MoEConfig, names: set[str]) -> None:
    """As ``benchmarks/published_cases.py`` finds them in models of the published framework."""
    save_published(ReactiveTransformer(tiny(mixture)), tmp_path)
    found = {name.removeprefix("decoder.model.layers.0.ff.") for name in read(tmp_path)[0]}
    assert names <= found
    announced = json.loads((tmp_path / "config.json").read_text())["decoder_config"]["use_vectorized_moe"]
    assert announced == ("w1" in found)


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_their_own_round_trip(reference: Path, tmp_path: Path, name: str) -> None:
    part = load_published_component(reference / name)
    save_published_component(part, tmp_path, slots=12, max_length=24)
    again = load_published_component(tmp_path)
    assert type(again) is type(part)
    assert getattr(again, "config", None) == getattr(part, "config", None)
    tensors = again.state_dict()
    assert tensors.keys() == part.state_dict().keys()
    assert all(torch.equal(tensors[key], tensor) for key, tensor in part.state_dict().items())


def test_ungated_parts_say_their_variant(tmp_path: Path) -> None:
    part = MemoryAttention(replace(MEMORY, variant="interlayer", gate=GateConfig("ungated")))
    save_published_component(part, tmp_path)
    assert load_published_component(tmp_path).config == part.config
    with pytest.raises(TypeError, match="Linear"):
        save_published_component(torch.nn.Linear(2, 2), tmp_path)


def test_what_the_published_framework_will_not_read_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_published(ReactiveTransformer(tiny(attention=replace(SQA, qk_norm=True))), tmp_path)
    assert "does not read norms on queries and keys" in caplog.text
    caplog.clear()
    save_published(ReactiveTransformer(tiny()), tmp_path)
    assert caplog.text == ""
