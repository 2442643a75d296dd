"""Published configurations read as ours.

A published ``config.json`` holds flat dictionaries. A key that it does not give has the reference's default; a key or
value that is not known is an error that names it. Where the configuration and the stored tensors disagree on how a
mixture of experts is made up (list or stacked, shared experts, biases), the tensors decide: so reading needs their
shapes, by published name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from rxt.config import (
    SYSTEM_PROMPT_TITLE,
    Activation,
    AttentionConfig,
    BiasMode,
    DecoderConfig,
    EncoderConfig,
    FeedForward,
    FeedForwardConfig,
    MemoryInit,
    MoEConfig,
    Norm,
    RxTConfig,
    SpecialTokens,
)
from rxt.errors import UserError
from rxt.interop.published_heads import ATTENTIONS, Heads, Options, Shapes
from rxt.interop.published_memory import read_memory_attention, stated_variant
from rxt.interop.reader import Reader


def _same(names: object) -> dict[str, Any]:
    return {name: name for name in get_args(names)}


ACTIVATIONS: dict[str, Activation] = {**_same(Activation), "swish": "silu"}
HEAD_NORMS: dict[str, Norm] = {"rms_norm": "rms", "layer_norm": "layer"}
OWN = "rxt"
"""Our own entry in an exported configuration, for what the published layout has no word for."""


def token_key(name: str) -> str:
    """The published key of a special token: ``bos`` is ``bos_token_id``."""
    return f"{name}_token_id"


def read_model(values: Mapping[str, Any], shapes: Mapping[str, Shapes], source: str) -> RxTConfig:
    """A whole model's configuration; ``shapes`` are those of its parts ``decoder``, ``encoder`` and
    ``memory_attention``."""
    top = Reader(values, source)
    token_ids = Reader(top.take("tokenizer_config", {}), f"{source}: tokenizer_config")
    own = Reader(token_ids.take(OWN, {}), f"{source}: tokenizer_config: {OWN}")
    stated = {name: token_ids.take_optional(token_key(name), 0) for name in vars(SpecialTokens())}
    tokens = SpecialTokens(**{name: token for name, token in stated.items() if token is not None})
    decoder, encoder = (top.take(f"{part}_config", {}) for part in ("decoder", "encoder"))
    memory_attention = read_memory_attention(
        top.take("memory_attention_config", {}),
        shapes["memory_attention"],
        f"{source}: memory_attention_config",
        stated_variant(top),
    )
    for part, given in (("decoder", decoder), ("encoder", encoder)):
        slots = given.get("stm_size", memory_attention.slots)
        if slots != memory_attention.slots:
            raise UserError(
                f"{source}: {part}_config: stm_size is {slots!r:.60}, "
                f"but {memory_attention.slots} in memory_attention_config"
            )
    longest, own_status = own.take_optional("gate_longest", 0.0), own.take_optional("gate_own_status", 0.0)
    gate = replace(memory_attention.gate, longest=longest, own_status=own_status)
    config = RxTConfig(
        read_decoder(decoder, shapes["decoder"], f"{source}: decoder_config"),
        read_encoder(encoder, shapes["encoder"], f"{source}: encoder_config"),
        replace(memory_attention, gate=gate),
        tokens=tokens,
        template="alpha" if tokens.think is None else "beta",
        system_prompt_title=top.take("system_prompt_title", own.take("system_prompt_title", SYSTEM_PROMPT_TITLE)),
        memory_init=own.choose("memory_init", _same(MemoryInit), "standard"),
        memory_seed=own.take_optional("memory_seed", 0),
    )
    top.ignore("tokenizer", "memory_attention_variant")
    for reader in (own, token_ids, top):
        reader.finish()
    return config


@dataclass(frozen=True)
class _Stack:
    """What decoder and encoder configurations have in common."""

    vocab_size: int
    width: int
    layers: int
    max_length: int
    norm: Norm
    self_attention: AttentionConfig
    cross_attention: AttentionConfig
    feed_forward: FeedForward
    dense: FeedForwardConfig
    """Of dense stateless layers."""
    moe: MoEConfig | None
    """Of routed layers, where there are any."""


def read_decoder(values: Mapping[str, Any], shapes: Shapes, source: str) -> DecoderConfig:
    """A decoder's configuration."""
    reader = Reader(values, source)
    stack = _read_stack(reader, shapes)

    def stateless(key: str) -> tuple[FeedForward, ...]:
        kinds: dict[str, FeedForward] = {"dense": stack.dense, "moe": stack.moe or stack.feed_forward}
        layers: list[FeedForward] = []
        for name in reader.take(key, []):
            feed_forward = kinds.get(name) if isinstance(name, str) else None
            if feed_forward is None:
                raise UserError(
                    f"{source}: {key} holds {name!r:.60}, which is not known; expected {' or '.join(kinds)}"
                )
            layers.append(feed_forward)
        return tuple(layers)

    head_norm = reader.choose("head_norm_type", HEAD_NORMS, "rms_norm")
    config = DecoderConfig(
        vocab_size=stack.vocab_size,
        width=stack.width,
        layers=stack.layers,
        self_attention=stack.self_attention,
        cross_attention=stack.cross_attention,
        feed_forward=stack.feed_forward,
        max_length=stack.max_length,
        stateless=stateless("stateless_layers_config"),
        final_stateless=stateless("final_stateless_layers_config"),
        norm=stack.norm,
        head_norm=head_norm if reader.take("use_head_norm", False) else None,
    )
    reader.finish()
    return config


def read_encoder(values: Mapping[str, Any], shapes: Shapes, source: str) -> EncoderConfig:
    """An encoder's configuration. One that does not say whether it reads memory does if it has the tensors for it."""
    reader = Reader(values, source)
    stack = _read_stack(reader, shapes)
    blind = reader.take("skip_memory_cross_attention", not any(".memory_cross_attention." in name for name in shapes))
    for key, allowed in (
        ("stateless_layers_config", []),
        ("final_stateless_layers_config", []),
        ("use_head_norm", False),
    ):
        reader.only(key, allowed)
    reader.ignore("head_norm_type")
    reader.finish()
    return EncoderConfig(
        vocab_size=stack.vocab_size,
        width=stack.width,
        layers=stack.layers,
        self_attention=stack.self_attention,
        feed_forward=stack.feed_forward,
        max_length=stack.max_length,
        cross_attention=None if blind else stack.cross_attention,
        norm=stack.norm,
    )


def _read_stack(reader: Reader, shapes: Shapes) -> _Stack:
    width, heads = reader.take("embed_dim", 512), reader.take("att_heads", 16)
    activation, gated, dim = (
        reader.choose("ff_activation", ACTIVATIONS, "swish"),
        reader.take("use_gated", True),
        reader.take("ff_dim", 1_536),
    )
    groups, query_groups = reader.take("att_groups", 1), reader.take_optional("att_query_groups", 0)
    own = Heads(reader.choose("self_att_type", ATTENTIONS, "sqa"), heads, groups, query_groups)
    cross = Heads(
        reader.choose("cross_att_type", ATTENTIONS, "sqa"),
        heads,
        reader.take("cross_att_groups", groups),
        reader.take_optional("cross_att_query_groups", 0) or query_groups,
    )
    gated_attention = reader.take("use_gated_attention", False)
    options = Options(
        gated=gated_attention,
        gate_activation=reader.choose("gated_attention_activation", ACTIVATIONS, "sigmoid"),
        output_bias=reader.take("use_attention_output_bias", True),
        rope_base=reader.take("rope_base", 10_000.0),
    )
    cross_options = replace(options, gated=reader.take("use_gated_cross_attention", gated_attention))
    dense = FeedForwardConfig(dim, activation, gated)
    experts, top_k = reader.take("num_experts", 1), reader.take("moe_top_k", 1)
    use_moe = reader.take("use_moe", experts > 1) or any(_MEMORY_ROUTER.search(name) for name in shapes)
    has_moe = use_moe or any(_ROUTER.search(name) for name in shapes)
    moe = _read_moe(reader, shapes, MoEConfig(dim, experts, top_k, activation, gated)) if has_moe else None
    stack = _Stack(
        vocab_size=reader.take("vocab_size", 20_000),
        width=width,
        layers=reader.take("num_layers", 12),
        max_length=reader.take("seq_len", 1_024),
        norm="rms" if reader.take("use_rms_norm", True) else "layer",
        self_attention=own.config(width, options, shapes, ".attention."),
        cross_attention=cross.config(width, cross_options, shapes, ".memory_cross_attention."),
        feed_forward=moe if moe is not None and use_moe else dense,
        dense=replace(dense, dim=reader.take("dense_layer_dim", 1_536)),
        moe=moe,
    )
    reader.ignore("stm_size", "att_dropout", "ff_dropout", "use_flash_attention", *_MOE_KEYS)
    return stack


_ROUTER = re.compile(r"\.ff\.router\.gate\.weight$")
_MEMORY_ROUTER = re.compile(r"^model\.layers\.\d+\.ff\.router\.gate\.weight$")
_MOE_KEYS = (
    "use_vectorized_moe",
    "num_shared_experts",
    "shared_expert_dim",
    "moe_bias_mode",
    "moe_shared_experts_bias_mode",
    "moe_use_weighted_shared_experts",
)


def _read_moe(reader: Reader, shapes: Shapes, routed: MoEConfig) -> MoEConfig:
    """Complete ``routed``: how many shared experts there are, how wide, and all biases are read off the tensors."""
    for key in ("moe_bias_mode", "moe_shared_experts_bias_mode"):
        reader.choose(key, _same(BiasMode), "local")
    stacked = [shapes[name] for name in shapes if name.endswith(".ff.shared_w2")]  # (n, F, D)
    alone = [shapes[name] for name in shapes if name.endswith(".ff.shared_expert.fc2.weight")]  # (D, F)
    listed = {match[1] for name in shapes if (match := re.search(r"\.ff\.shared_experts\.(\d+)\.", name))}
    listed_dims = [
        shape[1] for name, shape in shapes.items() if re.search(r"\.ff\.shared_experts\.\d+\.fc2\.weight$", name)
    ]  # (D, F)
    stated_dim = reader.take_optional("shared_expert_dim", 0)
    dims = [shape[1] for shape in stacked or alone] or listed_dims
    return replace(
        routed,
        bias=_stored_bias(shapes, r"b[12]|experts\.\d+\.fc\d\..*bias", "global_bias"),
        shared_experts=stacked[0][0] if stacked else len(alone[:1]) or len(listed),
        shared_dim=dims[0] if dims else stated_dim,
        shared_bias=_stored_bias(shapes, r"shared_b[12]|shared_expert(s\.\d+)?\.fc\d\..*bias", "shared_experts_bias"),
        weighted_shared=reader.take("moe_use_weighted_shared_experts", False)
        and not listed,  # a list is never weighted
    )


def _stored_bias(shapes: Shapes, local: str, whole: str) -> BiasMode:
    if any(name.endswith(f".ff.{whole}") for name in shapes):
        return "global"
    return "local" if any(re.search(rf"\.ff\.({local})$", name) for name in shapes) else "off"
