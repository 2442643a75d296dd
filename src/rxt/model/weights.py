"""The tensors of a model folder: one safetensors file, or several behind an index. Never a pickle."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from rxt.config import read_json
from rxt.errors import UserError
from rxt.files import write_atomically

M = TypeVar("M", bound=nn.Module)

WEIGHTS = "model.safetensors"
FILE_BYTES = 5 * 2**30
"""The largest weights file that is written; more than one tensor in it, that is."""
INDEX = "model.safetensors.index.json"
"""``{"metadata": {…}, "weight_map": {tensor: file}}``, for weights in several files; read where there is no
``WEIGHTS``."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """A safetensors file that cannot be read is a ``UserError`` that names it."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a model folder holds its weights there") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error})") from None


class Tensors(ABC):
    """Tensors by name, out of one file or several."""

    path: Path
    """What stands for the weights in messages."""
    shapes: dict[str, tuple[int, ...]]

    @abstractmethod
    def tensor(self, name: str) -> Tensor:
        """One of them, read now."""

    @abstractmethod
    def file_of(self, name: str) -> Path:
        """The file that one of them stands in."""

    def leave_out(self, pattern: str) -> None:
        """Forget the tensors in whose names the regular expression occurs."""
        self.shapes = {name: shape for name, shape in self.shapes.items() if re.search(pattern, name) is None}

    def make(self, build: Callable[[], M], places: Callable[[M], Mapping[str, Tensor]]) -> M:
        """A module filled from here, ready for inference. Nothing of its size is allocated before all shapes are
        checked.

        ``places(module)`` are its tensors under their stored names; all must be there, and no other.
        """
        with torch.device("meta"):
            module = build()
        self._check(places(module))
        _allocate(module)
        self._copy(places(module))
        return module.eval()

    def fill(self, places: Mapping[str, Tensor]) -> None:
        """Copy what is stored into the tensors ``places``, by their stored names; all must be there, and no other."""
        self._check(places)
        self._copy(places)

    def _check(self, expected: Mapping[str, Tensor]) -> None:
        """Every expected tensor must be stored, in its shape, and no other."""
        for name, place in expected.items():
            if name not in self.shapes:
                raise UserError(f"{self.path}: tensor {name} is missing (expected shape {tuple(place.shape)})")
        for name, shape in self.shapes.items():
            path = self.file_of(name)
            if name not in expected:
                raise UserError(f"{path}: unexpected tensor {name} of shape {shape}")
            if shape != expected[name].shape:
                raise UserError(f"{path}: tensor {name} has shape {shape}, expected {tuple(expected[name].shape)}")

    def _copy(self, expected: Mapping[str, Tensor]) -> None:
        """Copy every stored tensor into its place, which it fits; it must be floating point."""
        with torch.no_grad():
            for name, place in expected.items():
                tensor = self.tensor(name)
                if not tensor.is_floating_point():
                    path = self.file_of(name)
                    raise UserError(f"{path}: tensor {name} has type {tensor.dtype}, expected floating point")
                place.copy_(tensor)


def _allocate(module: nn.Module) -> None:
    """Give every tensor of a module on the meta device a place in memory, with nothing in it yet.

    As ``Module.to_empty``, which would load PyTorch's compiler: that takes as long as PyTorch itself.
    """
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            place = torch.empty(parameter.shape, dtype=parameter.dtype)
            setattr(part, name, nn.Parameter(place, parameter.requires_grad))
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, torch.empty(buffer.shape, dtype=buffer.dtype))


class Weights(Tensors):
    """The tensors of a folder's ``model.safetensors``, or of the files that ``model.safetensors.index.json`` names.

    A tensor with several names is stored under one; the metadata holds the others as ``{name: stored name}``.
    """

    def __init__(self, folder: Path, ignore: Callable[[str], bool] = lambda name: False) -> None:
        """Open all files. ``ignore(name)``: leave such tensors out.

        Raises:
            UserError: no weights there, a file is damaged, or index and files do not agree.
        """
        whole, index = folder / WEIGHTS, folder / INDEX
        self.path = index if index.is_file() and not whole.is_file() else whole
        self._files: dict[str, tuple[Path, Any]] = {}  # by name of the stored tensor
        self._metadata: dict[str, str] = {}
        with ExitStack() as opened:
            if self.path == whole:
                file = self._open(whole, opened)
                self._files = {name: (whole, file) for name in file.keys()}  # noqa: SIM118
            else:
                self._open_shards(folder, opened)
            self._aliases = {
                name: kept for name, kept in self._metadata.items() if kept in self._files and name not in self._files
            }
            names = [name for name in sorted(self._files.keys() | self._aliases.keys()) if not ignore(name)]
            self.shapes = {}
            for name in names:
                kept = self._aliases.get(name, name)
                self.shapes[name] = tuple(self._files[kept][1].get_slice(kept).get_shape())
            self._opened = opened.pop_all()

    def _open(self, path: Path, opened: ExitStack) -> Any:
        """Open one file and take in its metadata."""
        with reading(path):
            file: Any = opened.enter_context(safe_open(str(path), framework="pt"))
            self._metadata |= file.metadata() or {}
            return file

    def _open_shards(self, folder: Path, opened: ExitStack) -> None:
        places = read_index(self.path)
        for shard in sorted(set(places.values())):
            path = folder / shard
            if not path.is_file():
                raise UserError(f"{path}: no such file, but {INDEX} names it; fetch or copy it too")
            file = self._open(path, opened)
            for name in file.keys():  # noqa: SIM118
                if places.get(name) != shard:
                    said = f"has it in {places[name]}" if name in places else "does not name it"
                    raise UserError(f"{path}: unexpected tensor {name}; {INDEX} {said}")
                self._files[name] = (path, file)
        for name, shard in places.items():
            if name not in self._files and self._metadata.get(name) not in self._files:
                raise UserError(f"{folder / shard}: tensor {name} is missing, but {INDEX} has it there")

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def part(self, prefix: str) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors under ``prefix``, by the rest of their names."""
        return {name.removeprefix(prefix): shape for name, shape in self.shapes.items() if name.startswith(prefix)}

    def tensor(self, name: str) -> Tensor:
        kept = self._aliases.get(name, name)
        return self._files[kept][1].get_tensor(kept)

    def file_of(self, name: str) -> Path:
        return self._files[self._aliases.get(name, name)][0]


def write_weights(
    folder: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str], file_bytes: int = FILE_BYTES
) -> None:
    """Write the tensors as one file; as several, of at most ``file_bytes`` or one tensor each, and an index if they are
    more.

    Whatever weights the folder held before are gone after that. A writing in several files that is cut short leaves
    none.
    """
    index, parts = folder / INDEX, _parts(tensors, file_bytes)
    before = set(read_index(index).values()) if index.is_file() else set()
    if len(parts) == 1:
        write_atomically(folder / WEIGHTS, save(parts[0], metadata))
        index.unlink(missing_ok=True)
        names: list[str] = []
    else:
        for old in (index, folder / WEIGHTS):
            old.unlink(missing_ok=True)
        names = [f"model-{number:05d}-of-{len(parts):05d}.safetensors" for number in range(1, len(parts) + 1)]
        for name, part in zip(names, parts, strict=True):
            write_atomically(folder / name, save(part, metadata if name == names[0] else None))
        places = {key: name for name, part in zip(names, parts, strict=True) for key in part}
        size = sum(tensor.nbytes for tensor in tensors.values())
        content = {"metadata": {"total_size": size}, "weight_map": places}
        write_atomically(index, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())
    for name in before.difference(names):
        (folder / name).unlink(missing_ok=True)


def _parts(tensors: Mapping[str, Tensor], file_bytes: int) -> list[dict[str, Tensor]]:
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if parts[-1] and size + tensor.nbytes > file_bytes:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += tensor.nbytes
    return parts


def read_index(path: Path) -> dict[str, str]:
    """Which file of the same folder holds each tensor: the ``weight_map`` of an index.

    Raises:
        UserError: not JSON, no ``weight_map`` from names to names, or a file that is not a safetensors file of this
        folder.
    """
    places = read_json(path).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise UserError(f"{path}: weight_map must be an object that names every tensor's file, found {places!r:.60}")
    for name, shard in places.items():
        if not isinstance(shard, str):
            raise UserError(f"{path}: weight_map.{name} must be a file name, found {shard!r:.60}")
        if PurePosixPath(shard).name != shard or "\\" in shard or ":" in shard or not shard.endswith(".safetensors"):
            raise UserError(
                f"{path}: weight_map.{name} must be the name of a .safetensors file in this folder, found {shard!r:.80}"
            )
    return places
