"""GGUF files of the Llama family: one file that holds configuration, tensors, often quantized, and tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rxt.config import DecoderConfig
from rxt.errors import UserError
from rxt.interop import llama, rope
from rxt.model.decoder import Decoder
from rxt.model.weights import Tensors

if TYPE_CHECKING:
    from gguf import GGUFReader

MAGIC = b"GGUF"
WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
OF_A_LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_up": "mlp.up_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_down": "mlp.down_proj",
}
FACTORS = "rope_freqs.weight"
"""Not a weight: by how much each pair of a head turns slower than the base says."""
IN_PAIRS = ("llama",)
"""Architectures whose rotation a GGUF file stores in pairs (2i, 2i + 1); the others' is in halves."""


def is_gguf(path: Path) -> bool:
    """Whether a file opens as a GGUF file does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


class GgufFile(Tensors):
    """A GGUF file: its metadata, and its tensors under the names that ``transformers`` gives them, in float32."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            UserError: the ``gguf`` package is not there, the file is damaged, or a tensor is in a form that the package
                cannot widen.
        """
        self.path = path
        self._reader = _open(path)
        self._tensors = {_name(each.name): each for each in self._reader.tensors}
        self.shapes = {name: tuple(int(n) for n in reversed(each.shape)) for name, each in self._tensors.items()}
        self.shapes.pop(FACTORS, None)  # belongs to the configuration

    def file_of(self, name: str) -> Path:
        return self.path

    def value(self, key: str, default: Any = None) -> Any:
        """A value of the metadata; ``default`` where there is none."""
        field = self._reader.get_field(key)
        return default if field is None else field.contents()

    def tensor(self, name: str) -> Tensor:
        from gguf.quants import dequantize

        stored = self._tensors[name]
        try:
            numbers = dequantize(stored.data, stored.tensor_type)
        except NotImplementedError:
            kind = stored.tensor_type.name
            raise UserError(
                f"{self.path}: tensor {stored.name} is quantized as {kind}, which the gguf package cannot read; "
                "take a file in another quantization, such as Q8_0"
            ) from None
        return torch.from_numpy(np.array(numbers, dtype=np.float32))  # a copy: the file's own may not be written

    def architecture(self) -> str:
        """Such as ``llama``."""
        return str(self.value("general.architecture", "not named"))

    def decoder_config(self) -> DecoderConfig:
        """The plain decoder that the metadata describes. Raises ``UserError`` as :func:`rxt.interop.llama.read_decoder`
        does."""
        kind = self.architecture()

        def of(key: str) -> Any:
            return self.value(f"{kind}.{key}")

        values = {
            "model_type": kind,
            "vocab_size": self.shapes.get("model.embed_tokens.weight", (0,))[0],
            "hidden_size": of("embedding_length"),
            "intermediate_size": of("feed_forward_length"),
            "num_hidden_layers": of("block_count"),
            "num_attention_heads": of("attention.head_count"),
            "num_key_value_heads": of("attention.head_count_kv"),
            "head_dim": of("attention.key_length"),
            "max_position_embeddings": of("context_length"),
            "rms_norm_eps": of("attention.layer_norm_rms_epsilon"),
            "sliding_window": of("attention.sliding_window"),
            "attention_bias": "model.layers.0.self_attn.o_proj.bias" in self.shapes,
            "rope_parameters": self._rope(kind),
        }
        return llama.read_decoder(values, "lm_head.weight" not in self.shapes, str(self.path))

    def _rope(self, kind: str) -> dict[str, Any]:
        """The rotation as a ``config.json`` names it."""
        base, scaling = self.value(f"{kind}.rope.freq_base") or 10_000.0, self.value(f"{kind}.rope.scaling.type")
        named = {"rope_theta": base, "rope_type": "default" if scaling in (None, "none") else scaling}
        if FACTORS in self._tensors:
            return named | {"rope_type": rope.GIVEN, rope.GIVEN: self.tensor(FACTORS).tolist()}
        return named | {"factor": self.value(f"{kind}.rope.scaling.factor")}

    def decoder(self) -> Decoder:
        """The plain decoder, filled, in float32."""
        return llama.make_decoder(self, self.decoder_config(), in_halves=self.architecture() not in IN_PAIRS)


def _open(path: Path) -> GGUFReader:
    try:
        from gguf import GGUFReader
    except ImportError:
        raise UserError(
            f"{path}: a GGUF file is read with the gguf package, which is not installed; "
            "install it: pip install 'reactive-transformers[gguf]'"
        ) from None
    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise UserError(f"{path}: not a whole GGUF file ({' '.join(str(error).split())[:120]})") from None


def _name(stored: str) -> str:
    """What ``transformers`` calls a tensor of a GGUF file; its own name where it has none there."""
    if stored in WHOLE:
        return WHOLE[stored]
    match stored.split("."):
        case ["blk", index, part, kind] if part in OF_A_LAYER:
            return f"model.layers.{index}.{OF_A_LAYER[part]}.{kind}"
    return stored
