"""A whole model from a folder or the Hugging Face Hub and back, in this project's layout or in the published one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rxt.config import read_json
from rxt.errors import UserError
from rxt.folders import model_folder
from rxt.interop.published import is_published, load_published
from rxt.interop.published_export import save_published
from rxt.model.checkpoint import CONFIG, Model, load_model, save_model
from rxt.model.reactive import ReactiveTransformer

Layout = Literal["rxt", "published"]


def load_pretrained(
    source: str | Path | None,
    kind: type[Model] = ReactiveTransformer,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
) -> Model:
    """Load a model of a class, ready for inference; its ``config.json`` tells which layout it has.

    ``source`` is a folder, a repository of the Hub (``owner/name``), or None for the bundled model.
    """
    folder = model_folder(source, revision=revision, cache_dir=cache_dir)
    load = load_published if is_published(read_json(folder / CONFIG)) else load_model
    return load(folder, kind)


def save_pretrained(model: ReactiveTransformer, folder: str | Path, layout: Layout = "rxt") -> None:
    """Write ``config.json`` and ``model.safetensors`` into a folder, each whole or not at all."""
    if model.stands_for is not None:
        raise UserError(
            "a quantized model is not saved: save the model that it was made of, and quantize again after loading"
        )
    match layout:
        case "rxt":
            save_model(model, Path(folder))
        case "published":
            save_published(model, Path(folder))
        case _:
            raise UserError(f"there is no layout {layout!r}: write 'rxt' or 'published'")
