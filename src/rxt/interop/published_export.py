"""Write whole models and single parts in the published layout, so that whoever reads that layout can read ours.

Experts with biases of their own are written as a list, as the first published models have them; all others stacked. The
tables of RoPE and a fresh memory, which the published modules hold as buffers, are written too.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rxt.config import RxTConfig
from rxt.files import make_folder, write_atomically
from rxt.interop.key_map import WHOLE, Part, published_names, tags_of, views
from rxt.interop.published import CONFIG, EMBEDDINGS
from rxt.interop.published_config_export import (
    decoder_values,
    encoder_values,
    memory_attention_values,
    published_config,
    unread_elsewhere,
    written_as_list,
)
from rxt.interop.published_memory import alike
from rxt.model.decoder import Decoder
from rxt.model.encoder import Encoder
from rxt.model.heads import MLMHead
from rxt.model.memory import initial_slots
from rxt.model.memory_attention import MemoryAttention
from rxt.model.reactive import ReactiveTransformer
from rxt.model.weights import write_weights

logger = logging.getLogger(__name__)


def save_published(model: ReactiveTransformer, folder: str | Path) -> None:
    """Write ``config.json`` and ``model.safetensors``; what the published layout cannot say is an error that names
    it."""
    folder = Path(folder)
    values = published_config(model.config)
    for name in unread_elsewhere(model.config):
        logger.warning("%s: the published framework does not read %s; rxt does", folder, name)
    tensors: dict[str, Tensor] = {}
    for part in WHOLE:
        tensors |= {f"{part}.{name}": tensor for name, tensor in _tensors(part, model.get_submodule(part)).items()}
    first, second = EMBEDDINGS
    tensors[second] = tensors[first].clone()  # the published loader finds it under both names, or draws one at random
    aliases: dict[str, str] = {}
    _add_buffers(model.config, tensors, aliases)
    _write(folder, values, tensors, aliases)


def save_published_component(
    module: nn.Module, folder: str | Path, slots: int = 1_024, max_length: int = 1_024
) -> None:
    """Write a decoder, encoder, memory attention or MLM head of its own, for whoever loads such parts.

    Args:
        slots: what a decoder's or encoder's file says of the memory it goes with, S; a memory attention knows its own.
        max_length: the longest interaction that a memory attention's file speaks of; decoder and encoder know their
        own.

    Raises:
        UserError: the layout cannot say what the part is.
        TypeError: the module is no such part.
    """
    match module:
        case Decoder():
            part, values = "decoder", decoder_values(module.config, slots)
        case Encoder():
            part, values = "encoder", encoder_values(module.config, slots)
        case MemoryAttention():
            part, values = "memory_attention", memory_attention_values(module.config, max_length)
            told_by_gates = len(alike(published_names(module.config.variant).tensors)) > 1
            if told_by_gates and module.config.gate.kind in ("ungated", "replace"):
                values["memory_attention_variant"] = module.config.variant  # the tensors do not tell
        case MLMHead():
            part, values = "mlm_head", {"embed_dim": module.dense.in_features, "vocab_size": module.head.out_features}
        case _:
            raise TypeError(f"a {type(module).__name__} is no decoder, encoder, memory attention or MLM head")
    _write(Path(folder), values, _tensors(part, module), {})


def _tensors(part: Part, module: nn.Module) -> dict[str, Tensor]:
    """A part's tensors under their published names."""
    listed = isinstance(module, Decoder | Encoder) and written_as_list(module.config)
    named = views(part, module, tags_of(module, listed))
    return {name: view.detach().cpu().contiguous() for name, view in named.items()}


def _write(folder: Path, values: dict[str, Any], tensors: dict[str, Tensor], aliases: dict[str, str]) -> None:
    make_folder(folder)
    write_weights(folder, tensors, aliases)
    write_atomically(folder / CONFIG, (json.dumps(values, indent=2, sort_keys=True) + "\n").encode())


def _add_buffers(config: RxTConfig, tensors: dict[str, Tensor], aliases: dict[str, str]) -> None:
    """Add what published modules hold as buffers: a fresh memory for each part, and RoPE tables once, with aliases."""
    decoder, encoder, memory = config.decoder, config.encoder, config.memory_attention
    stateless = [f"stateless_layers.{i}" for i in range(len(decoder.stateless))]
    final = [f"final_stateless_layers.{i}" for i in range(len(decoder.final_stateless))]
    layers = [f"layers.{i}" for i in range(config.decoder.layers)]
    own, cross = "attention", "memory_cross_attention"
    places = {
        "decoder": [f"{layer}.{own}" for layer in (*layers, *stateless, *final)]
        + [f"{layer}.{cross}" for layer in layers],
        "encoder": [f"{layer}.{own}" for layer in layers]
        + [f"{layer}.{cross}" for layer in layers if encoder.cross_attention],
        "memory_attention": [f"attention_layers.{i}" for i in range(memory.layers)],
    }
    ropes = {
        "decoder": (decoder.self_attention, decoder.max_length),
        "encoder": (encoder.self_attention, encoder.max_length),
        "memory_attention": (memory.attention, decoder.max_length),
    }
    for part, (attention, length) in ropes.items():
        head_dim = attention.head_size(memory.width)
        frequencies = attention.rope_base ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        angles = torch.arange(length).unsqueeze(1) * frequencies  # (T, Hd / 2)
        for name, buffer in (("inv_freq", frequencies), ("cache", angles)):
            first, *others = (f"{part}.model.{place}.rope.{name}" for place in places[part])
            tensors[first] = buffer
            aliases |= dict.fromkeys(others, first)
    fresh = initial_slots(config.memory_shape, 1, config.memory_init, config.memory_seed or 0)
    for part in ("decoder", "memory_attention", *(("encoder",) if encoder.cross_attention else ())):
        tensors[f"{part}.model.stm.memory"] = fresh.clone()
