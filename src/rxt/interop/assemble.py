"""A whole model out of trained parts."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import nn

from rxt.config import RxTConfig
from rxt.errors import UserError
from rxt.interop.published import load_published_component
from rxt.model.checkpoint import Model
from rxt.model.decoder import Decoder
from rxt.model.encoder import Encoder
from rxt.model.memory_attention import MemoryAttention
from rxt.model.reactive import ReactiveTransformer

Embedding = Literal["decoder", "encoder"]
Component = TypeVar("Component", bound=nn.Module)


def assemble(
    decoder: Decoder | str | Path,
    encoder: Encoder | str | Path,
    memory_attention: MemoryAttention | str | Path,
    embedding: Embedding | None = None,
    like: RxTConfig | None = None,
    kind: type[Model] = ReactiveTransformer,
) -> Model:
    """Put trained parts together into a model of a class, each a module or where ``rxt.load_component`` finds one.

    Modules are copied, never changed.

    Args:
        embedding: whose table both use; needed where decoder and encoder bring different ones.
        like: special tokens, template, title of system prompts and fresh memory as in this configuration, which no
            part holds; by default those of ``RxTConfig``. Its own parts do not matter.

    Raises:
        UserError: widths, layers or vocabularies do not agree, embeddings differ and none is chosen, or a part is of
            another kind. Lengths may differ: the shorter one is the model's.
    """
    first = _own(decoder, Decoder, "decoder")
    second = _own(encoder, Encoder, "encoder")
    memory = _own(memory_attention, MemoryAttention, "memory_attention")
    config = RxTConfig(first.config, second.config, memory.config)  # says which sizes do not agree
    if like is not None:
        config = replace(like, decoder=first.config, encoder=second.config, memory_attention=memory.config, pool=None)
    _check_same_kind({"decoder": first, "encoder": second, "memory_attention": memory})
    if embedding not in (None, "decoder", "encoder"):
        raise UserError(f"embedding must be 'decoder' or 'encoder', found {embedding!r}")
    if embedding is None and not torch.equal(first.embedding.weight, second.embedding.weight):
        raise UserError(
            "embedding: the decoder's and the encoder's differ, but they share one table; "
            "say which one both shall use: embedding='decoder' or 'encoder'"
        )
    if embedding == "encoder":
        first.embedding = second.embedding
    else:
        second.embedding = first.embedding
    with torch.device("meta"):  # no random weights, which would be thrown away at once
        model = kind(config)
    model.decoder, model.encoder, model.memory_attention = first, second, memory
    return model.eval()


def _own(given: Component | str | Path, kind: type[Component], name: str) -> Component:
    """The part to build in: loaded, or a copy of what was given."""
    loaded = load_published_component(given) if isinstance(given, str | Path) else given
    if not isinstance(loaded, kind):
        where = f"{given}: " if isinstance(given, str | Path) else ""
        raise UserError(f"{where}{name} must be of type {kind.__name__}, found {type(loaded).__name__}")
    return loaded if isinstance(given, str | Path) else deepcopy(loaded)


def _check_same_kind(parts: dict[str, nn.Module]) -> None:
    """All weights must be of one type, on one device."""
    kinds = {
        name: sorted({f"{weight.dtype} on {weight.device}" for weight in part.parameters()})
        for name, part in parts.items()
    }
    if len({kind for found in kinds.values() for kind in found}) > 1:
        found = "; ".join(f"{name} {', '.join(kind)}" for name, kind in kinds.items())
        raise UserError(f"the parts must have one type and device, found {found}; convert them with .to(…) first")
