"""Models that are built on a pre-trained one: their folder holds the memory's weights alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rxt.config import BaseModel, DecoderConfig, RxTConfig
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.folders import TOKENIZER
from rxt.interop.backbone import Backbone
from rxt.interop.base_tokenizer import load_base_tokenizer
from rxt.model.checkpoint import CONFIG, Model, memory_tensors
from rxt.model.grow import grow
from rxt.model.weights import Weights


def load_on_base(
    folder: Path, kind: type[Model], base: str | Path | None = None, cache_dir: str | Path | None = None
) -> Model:
    """A model of a class out of the folder of its memory and the base that its configuration names.

    ``base``: where that is, if it is elsewhere.

    Raises:
        UserError: the base is not found or is another one; a tensor is missing, not expected or misshapen.
    """
    config = RxTConfig.from_file(folder / CONFIG)
    assert config.base is not None
    backbone = load_base(config.base, str(folder), base, cache_dir)
    if without_memory(config.decoder, backbone.config) != backbone.config:
        raise UserError(f"{folder / CONFIG}: decoder is not that of the base {backbone.name}")
    with Weights(folder) as stored:
        model = grow(backbone.decoder, config, kind)
        stored.fill(memory_tensors(model))
    return model


def load_base(
    needed: BaseModel, who: str, given: str | Path | None = None, cache_dir: str | Path | None = None
) -> Backbone:
    """The base that a memory needs.

    Args:
        who: needs it, for messages.
        given: where it is, if it is elsewhere.

    Raises:
        UserError: it is not found, or is another one.
    """
    with sought(needed, who, given):
        revision = needed.revision if given is None else None
        backbone = Backbone.from_pretrained(given or needed.name, revision, cache_dir)
    if (found := backbone.identity().fingerprint) != needed.fingerprint:
        raise UserError(
            f"{who}: this memory was made for other weights than those of {backbone.name}: it needs "
            f"{described(needed)}, found fingerprint {found}"
        )
    return backbone


@contextmanager
def sought(needed: BaseModel, who: str, given: str | Path | None = None) -> Iterator[None]:
    """Say which base was looked for, and where, when it is not found."""
    try:
        yield
    except UserError as error:
        where, hint = given or needed.name, "" if given else "; if it is elsewhere, name its folder or file (--base)"
        raise UserError(f"{who}: needs its base, {described(needed)}; looked for as {where}: {error}{hint}") from None


def load_tokenizer(
    folder: Path, config: RxTConfig, base: str | Path | None = None, cache_dir: str | Path | None = None
) -> ChatTokenizer:
    """The tokenizer of a model in a folder: the one that lies there, or else its base's.

    Raises:
        UserError: there is none, or it has not the model's special tokens.
    """
    if config.base is None or (folder / TOKENIZER).is_file():
        return ChatTokenizer.load(folder, config.tokens)
    revision = config.base.revision if base is None else None
    tokenizer = load_base_tokenizer(base or config.base.name, revision, cache_dir)
    return tokenizer.having(config.tokens)


def described(base: BaseModel) -> str:
    """A base in a message."""
    at = f" at revision {base.revision}" if base.revision else ""
    return f"{base.name}{at} (fingerprint {base.fingerprint})"


def without_memory(decoder: DecoderConfig, base: DecoderConfig) -> DecoderConfig:
    """A decoder's configuration as its base has it: without reads, and with the base's length."""
    return replace(
        decoder,
        cross_attention=base.cross_attention,
        max_length=base.max_length,
        memory_layers=base.memory_layers,
        read_scale=base.read_scale,
        slot_norm=base.slot_norm,
        place=base.place,
    )
