"""The key map between the published layout and ours: a table, read in both directions.

Every rule says where one of our tensors stands in a published file. ``views`` turns the table into
``{published name: view of our tensor}``: loading copies into those views, exporting writes them out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from torch import Tensor, nn

from rxt.config import DecoderConfig, EncoderConfig, FeedForward, MemoryAttentionConfig, MoEConfig
from rxt.errors import UserError
from rxt.model.consolidation import Published, layer_class
from rxt.model.memory_attention import MemoryAttention

Tag = Literal["list", "stacked", "one shared", "gated", "ungated"]
"""What a rule may depend on: how experts are stored, and whether feed-forwards are gated."""

Part = Literal["decoder", "encoder", "memory_attention", "mlm_head"]
WHOLE: tuple[Part, ...] = ("decoder", "encoder", "memory_attention")
"""The parts of a whole model; an MLM head stands alone."""


@dataclass(frozen=True)
class Rule:
    """Where one of our tensors stands in the published layout.

    In both patterns ``{i}`` is a layer's number and ``{rest}`` whatever follows. ``{e}``, in the published pattern
    only, is an expert's number: our tensor holds all experts, stacked along its first dimension. The first rule that
    applies counts.
    """

    published: str
    ours: str
    when: tuple[Tag, ...] = ()
    per_expert: bool = False
    """One published tensor for each expert: numbered by ``{e}``, or without a number where there is a single expert."""
    transposed: bool = False
    """A published expert's matrix is (out, in), as ``torch.nn.Linear`` has it; ours (in, out)."""

    def applies(self, tags: frozenset[Tag]) -> bool:
        return tags.issuperset(self.when)


def _experts(published: str, ours: str, *when: Tag) -> tuple[Rule, ...]:
    """Experts stored as feed-forwards; ``fc1`` holds its matrix one level deeper when it is gated."""
    return (
        Rule(f"{published}.fc1.linear.weight", f"{ours}w1", (*when, "gated"), per_expert=True, transposed=True),
        Rule(f"{published}.fc1.linear.bias", f"{ours}b1", (*when, "gated"), per_expert=True),
        Rule(f"{published}.fc1.weight", f"{ours}w1", (*when, "ungated"), per_expert=True, transposed=True),
        Rule(f"{published}.fc1.bias", f"{ours}b1", (*when, "ungated"), per_expert=True),
        Rule(f"{published}.fc2.weight", f"{ours}w2", when, per_expert=True, transposed=True),
        Rule(f"{published}.fc2.bias", f"{ours}b2", when, per_expert=True),
    )


_LAYER = (
    Rule("attention.{rest}", "attention.{rest}"),
    Rule("memory_cross_attention.{rest}", "cross_attention.{rest}"),
    Rule("norm1.{rest}", "norm1.{rest}"),
    Rule("norm2.{rest}", "norm2.{rest}"),
    Rule("norm3.{rest}", "norm3.{rest}"),
    Rule("stm_norm.{rest}", "stm_norm.{rest}"),
    Rule("ff.fc1.linear.{rest}", "feed_forward.fc1.{rest}", ("gated",)),
    Rule("ff.fc1.{rest}", "feed_forward.fc1.{rest}", ("ungated",)),
    Rule("ff.fc2.{rest}", "feed_forward.fc2.{rest}"),
    Rule("ff.router.gate.weight", "feed_forward.router.weight"),
    Rule("ff.shared_expert_gate.weight", "feed_forward.shared_gate.weight"),
    Rule("ff.global_bias", "feed_forward.global_bias"),
    Rule("ff.shared_experts_bias", "feed_forward.shared_global_bias"),
    *_experts("ff.experts.{e}", "feed_forward.", "list"),
    *_experts("ff.shared_experts.{e}", "feed_forward.shared_", "list"),
    *_experts("ff.shared_expert", "feed_forward.shared_", "stacked", "one shared"),
    *(Rule(f"ff.{name}", f"feed_forward.{name}", ("stacked",)) for name in ("w1", "w2", "b1", "b2")),
    *(Rule(f"ff.shared_{name}", f"feed_forward.shared_{name}", ("stacked",)) for name in ("w1", "w2", "b1", "b2")),
)


def _under(published: str, ours: str, rules: Iterable[Rule]) -> Iterator[Rule]:
    for rule in rules:
        yield replace(rule, published=f"{published}.{rule.published}", ours=f"{ours}.{rule.ours}")


def _gate(published: str, ours: str) -> Iterator[Rule]:
    """A residual gate of every layer: a bare weight (static, elementwise) or a Linear, and a learned status."""
    yield Rule(f"model.{published}.{{i}}.gate", f"layers.{{i}}.{ours}.weight")
    yield Rule(f"model.{published}.{{i}}.gate.{{rest}}", f"layers.{{i}}.{ours}.linear.{{rest}}")
    yield Rule(f"model.{published}.{{i}}.slot_status.{{rest}}", f"layers.{{i}}.{ours}.status.{{rest}}")


def _per_layer(published: str, ours: str) -> Rule:
    return Rule(f"model.{published}.{{i}}.{{rest}}", f"layers.{{i}}.{ours}.{{rest}}")


RULES: dict[Part, tuple[Rule, ...]] = {
    "decoder": (
        Rule("model.embedding.weight", "embedding.weight"),
        *_under("model.stateless_layers.{i}", "stateless.{i}", _LAYER),
        *_under("model.layers.{i}", "layers.{i}", _LAYER),
        *_under("model.final_stateless_layers.{i}", "final_stateless.{i}", _LAYER),
        Rule("model.head_norm.{rest}", "head_norm.{rest}"),
        Rule("model.head.{rest}", "head.{rest}"),
    ),
    "encoder": (
        Rule("model.embedding.weight", "embedding.weight"),
        *_under("model.layers.{i}", "layers.{i}", _LAYER),
    ),
    "memory_attention": (
        _per_layer("attention_layers", "attention"),
        _per_layer("memory_norm_layers", "norm"),
        _per_layer("memory_input_norm_layers", "input_norm"),
        *_gate("residual_gate_layers", "gate"),
        *_gate("interlayer_gate_layers", "mean_gate"),
        Rule("model.mean_stm_norm.{rest}", "mean_norm.{rest}"),
    ),
    "mlm_head": (
        Rule("dense.{rest}", "dense.{rest}"),
        Rule("layer_norm.{rest}", "norm.{rest}"),
        Rule("decoder.{rest}", "head.{rest}"),
    ),
}

_NOT_PARAMETERS = re.compile(r"(^|\.)(rope\.(cache|inv_freq)|stm\.memory)$")


def is_buffer(name: str) -> bool:
    """Whether a published tensor is no parameter: tables of RoPE, which are computed, and a memory, which is a
    value."""
    return _NOT_PARAMETERS.search(name) is not None


def has_listed_experts(names: Iterable[str]) -> bool:
    """Whether stored experts are a list; otherwise they are stacked, or there are none."""
    return any(".ff.experts." in name for name in names)


def tags_of(module: nn.Module, listed: bool) -> frozenset[Tag]:
    """Which rules apply to a part of the model; ``listed``: its experts are stored as a list."""
    match getattr(module, "config", None):
        case DecoderConfig() | EncoderConfig() as config:
            stored: tuple[Tag, ...] = (
                "gated" if config.feed_forward.gated else "ungated",
                "list" if listed else "stacked",
            )
            return frozenset(
                (*stored, "one shared")
                if any(mixture.shared_experts == 1 for mixture in mixtures_of(config))
                else stored
            )
    return frozenset()


def feed_forwards_of(config: DecoderConfig | EncoderConfig) -> list[FeedForward]:
    """The feed-forward of the layers of a stack, then those of its stateless layers."""
    stateless = (*config.stateless, *config.final_stateless) if isinstance(config, DecoderConfig) else ()
    return [config.feed_forward, *stateless]


def mixtures_of(config: DecoderConfig | EncoderConfig) -> list[MoEConfig]:
    """Those of them that are mixtures of experts."""
    return [each for each in feed_forwards_of(config) if isinstance(each, MoEConfig)]


def views(part: Part, module: nn.Module, tags: frozenset[Tag]) -> dict[str, Tensor]:
    """Every parameter of ``module`` under its published names, in the published shapes: views that share its
    storage."""
    own = _consolidation(module.config) if isinstance(module, MemoryAttention) else ()
    rules = [rule for rule in (*RULES[part], *own) if rule.applies(tags)]
    found: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        for rule in rules:
            if (match := _pattern(rule.ours).fullmatch(name)) is not None:
                found.update(_apply(rule, match.groupdict(), tensor))
                break
        else:
            raise UserError(f"the published layout has no place for {part}.{name}")
    return found


def _consolidation(config: MemoryAttentionConfig) -> Iterator[Rule]:
    """Where a variant's consolidation stands."""
    published = published_names(config.variant)
    if not published.tensors:
        return
    yield _per_layer(f"{published.tensors}_attention_layers", "consolidation")
    yield _per_layer(f"{published.tensors}_memory_norm_layers", "consolidation_norm")
    yield from _gate(f"{published.tensors}_residual_gate_layers", "consolidation_gate")


def published_names(variant: str) -> Published:
    """How the published layout names a variant's consolidation."""
    published = layer_class(variant).published
    if published is None:
        raise UserError(f"the published layout has no place for the memory attention {variant!r}")
    return published


def _apply(rule: Rule, parts: dict[str, str], tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    if not rule.per_expert:
        yield rule.published.format(**parts), tensor
        return
    for expert, own in enumerate(tensor):
        yield rule.published.format(**parts, e=expert), own.T if rule.transposed else own


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    escaped = re.escape(pattern)
    return re.compile(escaped.replace(r"\{i\}", r"(?P<i>\d+)").replace(r"\{rest\}", r"(?P<rest>.+)"))
