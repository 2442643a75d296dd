"""Our configurations in published words: what :mod:`rxt.interop.published_config` reads back as the same.

Keys that the published files always have are always written; any other only where its default would not do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rxt.config import (
    SYSTEM_PROMPT_TITLE,
    AttentionConfig,
    DecoderConfig,
    EncoderConfig,
    FeedForward,
    FeedForwardConfig,
    MemoryAttentionConfig,
    MoEConfig,
    RxTConfig,
)
from rxt.errors import UserError
from rxt.interop.key_map import feed_forwards_of, mixtures_of, published_names
from rxt.interop.published_config import HEAD_NORMS, OWN, token_key


def published_config(config: RxTConfig) -> dict[str, Any]:
    """The published ``config.json`` of a model, as plain JSON values.

    Raises:
        UserError: the published layout cannot say what the model is.
    """
    slots, variant = config.memory_attention.slots, config.memory_attention.variant
    given: dict[str, Any] = {token_key(name): token for name, token in vars(config.tokens).items() if token is not None}
    _require(
        (config.tokens.think is None) == (config.template == "alpha"), f"template {config.template!r} with these tokens"
    )
    values: dict[str, Any] = {
        "decoder_config": decoder_values(config.decoder, slots),
        "encoder_config": encoder_values(config.encoder, slots),
        "memory_attention_config": memory_attention_values(config.memory_attention, config.decoder.max_length),
        "memory_attention_variant": variant,
        "tokenizer": None,
        "tokenizer_config": given,
    }
    _require(config.memory_init != "learned", "a fresh memory that is learned")
    _require(config.pool is None, "a pool of fragments")
    gate, title = config.memory_attention.gate, config.system_prompt_title
    own: dict[str, Any] = {
        "memory_seed": config.memory_seed,
        "gate_longest": gate.longest,
        "gate_own_status": gate.own_status,
    }
    own = {key: value for key, value in own.items() if value is not None}
    if config.memory_init != "standard":
        own["memory_init"] = config.memory_init
    if config.template == "beta":
        values["system_prompt_title"] = title
    elif title != SYSTEM_PROMPT_TITLE:  # Alpha models know no such key, and their loader takes no unknown one
        own["system_prompt_title"] = title
    if own:
        given[OWN] = own
    return values


def decoder_values(config: DecoderConfig, slots: int) -> dict[str, Any]:
    """The published ``decoder_config``; ``slots``: of the memory that it goes with."""
    values = _stack(config, slots, "decoder")
    for key, layers in (
        ("stateless_layers_config", config.stateless),
        ("final_stateless_layers_config", config.final_stateless),
    ):
        if layers:
            values[key] = ["moe" if _is_usual(layer, config) else layer.kind for layer in layers]
    if config.head_norm is not None:
        words = {ours: published for published, ours in HEAD_NORMS.items()}
        values |= {"use_head_norm": True, "head_norm_type": words[config.head_norm]}
    return values


def encoder_values(config: EncoderConfig, slots: int) -> dict[str, Any]:
    """The published ``encoder_config``; ``slots``: of the memory that it goes with."""
    return {**_stack(config, slots, "encoder"), "skip_memory_cross_attention": config.cross_attention is None}


def memory_attention_values(config: MemoryAttentionConfig, max_length: int) -> dict[str, Any]:
    """The published ``memory_attention_config``; ``max_length``: of the interactions that it reads."""
    _require(not unknown_words(config), f"memory attention with {', '.join(unknown_words(config))}")
    write, gate, norm = config.attention, config.gate, config.norm
    consolidation = config.consolidation or write
    for attention in (write, consolidation):
        _require(
            not attention.gated and attention.output_bias, "memory attention with gated heads or without output bias"
        )
    _require(
        consolidation.heads == write.heads, "memory attention whose consolidation splits the width for other heads"
    )
    _require(
        norm.kind == "rms" and not norm.mixed,
        f"memory norm {norm.kind!r}{' mixed with its input' if norm.mixed else ''}",
    )
    values: dict[str, Any] = {
        "embed_dim": config.width,
        "num_layers": config.layers,
        "seq_len": max_length,
        "stm_size": config.slots,
        "att_heads": write.heads,
        **_attention_words(write, "att"),
        "att_dropout": 0.0,
        "norm_type": "classic-rms",
        "use_gated_residual": gate.kind != "ungated",
        "use_tanh_residual_gate": gate.activation == "tanh",
        "residual_per_slot_gate": gate.per_slot,
        "residual_gate_slot_status_type": gate.status,
        "residual_gate_init": gate.init,
        "use_flash_attention": False,
    }
    if gate.kind in ("static", "elementwise", "linear"):
        values["residual_gate_type"] = gate.kind
    if gate.kind == "replace":
        values["disable_residual"] = True
    published = published_names(config.variant)
    if published.tensors:
        words = _attention_words(consolidation, "att")
        values |= {f"{published.keys}{key.removeprefix('att')}": word for key, word in words.items()} | {
            f"{published.keys}_dropout": 0.0
        }
    if not published.gated or not config.self_gate:
        values["use_gate_for_self_attention"] = config.self_gate
    if config.groups is not None:
        values["num_groups"] = config.groups
    if write.rope_base != 10_000.0:
        values["rope_base"] = write.rope_base
    return values


def written_as_list(config: DecoderConfig | EncoderConfig) -> bool:
    """Whether experts are written as a list, which knows only experts of one size with biases of their own, never
    weighted."""

    def plain(mixture: MoEConfig) -> bool:
        shared = (
            mixture.shared_bias == "local" and mixture.shared_dim in (None, mixture.dim) and not mixture.weighted_shared
        )
        return mixture.bias == "local" and (not mixture.shared_experts or shared)

    return all(plain(mixture) for mixture in mixtures_of(config))


def unread_elsewhere(config: RxTConfig) -> list[str]:
    """What of a model the published framework (0.3.78) cannot read back as it is, although its layout has a place for
    it."""
    decoder, encoder, memory = config.decoder, config.encoder, config.memory_attention
    attentions = (
        decoder.self_attention,
        decoder.cross_attention,
        encoder.self_attention,
        memory.attention,
        memory.consolidation,
    )
    found = {
        "norms on queries and keys": any(attention is not None and attention.qk_norm for attention in attentions),
        f"{memory.variant} memory in a whole model": not published_names(memory.variant).mean_gate,
        "memory that keeps nothing of the old": memory.gate.kind == "replace",
        "consolidation without gates beside gates": not memory.self_gate and memory.gate.kind != "ungated",
        "routed stateless layers beside dense ones": bool(mixtures_of(decoder))
        and not isinstance(decoder.feed_forward, MoEConfig),
        "an encoder that reads memory": encoder.cross_attention is not None,
    }
    return [name for name, there in found.items() if there]


def _stack(config: DecoderConfig | EncoderConfig, slots: int, part: str) -> dict[str, Any]:
    """The keys that decoder and encoder have in common."""
    _require(not unknown_words(config), f"{part} with {', '.join(unknown_words(config))}")
    own = config.self_attention
    cross = config.cross_attention or own
    for name in ("heads", "output_bias", "rope_base"):
        _require(getattr(own, name) == getattr(cross, name), f"{part} self- and cross-attention with different {name}")
    gates = {attention.gate_activation for attention in (own, cross) if attention.gated} or {"sigmoid"}
    _require(len(gates) == 1, f"{part} self- and cross-attention gated by different activations")
    first, feed_forwards, mixtures = config.feed_forward, feed_forwards_of(config), set(mixtures_of(config))
    dense_dims = {
        dense.dim
        for dense in feed_forwards[1:]
        if isinstance(dense, FeedForwardConfig) and not _is_usual(dense, config)
    }
    _require(
        len({(each.activation, each.gated) for each in feed_forwards}) == 1,
        f"{part} feed-forwards with different activations",
    )
    _require(len(mixtures) <= 1, f"{part} layers with different mixtures of experts")
    _require(len(dense_dims) <= 1, f"{part} dense stateless layers of different sizes")
    _require(
        all(mixture.dim == first.dim for mixture in mixtures), f"{part} experts of another size than its dense layers"
    )
    values: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "embed_dim": config.width,
        "num_layers": config.layers,
        "seq_len": config.max_length,
        "stm_size": slots,
        "att_heads": own.heads,
        **_attention_words(own, "self_att"),
        **_attention_words(cross, "cross_att"),
        "att_dropout": 0.0,
        "ff_activation": first.activation,
        "ff_dim": first.dim,
        "ff_dropout": 0.0,
        "use_gated": first.gated,
        "use_rms_norm": config.norm == "rms",
        "use_flash_attention": False,
        "num_shared_experts": 0,
    }
    for key, value, default in (
        ("use_gated_attention", own.gated, False),
        ("use_gated_cross_attention", cross.gated, own.gated),
        ("gated_attention_activation", gates.pop(), "sigmoid"),
        ("use_attention_output_bias", own.output_bias, True),
        ("rope_base", own.rope_base, 10_000.0),
    ):
        if value != default:
            values[key] = value
    if dense_dims:
        values["dense_layer_dim"] = dense_dims.pop()
    if mixtures:
        values |= _mixture(mixtures.pop(), written_as_list(config))
    values["use_moe"] = isinstance(first, MoEConfig)
    return values


def _attention_words(config: AttentionConfig, prefix: str) -> dict[str, Any]:
    if config.query_heads < config.heads:
        kind = "sqa"
    else:
        kind = "mha" if config.kv_heads == config.heads else "mqa" if config.kv_heads == 1 else "gqa"
    groups = "cross_att" if prefix == "cross_att" else "att" if prefix == "self_att" else prefix
    return {f"{prefix}_type": kind, f"{groups}_groups": config.kv_heads, f"{groups}_query_groups": config.query_heads}


def _is_usual(layer: FeedForward, config: DecoderConfig | EncoderConfig) -> bool:
    """Whether a stateless layer is as the memory layers are, which the published word "moe" means where nothing is
    routed."""
    return layer == config.feed_forward and not mixtures_of(config)


def _mixture(config: MoEConfig, listed: bool) -> dict[str, Any]:
    values: dict[str, Any] = {
        "num_experts": config.experts,
        "moe_top_k": config.top_k,
        "num_shared_experts": config.shared_experts,
    }
    values |= {"use_vectorized_moe": not listed, "moe_bias_mode": config.bias}
    if config.shared_experts:
        values["shared_expert_dim"] = config.shared_dim or config.dim
        values["moe_shared_experts_bias_mode"] = config.shared_bias
        values["moe_use_weighted_shared_experts"] = config.weighted_shared
    return values


def unknown_words(config: DecoderConfig | EncoderConfig | MemoryAttentionConfig) -> list[str]:
    """What of a part's configuration the published layout has no words for: fields that are not as they usually are."""
    usual: dict[str, object] = {
        **{"norm_eps": None, "head_bias": True, "tied_head": False, "memory_layers": None, "read_scale": None},
        **{"slot_norm": True, "shared": False, "input_norm": True, "queue": None},
    }
    found = [name for name, value in usual.items() if getattr(config, name, value) != value]
    parts = {name: getattr(config, name, None) for name in ("self_attention", "cross_attention", "attention")}
    for part, attention in parts.items():
        if isinstance(attention, AttentionConfig):
            usually = replace(attention, rotated=True, output_projection=True)
            plain = replace(usually, head_dim=None, input_bias=False, norm_eps=None)
            found += [part] * (attention != plain)
    dense = feed_forwards_of(config) if isinstance(config, DecoderConfig | EncoderConfig) else []
    return found + ["feed_forward.bias"] * any(isinstance(each, FeedForwardConfig) and not each.bias for each in dense)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise UserError(f"the published layout cannot say: {what}; keep this project's own layout (--layout rxt)")
