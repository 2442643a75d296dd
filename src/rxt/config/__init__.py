"""What a model is made of: frozen, validated dataclasses. Nothing in here needs torch.

Shapes are spoken of in one vocabulary everywhere: ``B`` batch, ``T`` tokens of an interaction, ``L`` layers with
memory, ``S`` memory slots a layer, ``D`` model width, ``V`` vocabulary, ``H`` heads the width is split for,
``Hd = D / H``, ``Hq`` query heads used, ``Hkv`` key/value heads used, ``E`` experts, ``K`` experts active per token.
"""

from __future__ import annotations

from rxt.config.attention import Activation, AttentionConfig
from rxt.config.checks import STRICT
from rxt.config.feed_forward import BiasMode, FeedForward, FeedForwardConfig, FeedForwardKind, MoEConfig
from rxt.config.markers import Marker, Markers
from rxt.config.memory_attention import (
    GateActivation,
    GateConfig,
    GateKind,
    MemoryAttentionConfig,
    MemoryNormConfig,
    QueueConfig,
)
from rxt.config.pool import PoolConfig
from rxt.config.stacks import DecoderConfig, EncoderConfig, Norm
from rxt.config.values import parse, read_json
from rxt.config.variants import VARIANTS, Variant
from rxt.config.whole import SYSTEM_PROMPT_TITLE, BaseModel, MemoryInit, RxTConfig, SpecialTokens, TemplateName

__all__ = [
    "STRICT",
    "SYSTEM_PROMPT_TITLE",
    "VARIANTS",
    "Activation",
    "AttentionConfig",
    "BaseModel",
    "BiasMode",
    "DecoderConfig",
    "EncoderConfig",
    "FeedForward",
    "FeedForwardConfig",
    "FeedForwardKind",
    "GateActivation",
    "GateConfig",
    "GateKind",
    "Marker",
    "Markers",
    "MemoryAttentionConfig",
    "MemoryInit",
    "MemoryNormConfig",
    "MoEConfig",
    "Norm",
    "PoolConfig",
    "QueueConfig",
    "RxTConfig",
    "SpecialTokens",
    "TemplateName",
    "Variant",
    "parse",
    "read_json",
]
