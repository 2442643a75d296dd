"""A model as a folder: ``config.json`` and ``model.safetensors``. Never a pickle."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from rxt.config import RxTConfig
from rxt.errors import UserError
from rxt.files import make_folder, write_atomically
from rxt.model.reactive import ReactiveTransformer

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
STORED, SHARED = "decoder.embedding.weight", "encoder.embedding.weight"
"""Two names of the one tensor that two parts share; it is stored under the first."""


def save_model(model: ReactiveTransformer, folder: Path) -> None:
    """Write the model's folder; weights first, so that a folder with a configuration is complete."""
    make_folder(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items() if name != SHARED}
    write_atomically(folder / WEIGHTS, save(tensors, {"format": "rxt"}))
    write_atomically(folder / CONFIG, model.config.to_json().encode())


def load_model(folder: Path) -> ReactiveTransformer:
    """Read a model's folder; a tensor missing, unexpected or misshapen is an error that names it."""
    model = ReactiveTransformer(RxTConfig.from_file(folder / CONFIG))
    tensors = read_tensors(folder / WEIGHTS)
    if SHARED in tensors:
        raise UserError(f"{folder / WEIGHTS}: unexpected tensor {SHARED}; the shared table is stored once, as {STORED}")
    if STORED in tensors:
        tensors[SHARED] = tensors[STORED]
    load_exactly(model, tensors, str(folder / WEIGHTS))
    return model.eval()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file."""
    try:
        return load(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a model folder holds its weights there") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error})") from None


def load_exactly(module: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Copy ``tensors`` into a module that must have exactly these names, shapes and floating-point types."""
    expected = module.state_dict()
    for name in expected:
        if name not in tensors:
            raise UserError(f"{source}: tensor {name} is missing (expected shape {tuple(expected[name].shape)})")
    for name, tensor in tensors.items():
        if name not in expected:
            raise UserError(f"{source}: unexpected tensor {name} of shape {tuple(tensor.shape)}")
        if tensor.shape != expected[name].shape:
            raise UserError(f"{source}: tensor {name} has shape {tuple(tensor.shape)}, expected {tuple(expected[name].shape)}")
        if not tensor.is_floating_point():
            raise UserError(f"{source}: tensor {name} has type {tensor.dtype}, expected floating point")
    with torch.no_grad():
        for name, tensor in tensors.items():
            expected[name].copy_(tensor)
