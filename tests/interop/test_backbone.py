"""Pre-trained language models as backbones: the logits are those of ``transformers``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_bases import BASES, store_base, transformers
from torch import Tensor
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from rxt.errors import UserError
from rxt.interop.backbone import Backbone
from rxt.interop.reader import Reader
from rxt.interop.rope import read_rope
from rxt.model.layers import rotation_at

every_base = pytest.mark.parametrize("name", BASES)
NEAR = 1e-4


def some_ids(rows: int = 2, length: int = 11) -> Tensor:
    return torch.randint(3, 97, (rows, length), generator=torch.Generator().manual_seed(1))


@every_base
@torch.no_grad()
def test_the_logits_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    theirs, ids = store_base(tmp_path, name), some_ids()
    ours = Backbone.from_pretrained(tmp_path)(ids)
    expected = theirs(ids).logits
    assert expected.std() > 0.5  # logits that differ, so that nearness says something
    torch.testing.assert_close(ours, expected, atol=NEAR, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_precision_is_read_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    theirs, ids = store_base(tmp_path, "llama", dtype), some_ids()
    torch.testing.assert_close(Backbone.from_pretrained(tmp_path)(ids), theirs(ids).logits, atol=NEAR, rtol=0)


@torch.no_grad()
def test_weights_in_several_files(tmp_path: Path) -> None:
    theirs, ids = store_base(tmp_path, "qwen3", shard="20KB"), some_ids()
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    torch.testing.assert_close(Backbone.from_pretrained(tmp_path)(ids), theirs(ids).logits, atol=NEAR, rtol=0)


@torch.no_grad()
def test_padding_on_the_right_changes_nothing(tmp_path: Path) -> None:
    store_base(tmp_path, "mistral")
    model, ids = Backbone.from_pretrained(tmp_path), some_ids(1)
    padded = torch.cat([ids, torch.zeros(1, 3, dtype=torch.long)], dim=1)
    mask = torch.arange(14)[None] < 11
    logits = model(padded, mask)
    torch.testing.assert_close(logits[:, :11], model(ids), atol=1e-5, rtol=0)
    assert not logits[:, 11:].any()


@every_base
@torch.no_grad()
def test_cached_steps_are_the_whole_text(tmp_path: Path, name: str) -> None:
    store_base(tmp_path, name)
    model, ids = Backbone.from_pretrained(tmp_path), some_ids()
    cache = model.decoder.new_cache(2, 11)
    begun = model.decoder.begin(ids[:, :6], torch.tensor([5, 5]), [], cache)
    steps = [begun[:, None]]
    for position in range(6, 11):
        at = torch.full((2, 1), position)
        steps.append(model.decoder.step(ids[:, position : position + 1], at, [], cache))
    torch.testing.assert_close(torch.cat(steps, dim=1), model(ids)[:, 5:], atol=NEAR, rtol=0)


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]},
            r"architecture is GPT2LMHeadModel; a base must be of the Llama family: llama, mistral, qwen2, qwen3",
        ),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, r"rotation is scaled \(yarn\)"),
        (
            {"rope_parameters": {"rope_type": "linear", "factor": "long"}},
            "factor of its rotation must be a number above 0, found 'long'",
        ),
        ({"quantization_config": {"bits": 4}}, "its weights are quantized"),
        ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new', which is not known"),
        ({"hidden_size": "wide"}, "hidden_size must be of type int, found 'wide'"),
        ({"hidden_size": 30, "head_dim": None}, r"decoder\.self_attention\.heads 4 must divide width 30"),
        ({"intermediate_size": 57}, r"tensor model\.layers\.0\.mlp\.down_proj\.weight has shape \(32, 56\)"),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    store_base(tmp_path, "llama")
    change_config(tmp_path, **changes)
    with pytest.raises(UserError, match=message) as caught:
        Backbone.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_missing_and_extra_tensors_are_named(tmp_path: Path) -> None:
    store_base(tmp_path, "qwen2")
    path = tmp_path / "model.safetensors"
    whole = load_file(path)
    save_file(whole | {"model.layers.4.mlp.up_proj.weight": torch.ones(2)}, path)
    with pytest.raises(UserError, match=r"unexpected tensor model\.layers\.4\.mlp\.up_proj\.weight"):
        Backbone.from_pretrained(tmp_path)
    save_file({name: tensor for name, tensor in whole.items() if name != "model.norm.weight"}, path)
    with pytest.raises(UserError, match=r"tensor model\.norm\.weight is missing"):
        Backbone.from_pretrained(tmp_path)


def test_a_sliding_window_bounds_the_length(tmp_path: Path) -> None:
    store_base(tmp_path, "mistral")
    assert Backbone.from_pretrained(tmp_path).config.max_length == 64
    change_config(tmp_path, sliding_window=24)
    assert Backbone.from_pretrained(tmp_path).config.max_length == 24


@torch.no_grad()
def test_a_tied_table_may_be_stored_twice_if_it_is_the_same(tmp_path: Path) -> None:
    theirs, ids = store_base(tmp_path, "llama-tied"), some_ids()
    path = tmp_path / "model.safetensors"
    whole = load_file(path)
    save_file(whole | {"lm_head.weight": whole["model.embed_tokens.weight"].clone()}, path)
    torch.testing.assert_close(Backbone.from_pretrained(tmp_path)(ids), theirs(ids).logits, atol=NEAR, rtol=0)
    save_file(whole | {"lm_head.weight": whole["model.embed_tokens.weight"] + 1}, path)
    with pytest.raises(UserError, match=r"lm_head\.weight is not the embedding"):
        Backbone.from_pretrained(tmp_path)


def test_the_rotation_of_llama_3_2_is_that_of_transformers() -> None:
    scaling = {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    config = transformers.LlamaConfig(
        hidden_size=2048, num_attention_heads=32, max_position_embeddings=131_072, rope_parameters=scaling
    )
    expected, _ = ROPE_INIT_FUNCTIONS["llama3"](config)
    rope = read_rope(Reader({"rope_scaling": scaling}, "test"), 64, 131_072)
    position = torch.tensor([503])
    ours = rotation_at(position, 64, rope.base, rope.factors)
    speeds = 500_000.0 ** (-torch.arange(0, 64, 2, dtype=torch.float64) / 64) / torch.tensor(rope.factors)
    torch.testing.assert_close(speeds.float(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(ours.cos.flatten(), (position * expected).cos(), rtol=0, atol=1e-4)
    assert rope.factors is not None
    assert len(set(rope.factors)) > 4


def no_room(*_: object) -> None:
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


def other_trouble(*_: object) -> None:
    raise RuntimeError("something else")


def test_too_little_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_base(tmp_path, "llama")
    monkeypatch.setattr("rxt.interop.backbone.read_folder", no_room)
    with pytest.raises(UserError, match=r"has not enough memory for it \(4 bytes a parameter\); take a smaller base"):
        Backbone.from_pretrained(tmp_path)
    monkeypatch.setattr("rxt.interop.backbone.read_folder", other_trouble)
    with pytest.raises(RuntimeError, match="something else"):
        Backbone.from_pretrained(tmp_path)
