"""A whole model from a folder or the Hugging Face Hub and back, in this project's layout or in the published one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rxt.config import read_json
from rxt.errors import UserError
from rxt.folders import model_folder
from rxt.interop.base_files import base_file
from rxt.interop.llama import is_checkpoint
from rxt.interop.on_base import load_on_base
from rxt.interop.published import is_published, load_published
from rxt.interop.published_export import save_published
from rxt.model.checkpoint import CONFIG, Model, load_model, save_model
from rxt.model.reactive import ReactiveTransformer

Layout = Literal["rxt", "published"]
WITHOUT_MEMORY = (
    "{}: a pre-trained language model without memory; rxt.ReactiveTransformer.on_base gives it one, to be trained"
)


def load_pretrained(
    source: str | Path | None,
    kind: type[Model] = ReactiveTransformer,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    base: str | Path | None = None,
) -> Model:
    """Load a model of a class, ready for inference; its ``config.json`` tells which layout it has.

    ``source`` is a folder, a repository of the Hub (``owner/name``), or None for the bundled model. ``base``: where the
    model is that it is built on, if not where its configuration says.
    """
    if source is not None and base_file(source) is not None:
        raise UserError(WITHOUT_MEMORY.format(source))
    folder = model_folder(source, revision=revision, cache_dir=cache_dir)
    values = read_json(folder / CONFIG)
    if is_checkpoint(values) and not is_published(values):
        raise UserError(WITHOUT_MEMORY.format(folder))
    if (values.get("base") or {"included": True}).get("included") is not True:
        return load_on_base(folder, kind, base, cache_dir)
    if base is not None:
        raise UserError(f"{folder}: this model has all its weights and needs no base; leave it out")
    load = load_published if is_published(values) else load_model
    return load(folder, kind)


def save_pretrained(
    model: ReactiveTransformer, folder: str | Path, layout: Layout = "rxt", merged: bool = False, half: bool = False
) -> None:
    """Write ``config.json`` and ``model.safetensors`` into a folder, each whole or not at all.

    ``merged``: of a model that is built on another, the weights of both. ``half``: in float16, in the rxt layout.
    """
    if model.stands_for is not None:
        raise UserError(
            "a quantized model is not saved, nor one with rounded updates: save the model that it was made of, "
            "and quantize or round again after loading"
        )
    match layout:
        case "rxt":
            save_model(model, Path(folder), merged, half)
        case "published":
            if half:
                raise UserError("half is for the rxt layout; leave it out")
            save_published(model, Path(folder))
        case _:
            raise UserError(f"there is no layout {layout!r}: write 'rxt' or 'published'")
