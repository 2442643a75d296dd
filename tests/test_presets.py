"""Every preset comes out at the sizes that the model cards and the paper's tables give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rxt.config import RxTConfig
from rxt.errors import UserError
from rxt.model.heads import MLMHead
from rxt.model.parameters import Counts, parameter_counts
from rxt.presets import preset, preset_names
from rxt.pretrained import ReactiveTransformer

PUBLISHED = {  # decoder, encoder, memory attention
    "rxt-alpha-nano": (9_458_508, 2_049_024, 1_186_688),
    "rxt-alpha-micro": (22_404_940, 2_775_040, 2_635_648),
    "rxt-alpha-mini": (57_767_696, 8_347_648, 27_298_048),
    "rxt-alpha": (141_379_104, 13_949_312, 5_529_856),
    "rxt-alpha-mini-encoder-base": (57_767_696, 9_140_224, 27_298_048),
    "rxt-alpha-micro-decoder-sft": (9_458_508, 2_049_024, 1_186_688),
}
MLM_HEADS = {"rxt-alpha-nano": 984_268, "rxt-alpha-micro": 984_268, "rxt-alpha-mini": 2_636_304, "rxt-alpha": 5_206_304}


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def on_meta(config: RxTConfig) -> ReactiveTransformer:
    """The whole model without memory for its weights."""
    with torch.device("meta"):
        return ReactiveTransformer(config)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name: str) -> None:
    counts = parameter_counts(preset(name))
    assert (counts.decoder, counts.encoder, counts.memory_attention) == PUBLISHED[name]


def test_published_sizes_of_beta() -> None:
    counts = parameter_counts(preset("rxt-beta"))
    assert counts.decoder / 1e9 == pytest.approx(2.85, abs=0.01)
    assert counts.decoder_active / 1e6 == pytest.approx(190, abs=1)
    assert (counts.encoder, counts.memory_attention) == (96_969_728, 22_332_416)


@pytest.mark.parametrize("name", MLM_HEADS)
def test_published_sizes_of_mlm_heads(name: str) -> None:
    config = preset(name)
    with torch.device("meta"):
        head = MLMHead(config.decoder.width, config.decoder.vocab_size)
    assert parameter_counts(config).mlm_head == parameters(head) == MLM_HEADS[name]


def test_the_early_mini_encoder_with_its_memory_buffer() -> None:
    counts = parameter_counts(preset("rxt-alpha-mini-encoder-base"))
    assert counts.encoder + counts.memory == 11_237_376


@pytest.mark.parametrize("name", preset_names())
def test_models_have_the_counted_parameters(name: str) -> None:
    config = preset(name)
    model, counts = on_meta(config), parameter_counts(config)
    assert parameters(model.decoder) == counts.decoder
    assert parameters(model.encoder) == counts.encoder
    assert parameters(model.memory_attention) == counts.memory_attention
    assert parameters(model) == counts.total


@pytest.mark.parametrize("name", preset_names())
def test_configurations_survive_json(name: str) -> None:
    config = preset(name)
    assert RxTConfig.from_dict(config.to_dict()) == config
    assert RxTConfig.preset(name) == config


def test_active_parameters_are_all_but_the_experts_not_chosen() -> None:
    config = preset("rxt-alpha-nano")
    counts = parameter_counts(config)
    one_expert = (128 * 512 + 512) + (256 * 128 + 128)
    assert counts.decoder - counts.decoder_active == 6 * (12 - 2) * one_expert
    assert isinstance(counts, Counts)


def test_an_unknown_name_lists_the_near_ones() -> None:
    with pytest.raises(UserError, match=r"no preset 'rxt-alpha-nanno'; did you mean rxt-alpha-nano"):
        preset("rxt-alpha-nanno")
    with pytest.raises(UserError, match=r"did you mean .*rxt-alpha-nano, .*rxt-beta"):
        preset("???")
