"""A model as a folder: ``config.json`` and ``model.safetensors``, or several such files with an index. Never a
pickle."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from safetensors.torch import load
from torch import Tensor

from rxt.config import RxTConfig, read_json
from rxt.errors import UserError
from rxt.files import make_folder, write_atomically
from rxt.model.low_rank import LowRankLinear
from rxt.model.reactive import ReactiveTransformer
from rxt.model.replace import replace_modules, share_copy
from rxt.model.weights import Weights, reading, write_weights

Model = TypeVar("Model", bound=ReactiveTransformer)

CONFIG = "config.json"
STORED, SHARED = "decoder.embedding.weight", "encoder.embedding.weight"
"""Two names of the one tensor that two parts share; it is stored under the first."""
TIED = "decoder.head.embedding.weight"
"""Its name once more, in models whose head is tied to it."""

READS = ("norm2", "stm_norm", "cross_attention", "read_scale")
"""What a layer has that reads memory, and a pre-trained decoder's has not."""
ADAPTERS = ("lora_down", "lora_up")
MEMORY = re.compile(
    rf"(?!decoder\.)|decoder\.layers\.\d+\.({'|'.join(READS)})\b|decoder\.layers\..*\.({'|'.join(ADAPTERS)})$"
)
"""Names of what a pre-trained decoder has not."""


def save_model(model: ReactiveTransformer, folder: Path, merged: bool = False, half: bool = False) -> None:
    """Write the model's folder; weights first, so that a folder with a configuration is complete.

    Of a model that is built on another, the memory's weights alone are written, or with ``merged`` all. ``half``:
    rounded to float16; they are loaded as float32.
    """
    if model.config.base is not None and merged:
        model = with_base_included(model)
    config = model.config
    make_folder(folder)
    stored = stored_tensors(model) if config.base is None or config.base.included else memory_tensors(model)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in stored.items()}
    if half:
        tensors = {name: tensor.half() for name, tensor in tensors.items()}
    write_weights(folder, tensors, {"format": "rxt"})
    write_atomically(folder / CONFIG, config.to_json().encode())


def with_base_included(model: Model) -> Model:
    """The same model, all of it its own: low-rank adapters are added to the matrices that they stand beside."""
    base = model.config.base
    assert base is not None
    copy = share_copy(model)
    replace_modules(copy, {LowRankLinear: LowRankLinear.merged})
    copy.config = replace(model.config, base=replace(base, included=True, adapter_rank=0))
    return copy


def load_model(folder: Path, kind: type[Model] = ReactiveTransformer) -> Model:
    """A model of a class out of its folder; a tensor missing, unexpected or misshapen is an error that names it."""
    values = read_json(folder / CONFIG)
    if values.keys().isdisjoint(("decoder", "encoder", "memory_attention")):
        raise UserError(
            f"{folder / CONFIG}: not a whole model's configuration; "
            "a single published part is loaded with rxt.load_component"
        )
    config = RxTConfig.from_dict(values, str(folder / CONFIG))
    with Weights(folder) as weights:
        for name in (SHARED, TIED):
            if name in weights.shapes:
                raise UserError(
                    f"{weights.path}: unexpected tensor {name}; the shared table is stored once, as {STORED}"
                )
        return weights.make(lambda: kind(config), stored_tensors)


def stored_tensors(model: ReactiveTransformer) -> dict[str, Tensor]:
    """The model's tensors, each under the one name it is stored by."""
    return {name: tensor for name, tensor in model.state_dict().items() if name not in (SHARED, TIED)}


def memory_tensors(model: ReactiveTransformer) -> dict[str, Tensor]:
    """The tensors that a model built on another has of its own: reads, writes, fresh memory, and low-rank adapters."""
    return {name: tensor for name, tensor in stored_tensors(model).items() if MEMORY.match(name)}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file."""
    with reading(path):
        return load(path.read_bytes())
