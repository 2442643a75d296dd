"""Blocks of a model in words."""

from __future__ import annotations

from rxt.config import AttentionConfig, FeedForward, FeedForwardConfig


def attention(config: AttentionConfig) -> str:
    """One attention block in words."""
    extras = [f"gated by {config.gate_activation}"] * config.gated + ["norms on queries and keys"] * config.qk_norm
    split = f"width split for {config.heads}" if config.head_dim is None else f"each {config.head_dim} wide"
    heads = f"{config.query_heads} query and {config.kv_heads} key/value heads, {split}"
    return ", ".join([heads, *extras])


def feed_forward(config: FeedForward) -> str:
    """One feed-forward block in words."""
    kind = f"{config.activation}{', gated' if config.gated else ''}"
    if isinstance(config, FeedForwardConfig):
        return f"{config.dim:,} wide, {kind}"
    shared = f", {config.shared_experts} shared" if config.shared_experts else ""
    return f"{config.experts} experts, {config.top_k} a token{shared}, each {config.dim:,} wide, {kind}"
