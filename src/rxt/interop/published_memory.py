"""Published configurations of a memory attention read as ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rxt.config import VARIANTS, GateConfig, GateKind, MemoryAttentionConfig
from rxt.errors import UserError
from rxt.interop.key_map import published_names
from rxt.interop.published_heads import ATTENTIONS, Heads, Options, Shapes
from rxt.interop.reader import Reader
from rxt.model.consolidation import Published, layer_class

GATES: dict[str, GateKind] = {"static": "static", "elementwise": "elementwise", "linear": "linear"}


def read_memory_attention(
    values: Mapping[str, Any], shapes: Shapes, source: str, variant: str | None
) -> MemoryAttentionConfig:
    """A memory attention's configuration; where ``variant`` is not given, it is the one that the tensors make up."""
    reader = Reader(values, source)
    stated = stated_variant(reader)
    variant = variant or stated or _stored_variant(shapes, reader)
    if variant == "interlayer" and any(".interlayer_gate_layers." in name for name in shapes):
        variant = "self-interlayer"  # the published Alpha models are, whatever is stated
    published = published_names(variant)
    for tensors in {each.tensors: None for each in published_variants().values() if each.tensors}:
        layers, needed = f"{tensors}_attention_layers", tensors == published.tensors
        if needed != any(f".{layers}." in name for name in shapes):
            raise UserError(
                f"{source}: memory_attention_variant is {variant!r}, "
                f"but the tensors {layers} are {'missing' if needed else 'there'}"
            )
    width, heads, slots = reader.take("embed_dim", 512), reader.take("att_heads", 16), reader.take("stm_size", 1_024)
    groups, query_groups = reader.take("att_groups", 1), reader.take_optional("att_query_groups", 0)
    options = Options(
        gated=False, gate_activation="sigmoid", output_bias=True, rope_base=reader.take("rope_base", 10_000.0)
    )
    write = Heads(reader.choose("att_type", ATTENTIONS, "sqa"), heads, groups, query_groups)
    consolidation = Heads(
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


def stated_variant(reader: Reader) -> str | None:
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
