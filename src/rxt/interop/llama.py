"""Checkpoints of the Llama family, as ``transformers`` stores them: their configuration and tensors as a decoder's.

Llama, Mistral, Qwen2 and Qwen3 differ in biases, in norms on queries and keys, and in the size of a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rxt.config import Activation, AttentionConfig, DecoderConfig, FeedForwardConfig
from rxt.errors import UserError, in_file
from rxt.interop.reader import Reader
from rxt.interop.rope import read_rope
from rxt.model.attention import Attention
from rxt.model.decoder import Decoder
from rxt.model.layers import RMSNorm, make_embedding
from rxt.model.weights import Tensors


@dataclass(frozen=True)
class Architecture:
    """What an architecture of the family has that its configuration does not say."""

    qkv_bias: bool = False
    """Biases of queries, keys and values, whatever the configuration."""
    qk_norm: bool = False
    head_dim: int | None = None
    """Where the configuration does not say; by default the width divided by the heads."""
    window: int | None = None
    """Tokens that a token looks back at, where the configuration does not say."""


ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(),
    "mistral": Architecture(window=4096),
    "qwen2": Architecture(qkv_bias=True),
    "qwen3": Architecture(qk_norm=True, head_dim=128),
}
"""By the ``model_type`` of a configuration."""


ACTIVATIONS: dict[str, Activation] = {"silu": "silu", "relu": "relu"}


def is_checkpoint(values: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` is one of ``transformers``, of whatever architecture."""
    return "model_type" in values or "architectures" in values


def read_decoder(values: Mapping[str, Any], tied: bool, source: str) -> DecoderConfig:
    """The plain decoder, which reads no memory, that a ``config.json`` describes.

    Args:
        tied: whether the head's matrix is the embedding, where the configuration does not say.
        source: the file, for messages.

    Raises:
        UserError: another architecture, or a way of computing that is not known here.
    """
    reader = Reader(values, source)
    kind = reader.take("model_type", "")
    architecture = ARCHITECTURES.get(kind)
    if architecture is None:
        named = ", ".join(values.get("architectures") or ()) or kind or "not named"
        raise UserError(
            f"{source}: the architecture is {named}; a base must be of the Llama family: {', '.join(ARCHITECTURES)}"
        )
    if reader.has("quantization_config"):
        raise UserError(f"{source}: its weights are quantized (quantization_config); take the base as it was published")
    width, heads = reader.take("hidden_size", 0), reader.take("num_attention_heads", 0)
    eps = reader.take("rms_norm_eps", 1e-6)
    bias = reader.take("attention_bias", False)
    activation = reader.choose("hidden_act", ACTIVATIONS, "silu")
    mlp_bias = reader.take("mlp_bias", False)
    kv_heads = reader.take("num_key_value_heads", heads)
    head_dim = reader.take_optional("head_dim", 0) or architecture.head_dim
    length = reader.take("max_position_embeddings", 2048)
    rope = read_rope(reader, head_dim or (width // heads if heads else 0), length)
    window = reader.take_optional("sliding_window", 0) if "sliding_window" in values else architecture.window
    if window is not None and reader.take("use_sliding_window", True):
        length = min(length, window)  # up to there a token sees all tokens before it
    with in_file(source):
        attention = AttentionConfig(
            heads,
            heads,
            kv_heads,
            qk_norm=architecture.qk_norm,
            output_bias=bias,
            rope_base=rope.base,
            head_dim=None if head_dim is None or head_dim * heads == width else head_dim,
            input_bias=bias or architecture.qkv_bias,
            norm_eps=eps if architecture.qk_norm else None,
            rope_factors=rope.factors,
        )
        return DecoderConfig(
            vocab_size=reader.take("vocab_size", 0),
            width=width,
            layers=reader.take("num_hidden_layers", 0),
            self_attention=attention,
            cross_attention=attention,
            feed_forward=FeedForwardConfig(reader.take("intermediate_size", 0), activation, bias=mlp_bias),
            max_length=length,
            norm="rms",
            head_norm="rms",
            norm_eps=eps,
            head_bias=False,
            tied_head=reader.take("tie_word_embeddings", tied),
            memory_layers=(),
        )


ATTENTION = {"q_proj": "q_proj", "k_proj": "k_proj", "v_proj": "v_proj", "o_proj": "out_proj"}
"""Linear layers of an attention, by their stored names."""
NORMS = {"input_layernorm": "norm1", "post_attention_layernorm": "norm3"}


def places(decoder: Decoder) -> dict[str, Tensor]:
    """Every tensor of a plain decoder under its stored name, in its stored shape: views that share its storage."""
    found = {"model.embed_tokens.weight": decoder.embedding.weight}
    for index, layer in enumerate(decoder.layers):
        at = f"model.layers.{index}"
        for stored, ours in NORMS.items():
            found |= _parameters(f"{at}.{stored}", layer.get_submodule(ours))
        attention = layer.get_submodule("attention")
        for stored, ours in ATTENTION.items():
            found |= _parameters(f"{at}.self_attn.{stored}", attention.get_submodule(ours))
        for name in ("q_norm", "k_norm"):
            if isinstance(norm := getattr(attention, name), RMSNorm):
                found |= _parameters(f"{at}.self_attn.{name}", norm)
        both = layer.get_submodule("feed_forward.fc1")  # what is gated stands first, then the gate
        for name, parameter in both.named_parameters():
            up, gate = parameter.chunk(2)
            found |= {f"{at}.mlp.up_proj.{name}": up, f"{at}.mlp.gate_proj.{name}": gate}
        found |= _parameters(f"{at}.mlp.down_proj", layer.get_submodule("feed_forward.fc2"))
    assert decoder.head_norm is not None
    found |= _parameters("model.norm", decoder.head_norm)
    if isinstance(decoder.head, nn.Linear):
        found["lm_head.weight"] = decoder.head.weight
    return found


def _parameters(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": parameter for name, parameter in module.named_parameters()}


def make_decoder(stored: Tensors, config: DecoderConfig, in_halves: bool) -> Decoder:
    """A plain decoder filled with what is ``stored``, ready for inference.

    ``in_halves``: the stored rotation turns the pairs (i, i + Hd / 2) of a head; ours are (2i, 2i + 1).

    Raises:
        UserError: a tensor is missing, not expected, or of another shape.
    """
    if config.tied_head and "lm_head.weight" in stored.shapes:  # some store the one table twice
        if not torch.equal(stored.tensor("lm_head.weight"), stored.tensor("model.embed_tokens.weight")):
            raise UserError(f"{stored.path}: lm_head.weight is not the embedding, but the configuration ties them")
        stored.leave_out(r"^lm_head\.weight$")
    decoder = stored.make(lambda: Decoder(config, make_embedding(config.vocab_size, config.width)), places)
    if in_halves:
        for module in decoder.modules():
            if isinstance(module, Attention):
                halves_to_pairs(module)
    return decoder


@torch.no_grad()
def halves_to_pairs(attention: Attention) -> None:
    """Reorder what makes queries and keys: what stood at i and i + Hd / 2 of a head stands at 2i and 2i + 1 then."""
    size = attention.head_dim
    parameters = [*attention.q_proj.parameters(), *attention.k_proj.parameters()]
    for norm in (attention.q_norm, attention.k_norm):
        parameters += [] if norm is None else [*norm.parameters()]
    for parameter in parameters:
        halves = parameter.unflatten(0, (-1, 2, size // 2))  # (H, 2, Hd / 2, …)
        parameter.copy_(halves.transpose(1, 2).flatten(0, 2).clone())
