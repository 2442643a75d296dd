"""Tiny GGUF files, written as llama.cpp's converter writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rxt.interop.gguf_file import OF_A_LAYER, WHOLE

gguf = pytest.importorskip("gguf")


def write_gguf(path: Path, model: Any, kind: str, quantized: Any = None) -> None:
    """Write a model of ``transformers``; ``kind``: its architecture in GGUF. ``quantized``: a type for all matrices."""
    config, writer = model.config, gguf.GGUFWriter(path, kind)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head_dim)
    stored = {theirs: ours for ours, theirs in OF_A_LAYER.items()}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if kind == "llama" and any(part in name for part in ("q_proj", "k_proj")):
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
