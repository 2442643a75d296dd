"""Reading checkpoints that others stored: what is refused, and what stands in for what is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rxt.config import DecoderConfig, EncoderConfig, FeedForwardConfig, MemoryAttentionConfig, MoEConfig
from rxt.errors import UserError
from rxt.interop.published import load_published, load_published_component
from rxt.model.encoder import Encoder
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer

Edit = Callable[[dict[str, Any], dict[str, Tensor]], object]
EMBEDDING = "model.embedding.weight"


@pytest.fixture
def edited(tmp_path: Path, reference: Path) -> Callable[[str, Edit], Path]:
    """A copy of a reference checkpoint after an edit of its configuration and tensors; without the file's metadata."""

    def edit(name: str, change: Edit) -> Path:
        folder = tmp_path / name
        shutil.copytree(reference / name, folder)
        values, tensors = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
        change(values, tensors)
        (folder / "config.json").write_text(json.dumps(values))
        save_file(tensors, folder / "model.safetensors")
        return folder

    return edit


def same_weights(found: nn.Module, expected: nn.Module) -> bool:
    ours, theirs = found.state_dict(), expected.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("name", ["alpha_legacy_moe", "alpha_vectorized_moe", "beta"])
def test_every_missing_tensor_of_a_whole_model_is_named(
    reference: Path, edited: Callable[[str, Edit], Path], name: str
) -> None:
    with safe_open(str(reference / name / "model.safetensors"), framework="pt") as file:
        parameters = [key for key in file.keys() if "rope" not in key and "stm.memory" not in key]  # noqa: SIM118
    for missing in parameters[:: len(parameters) // 12]:
        folder = edited(name, lambda _, tensors, missing=missing: tensors.pop(missing))
        with pytest.raises(UserError, match=rf"tensor {missing} is missing"):
            load_published(folder)
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "extra", ["decoder.model.layers.0.ff.extra", "encoder.model.layers.9.norm1.weight", "something"]
)
def test_an_unexpected_tensor_is_named(edited: Callable[[str, Edit], Path], extra: str) -> None:
    folder = edited("beta", lambda _, tensors: tensors.update({extra: torch.zeros(32)}))
    with pytest.raises(UserError, match=f"unexpected tensor {extra}"):
        load_published(folder)


def test_a_misshapen_tensor_is_named(edited: Callable[[str, Edit], Path]) -> None:
    folder = edited("encoder", lambda _, tensors: tensors.update({EMBEDDING: torch.zeros(48, 31)}))
    with pytest.raises(UserError, match=r"model.embedding.weight has shape \(48, 31\), expected \(48, 32\)"):
        load_published_component(folder)


def test_integers_are_no_weights(edited: Callable[[str, Edit], Path]) -> None:
    folder = edited("encoder", lambda _, tensors: tensors.update({EMBEDDING: torch.zeros(48, 32, dtype=torch.int64)}))
    with pytest.raises(UserError, match=r"model.embedding.weight has type torch.int64"):
        load_published_component(folder)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("encoder", "ff_activation", "mystery"),
        ("encoder", "embed_dim", "32"),
        ("encoder", "use_gated", 1),
        ("encoder", "self_att_type", "mystery"),
        ("encoder", "a_new_key", 3),
        ("encoder", "use_head_norm", True),
        ("decoder_micro_sft", "head_norm_type", "mystery"),
        ("decoder_micro_sft", "moe_bias_mode", "mystery"),
        ("decoder_micro_sft", "stateless_layers_config", ["dense", "mystery"]),
        ("memory_self", "residual_gate_type", "mystery"),
        ("memory_self", "residual_gate_slot_status_type", "mystery"),
        ("memory_self", "norm_type", "mystery"),
        ("memory_self", "att_experts", 4),
        ("memory_self", "a_new_key", False),
        ("mlm_head", "a_new_key", 3),
        ("mlm_head", "vocab_size", "many"),
    ],
)
def test_an_unknown_configuration_value_is_named(
    edited: Callable[[str, Edit], Path], name: str, key: str, value: object
) -> None:
    folder = edited(name, lambda values, _: values.update({key: value}))
    with pytest.raises(UserError, match=key):
        load_published_component(folder)


@pytest.mark.parametrize(
    "part", [None, "decoder_config", "encoder_config", "memory_attention_config", "tokenizer_config"]
)
def test_an_unknown_key_of_a_whole_model_is_named(edited: Callable[[str, Edit], Path], part: str | None) -> None:
    folder = edited("beta", lambda values, _: (values[part] if part else values).update({"a_new_key": 3}))
    with pytest.raises(UserError, match="a_new_key"):
        load_published(folder)


def test_an_unknown_variant_is_named(edited: Callable[[str, Edit], Path]) -> None:
    folder = edited("beta", lambda values, _: values.update({"memory_attention_variant": "mystery"}))
    with pytest.raises(UserError, match="memory_attention_variant is 'mystery'"):
        load_published(folder)


def move_embedding(_: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    tensors[f"encoder.{EMBEDDING}"] = tensors.pop(f"decoder.{EMBEDDING}")


def copy_embedding(_: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    tensors[f"encoder.{EMBEDDING}"] = tensors[f"decoder.{EMBEDDING}"].clone()


def give_encoder_memory_and_rope(_: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    tensors["encoder.model.stm.memory"] = torch.zeros(4, 1, 12, 32)
    for layer in range(4):
        tensors[f"encoder.model.layers.{layer}.attention.rope.cache"] = torch.zeros(24, 4)
        tensors[f"encoder.model.layers.{layer}.attention.rope.inv_freq"] = torch.zeros(4)


@pytest.mark.parametrize("change", [move_embedding, copy_embedding, give_encoder_memory_and_rope])
def test_where_shared_tensors_and_buffers_stand_makes_no_difference(
    reference: Path, edited: Callable[[str, Edit], Path], change: Edit
) -> None:
    model = load_published(edited("beta", change))
    assert same_weights(model, load_published(reference / "beta"))
    assert model.encoder.embedding is model.decoder.embedding


def test_two_different_embeddings_are_refused(edited: Callable[[str, Edit], Path]) -> None:
    folder = edited("beta", lambda _, tensors: tensors.update({f"encoder.{EMBEDDING}": torch.zeros(48, 32)}))
    with pytest.raises(UserError, match=r"decoder.model.embedding.weight and encoder.model.embedding.weight differ"):
        load_published(folder)


def test_keys_that_a_checkpoint_leaves_out_have_the_reference_defaults(
    reference: Path, edited: Callable[[str, Edit], Path]
) -> None:
    """The small references keep every size; all else must come from defaults or from the tensors."""
    sizes = (
        "vocab_size",
        "embed_dim",
        "att_heads",
        "att_groups",
        "att_query_groups",
        "ff_dim",
        "num_layers",
        "num_experts",
        "moe_top_k",
    )

    def drop(values: dict[str, Any], _: dict[str, Tensor]) -> None:
        for key in [key for key in values if key not in sizes]:
            del values[key]

    found, expected = (
        load_published_component(edited("decoder_micro_sft", drop)),
        load_published_component(reference / "decoder_micro_sft"),
    )
    assert same_weights(found, expected)
    assert isinstance(found.config, DecoderConfig)
    assert found.config.max_length == 1_024
    assert isinstance(found.config.feed_forward, MoEConfig)
    assert found.config.feed_forward.activation == "silu"


def test_an_empty_configuration_is_the_reference_default(edited: Callable[[str, Edit], Path]) -> None:
    folder = edited("encoder", lambda values, _: values.clear())
    with pytest.raises(UserError, match=r"has shape \(48, 32\), expected \(20000, 512\)|model.layers.2.\S+ is missing"):
        load_published_component(folder)


def other_moe_words(values: dict[str, Any], _: dict[str, Tensor]) -> None:
    for key in ("use_vectorized_moe", "use_moe"):
        values["decoder_config"][key] = not values["decoder_config"].get(key, True)
    values["decoder_config"] |= {
        "num_shared_experts": 3,
        "moe_bias_mode": "local",
        "moe_shared_experts_bias_mode": "global",
    }


@pytest.mark.parametrize("name", ["alpha_legacy_moe", "alpha_vectorized_moe", "beta"])
def test_the_tensors_decide_how_experts_are_made_up(
    reference: Path, edited: Callable[[str, Edit], Path], name: str
) -> None:
    expected = load_published(reference / name)
    found = load_published(edited(name, other_moe_words))
    assert same_weights(found, expected)
    assert found.config == expected.config


def as_list(_: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """The stacked experts of a checkpoint as a list of Linear layers: each matrix transposed."""
    for name in [name for name in tensors if name.rpartition(".")[2] in ("w1", "w2", "shared_w1", "shared_w2")]:
        prefix, _dot, kind = name.rpartition(".")
        experts = "shared_experts" if kind.startswith("shared_") else "experts"
        matrix = "fc1.linear" if kind.endswith("w1") else "fc2"
        for expert, weight in enumerate(tensors.pop(name)):
            tensors[f"{prefix}.{experts}.{expert}.{matrix}.weight"] = weight.T.contiguous()


@pytest.mark.parametrize("name", ["alpha_vectorized_moe", "beta"])
def test_listed_and_stacked_experts_are_the_same_model(
    reference: Path, edited: Callable[[str, Edit], Path], name: str
) -> None:
    assert same_weights(load_published(edited(name, as_list)), load_published(reference / name))


def test_bias_modes_are_read_off_the_tensors(reference: Path) -> None:
    def modes(name: str) -> tuple[str, str, int]:
        feed_forward = load_published(reference / name).config.decoder.feed_forward
        assert isinstance(feed_forward, MoEConfig)
        return feed_forward.bias, feed_forward.shared_bias, feed_forward.shared_experts

    assert modes("alpha_legacy_moe")[0] == "local"
    assert modes("alpha_vectorized_moe")[0] == "global"
    assert modes("beta") == ("off", "off", 2)


def test_configuration_of_a_beta_model(reference: Path) -> None:
    config = load_published(reference / "beta").config
    assert config.template == "beta"
    assert (config.tokens.think, config.tokens.internal) == (5, 8)
    assert config.memory_shape == (4, 12, 32)
    assert config.max_length == 24
    assert [feed_forward.kind for feed_forward in config.decoder.stateless] == ["dense", "moe"]
    assert isinstance(config.encoder.feed_forward, FeedForwardConfig)
    assert config.decoder.self_attention.gated
    assert not config.decoder.self_attention.output_bias
    assert config.memory_attention.attention.output_bias
    assert config.memory_attention.groups == 2


def test_attention_words(reference: Path) -> None:
    config = load_published_component(reference / "decoder_dense_gqa").config
    assert isinstance(config, DecoderConfig)
    assert (config.self_attention.query_heads, config.self_attention.kv_heads) == (4, 2)
    assert (config.cross_attention.query_heads, config.cross_attention.kv_heads) == (4, 1)


def test_an_early_encoder_that_reads_memory(edited: Callable[[str, Edit], Path]) -> None:
    """No reference has one: build it from the tensors of a decoder, which has the same blocks."""

    def to_encoder(values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        for name in ("model.head.weight", "model.head.bias"):
            del tensors[name]

    encoder = load_published_component(edited("decoder_dense_gqa", to_encoder))
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder.config, EncoderConfig)
    assert encoder.reads_memory
    ids = torch.arange(6).unsqueeze(0)
    first, second = (encoder(ids, None, torch.randn(2, 1, 12, 32)) for _ in range(2))
    assert not torch.allclose(first, second)


def test_ungated_variants_with_the_same_tensors_must_be_named(edited: Callable[[str, Edit], Path]) -> None:
    def ungate(values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        values["use_gated_residual"] = False
        for name in [name for name in tensors if "gate_layers" in name]:
            del tensors[name]

    folder = edited("memory_self_interlayer", ungate)
    with pytest.raises(UserError, match="memory_attention_variant is needed"):
        load_published_component(folder)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"memory_attention_variant": "interlayer"}))
    config = load_published_component(folder).config
    assert isinstance(config, MemoryAttentionConfig)
    assert (config.variant, config.gate.kind) == ("interlayer", "ungated")


def test_half_precision_checkpoints_become_float32(edited: Callable[[str, Edit], Path]) -> None:
    def halve(_: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        tensors.update({name: tensor.bfloat16() for name, tensor in tensors.items()})

    model = load_published(edited("alpha_legacy_moe", halve))
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    logits = model.decode(torch.tensor([[1, 3, 9]]), Memory(torch.zeros(2, 1, 12, 32)))
    assert logits.isfinite().all()


def test_the_wrong_kind_of_folder_is_explained(reference: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"load it with rxt\.load_component"):
        load_published(reference / "encoder")
    with pytest.raises(UserError, match="from_pretrained"):
        load_published_component(reference / "beta")
    with pytest.raises(UserError, match=r"not a whole model's configuration.*rxt\.load_component"):
        ReactiveTransformer.from_pretrained(reference / "encoder")
    ReactiveTransformer.from_pretrained(reference / "beta").save_pretrained(tmp_path / "ours")
    with pytest.raises(UserError, match=r"this is a whole model.*from_pretrained"):
        load_published_component(tmp_path / "ours")
    with pytest.raises(UserError, match="no such file"):
        load_published(tmp_path)
    shutil.copy(reference / "beta" / "config.json", tmp_path)
    with pytest.raises(UserError, match=r"model.safetensors: no such file"):
        load_published(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((reference / "beta" / "model.safetensors").read_bytes()[:1_000])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_published(tmp_path)
