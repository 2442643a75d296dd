"""Tiny GGUF files, written as llama.cpp's converter writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rxt.interop.gguf_file import OF_A_LAYER, WHOLE
from rxt.interop.reader import Reader
from rxt.interop.rope import read_rope

gguf = pytest.importorskip("gguf")


def head_dim_of(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def write_gguf(
    path: Path,
    model: Any,
    architecture: str,
    quantized: Any = None,
    tokenizer: Any = None,
    kind: str | None = "gpt2",
    pieces: str = "gpt-2",
) -> None:
    """Write a model of ``transformers``; ``architecture``: in GGUF. ``quantized``: a type for all matrices.
    ``tokenizer``: of ``transformers`` too, written as one of a ``kind`` that splits into ``pieces``."""
    config, writer = model.config, gguf.GGUFWriter(path, architecture)
    if tokenizer is not None and kind is not None:
        add_tokenizer(writer, tokenizer, kind, pieces)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    match config.rope_parameters["rope_type"]:
        case "llama3":
            factors = read_rope(Reader(config.to_dict(), "test"), head_dim_of(config), 64).factors
            writer.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))
        case "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(config.rope_parameters["factor"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    head_dim = head_dim_of(config)
    writer.add_key_length(head_dim)
    stored = {theirs: ours for ours, theirs in OF_A_LAYER.items()}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if architecture == "llama" and any(part in name for part in ("q_proj", "k_proj")):
            pairs = tensor.unflatten(0, (-1, 2, head_dim // 2)).transpose(1, 2)
            tensor = pairs.flatten(0, 2)
        match name.split("."):
            case ["model", "layers", index, *part, last]:
                name = f"blk.{index}.{stored['.'.join(part)]}.{last}"
            case _:
                name = next(ours for ours, theirs in WHOLE.items() if theirs == name)
        numbers = tensor.detach().to(torch.float32).contiguous().numpy()
        if quantized is not None and numbers.ndim == 2:
            packed = gguf.quants.quantize(numbers, quantized)
            writer.add_tensor(name, packed, raw_dtype=quantized)
        else:
            writer.add_tensor(name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: Any, tokenizer: Any, kind: str, pieces: str) -> None:
    """Write a byte-level tokenizer, padding and its end of text as token 2 and 1."""
    values = json.loads(tokenizer.backend_tokenizer.to_str())
    special = {each["id"] for each in values["added_tokens"]}
    words = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(pieces)
    writer.add_token_list(words)
    writer.add_token_types([3 if index in special else 1 for index in range(len(words))])
    writer.add_token_merges([" ".join(merge) for merge in values["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(2)
    writer.add_chat_template(tokenizer.chat_template)
