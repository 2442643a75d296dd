"""Load models stored in the published layout: whole ones, and single decoders, encoders, memory attentions, MLM heads.

A folder holds ``config.json`` and ``model.safetensors``, or several such files with an index; nothing is ever
unpickled. A tensor that is missing or unexpected, or a configuration value that is not known, is an error that names
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rxt.config import MemoryAttentionConfig, read_json
from rxt.errors import UserError, in_file
from rxt.folders import model_folder
from rxt.interop.key_map import WHOLE, Part, has_listed_experts, is_buffer, tags_of, views
from rxt.interop.published_config import read_decoder, read_encoder, read_model
from rxt.interop.published_memory import read_memory_attention
from rxt.model.checkpoint import Model
from rxt.model.decoder import Decoder
from rxt.model.encoder import Encoder
from rxt.model.heads import MLMHead
from rxt.model.layers import make_embedding
from rxt.model.memory_attention import MemoryAttention
from rxt.model.reactive import ReactiveTransformer
from rxt.model.weights import Weights

CONFIG = "config.json"
EMBEDDINGS = ("decoder.model.embedding.weight", "encoder.model.embedding.weight")
"""Two names of one tensor: a whole model stores it under either."""


def is_published(values: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` is a whole model's in the published layout."""
    return "decoder_config" in values


def load_published(folder: str | Path, kind: type[Model] = ReactiveTransformer) -> Model:
    """A whole model of a class, ready for inference, from a folder or a repository of the Hugging Face Hub."""
    folder = model_folder(folder)
    values = read_json(folder / CONFIG)
    if not is_published(values):
        raise UserError(
            f"{folder / CONFIG}: no decoder_config; this is not a whole model, load it with rxt.load_component"
        )
    with Weights(folder, is_buffer) as stored:
        shapes = {part: stored.part(f"{part}.") for part in WHOLE}
        with in_file(str(folder / CONFIG)):
            config = read_model(values, shapes, str(folder / CONFIG))
        _leave_out_unused(stored, config.memory_attention)
        first, second = EMBEDDINGS
        twice = first in stored.shapes and second in stored.shapes
        if twice and not torch.equal(stored.tensor(first), stored.tensor(second)):
            raise UserError(f"{stored.path}: {first} and {second} differ, but decoder and encoder share one embedding")

        def places(model: ReactiveTransformer) -> dict[str, Tensor]:
            found: dict[str, Tensor] = {}
            for part in WHOLE:
                module = model.get_submodule(part)
                tags = tags_of(module, has_listed_experts(shapes[part]))
                found |= {f"{part}.{name}": view for name, view in views(part, module, tags).items()}
            if not twice:
                del found[first if second in stored.shapes else second]
            return found

        return stored.make(lambda: kind(config), places)


def load_published_component(
    folder: str | Path, revision: str | None = None, cache_dir: str | Path | None = None
) -> nn.Module:
    """A decoder, encoder, memory attention or MLM head of its own, told apart by its tensors; ready for inference.

    ``folder`` may be a repository of the Hugging Face Hub; ``revision`` and ``cache_dir`` are for those.
    """
    folder = model_folder(folder, revision=revision, cache_dir=cache_dir)
    values = read_json(folder / CONFIG)
    if is_published(values) or "decoder" in values:
        raise UserError(
            f"{folder / CONFIG}: this is a whole model; load it with rxt.ReactiveTransformer.from_pretrained"
        )
    with Weights(folder, is_buffer) as stored:
        part = _part(stored.shapes)
        with in_file(str(folder / CONFIG)):
            build = _builder(part, values, stored, str(folder / CONFIG))
        return stored.make(
            build, lambda module: views(part, module, tags_of(module, has_listed_experts(stored.shapes)))
        )


def _part(shapes: Iterable[str]) -> Part:
    stored = {name.split(".")[1 if name.startswith("model.") else 0] for name in shapes}
    if "attention_layers" in stored:
        return "memory_attention"
    if "dense" in stored:
        return "mlm_head"
    return "decoder" if "head" in stored else "encoder"


def _builder(part: Part, values: dict[str, Any], stored: Weights, source: str) -> Callable[[], nn.Module]:
    """What makes the untrained part, once its configuration has been read and found right."""
    shapes = stored.part("")
    match part:
        case "mlm_head":
            sizes = values | {"embed_dim": values.get("embed_dim", 512), "vocab_size": values.get("vocab_size", 20_000)}
            for key, value in sizes.items():
                if key not in ("embed_dim", "vocab_size") or type(value) is not int:
                    raise UserError(
                        f"{source}: {key} (found {value!r:.60}) is not a known key and value of an MLM head"
                    )
            return partial(MLMHead, sizes["embed_dim"], sizes["vocab_size"])
        case "memory_attention":
            memory_attention = read_memory_attention(values, shapes, source, None)
            _leave_out_unused(stored, memory_attention)
            return partial(MemoryAttention, memory_attention)
        case "decoder":
            decoder = read_decoder(values, shapes, source)
            return lambda: Decoder(decoder, make_embedding(decoder.vocab_size, decoder.width))
        case "encoder":
            encoder = read_encoder(values, shapes, source)
            return lambda: Encoder(encoder, make_embedding(encoder.vocab_size, encoder.width))


def _leave_out_unused(stored: Weights, config: MemoryAttentionConfig) -> None:
    """Static gates may come with the learned status of other gates, which they never look at."""
    if config.gate.kind == "static":
        stored.leave_out(r"\.slot_status\.(weight|bias)$")
