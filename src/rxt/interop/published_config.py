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
    VARIANTS,
    Activation,
    AttentionConfig,
    BiasMode,
    DecoderConfig,
    EncoderConfig,
    FeedForward,
    FeedForwardConfig,
    GateConfig,
    GateKind,
    MemoryAttentionConfig,
    MemoryInit,
    MoEConfig,
    Norm,
    RxTConfig,
    SpecialTokens,
)
from rxt.errors import UserError
from rxt.interop.key_map import published_names
from rxt.interop.reader import Reader
from rxt.model.consolidation import Published, layer_class

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of the stored tensors of one part, by published name (``model.layers.0.norm1.weight``)."""


def _same(names: object) -> dict[str, Any]:
    return {name: name for name in get_args(names)}


ACTIVATIONS: dict[str, Activation] = {**_same(Activation), "swish": "silu"}
HEAD_NORMS: dict[str, Norm] = {"rms_norm": "rms", "layer_norm": "layer"}
GATES: dict[str, GateKind] = {"static": "static", "elementwise": "elementwise", "linear": "linear"}
ATTENTIONS = {name: name for name in ("mha", "gqa", "mqa", "sqa")}
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
        _stated_variant(top),
    )
    for part, given in (("decoder", decoder), ("encoder", encoder)):
        slots = given.get("stm_size", memory_attention.slots)
        if slots != memory_attention.slots:
            raise UserError(
                f"{source}: {part}_config: stm_size is {slots!r:.60}, but {memory_attention.slots} in memory_attention_config"  # noqa: E501
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
    own = _Heads(reader.choose("self_att_type", ATTENTIONS, "sqa"), heads, groups, query_groups)
    cross = _Heads(
        reader.choose("cross_att_type", ATTENTIONS, "sqa"),
        heads,
        reader.take("cross_att_groups", groups),
        reader.take_optional("cross_att_query_groups", 0) or query_groups,
    )
    gated_attention = reader.take("use_gated_attention", False)
    options = _Options(
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


@dataclass(frozen=True)
class _Options:
    """What every attention of one part has in common."""

    gated: bool
    gate_activation: Activation
    output_bias: bool
    rope_base: float


@dataclass(frozen=True)
class _Heads:
    """The heads of one attention, as a published configuration words them."""

    kind: str
    heads: int
    groups: int
    query_groups: int | None

    def config(self, width: int, options: _Options, shapes: Shapes, where: str) -> AttentionConfig:
        """Our words for it; ``where`` occurs in the names of its tensors, and in no other attention's."""
        query_heads, kv_heads = {
            "mha": (self.heads, self.heads),
            "gqa": (self.heads, self.groups),
            "mqa": (self.heads, 1),
            "sqa": (self.query_groups or self.groups, self.groups),
        }[self.kind]
        return AttentionConfig(
            self.heads,
            query_heads,
            kv_heads,
            gated=options.gated,
            gate_activation=options.gate_activation,
            qk_norm=any(name.endswith("q_norm.weight") for name in shapes if where in name),
            output_bias=options.output_bias,
            rope_base=options.rope_base,
        )


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


def read_memory_attention(
    values: Mapping[str, Any], shapes: Shapes, source: str, variant: str | None
) -> MemoryAttentionConfig:
    """A memory attention's configuration; where ``variant`` is not given, it is the one that the tensors make up."""
    reader = Reader(values, source)
    stated = _stated_variant(reader)
    variant = variant or stated or _stored_variant(shapes, reader)
    if variant == "interlayer" and any(".interlayer_gate_layers." in name for name in shapes):
        variant = "self-interlayer"  # the published Alpha models are, whatever is stated
    published = published_names(variant)
    for tensors in {each.tensors: None for each in published_variants().values() if each.tensors}:
        layers, needed = f"{tensors}_attention_layers", tensors == published.tensors
        if needed != any(f".{layers}." in name for name in shapes):
            raise UserError(
                f"{source}: memory_attention_variant is {variant!r}, but the tensors {layers} are {'missing' if needed else 'there'}"  # noqa: E501
            )
    width, heads, slots = reader.take("embed_dim", 512), reader.take("att_heads", 16), reader.take("stm_size", 1_024)
    groups, query_groups = reader.take("att_groups", 1), reader.take_optional("att_query_groups", 0)
    options = _Options(
        gated=False, gate_activation="sigmoid", output_bias=True, rope_base=reader.take("rope_base", 10_000.0)
    )
    write = _Heads(reader.choose("att_type", ATTENTIONS, "sqa"), heads, groups, query_groups)
    consolidation = _Heads(
        reader.choose(f"{published.keys}_type", ATTENTIONS, write.kind),
        heads,
        reader.take(f"{published.keys}_groups", groups),
        reader.take_optional(f"{published.keys}_query_groups", 0) or query_groups,
    ).config(width, options, shapes, f".{published.tensors}_attention_layers.")
    attention = write.config(width, options, shapes, ".attention_layers.")
    self_gate = reader.take(
        "use_gate_for_self_attention",
        published.gated or any(f".{published.tensors}_residual_gate_layers." in name for name in shapes),
    )
    number_of_groups = reader.take_optional("num_groups", 0)
    reader.choose("norm_type", {"classic-rms": "rms"}, "classic-rms")
    config = MemoryAttentionConfig(
        width=width,
        layers=reader.take("num_layers", 12),
        slots=slots,
        attention=attention,
        variant=variant,
        consolidation=consolidation if published.tensors and consolidation != attention else None,
        groups=number_of_groups if VARIANTS[variant].needs_groups else None,
        gate=_read_gate(reader, shapes),
        self_gate=self_gate,
    )
    for key in ("att", "interlayer_att", "self_att"):
        reader.only(f"{key}_experts", None)
        reader.only(f"{key}_query_experts", None)
        reader.ignore(f"{key}_dropout")
    reader.ignore(
        "seq_len",
        "use_flash_attention",
        "debug_mode",
        "debug_interval",
        "norm_decay",
        "norm_init_gate",
        "norm_per_dim_scale",
    )
    reader.finish()
    return config


def published_variants() -> dict[str, Published]:
    """The variants that the published layout has a place for."""
    found = {name: layer_class(name).published for name in VARIANTS}
    return {name: published for name, published in found.items() if published is not None}


def alike(tensors: str) -> list[str]:
    """The variants whose tensors have the same names where there are no gates."""
    return [name for name, other in published_variants().items() if other.tensors == tensors]


def _stated_variant(reader: Reader) -> str | None:
    key = "memory_attention_variant"
    return reader.choose(key, {name: name for name in published_variants()}, "") if reader.has(key) else None


def _stored_variant(shapes: Shapes, reader: Reader) -> str:
    """The variant that the tensors make up."""
    stored = {name.split(".")[1] for name in shapes if "." in name}
    variants = published_variants()
    tensors = next(
        (each.tensors for each in variants.values() if each.tensors and f"{each.tensors}_attention_layers" in stored),
        "",
    )
    fitting = alike(tensors)
    if len(fitting) == 1:
        return fitting[0]
    if f"{tensors}_residual_gate_layers" not in stored:
        names = " and ".join(name for name in fitting if not VARIANTS[name].needs_groups)
        raise UserError(f"{reader.source}: memory_attention_variant is needed: the tensors fit {names} alike")
    mean_gate = "interlayer_gate_layers" in stored
    gated = [name for name in fitting if variants[name].mean_gate == mean_gate]
    grouped = [name for name in gated if VARIANTS[name].needs_groups == reader.has("num_groups")]
    return (grouped or gated)[0]


def _read_gate(reader: Reader, shapes: Shapes) -> GateConfig:
    """The residual gate. A checkpoint that does not name its type has a linear one where its gates are matrices."""
    stored = [name for name in shapes if re.search(r"residual_gate_layers\.\d+\.gate", name)]
    kind = reader.choose(
        "residual_gate_type", GATES, "linear" if any(name.endswith("gate.weight") for name in stored) else "static"
    )
    gate = GateConfig(
        kind,
        activation="tanh" if reader.take("use_tanh_residual_gate", True) else "sigmoid",
        per_slot=reader.take("residual_per_slot_gate", True),
        status=reader.choose("residual_gate_slot_status_type", {"mean": "mean", "linear": "linear"}, "mean"),
        init=reader.take("residual_gate_init", 0.0),
    )
    use_gate, disabled = reader.take("use_gated_residual", bool(stored)), reader.take("disable_residual", False)
    if disabled:
        return replace(gate, kind="replace")
    return gate if use_gate else replace(gate, kind="ungated")
