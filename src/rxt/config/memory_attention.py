"""The network that writes memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import ConfigDict

from rxt.config.attention import AttentionConfig
from rxt.config.checks import STRICT, at_least_one, require
from rxt.config.variants import VARIANTS

GateKind = Literal["static", "elementwise", "linear", "ungated", "replace"]
GateActivation = Literal["sigmoid", "tanh"]


@dataclass(frozen=True)
class GateConfig:
    """The residual gate ``gate(old, new)`` of the memory."""

    kind: GateKind = "linear"
    """``ungated`` is old + new; ``replace`` is new alone."""
    activation: GateActivation = "sigmoid"
    per_slot: bool = True
    """One gate a slot; otherwise one a layer."""
    status: Literal["mean", "linear"] = "mean"
    """How a slot's status is read from old + new: the mean over D, or a learned Linear(D, 1)."""
    init: float = 0.0
    """Start of the static or elementwise weight, and of the linear gate's bias."""
    longest: float | None = None
    """In turns: the linear gate's biases start spread, so that slots keep what they hold for 1 … ``longest`` turns
    (chrono initialisation, Tallec and Ollivier 2018). ``init`` is not used then."""
    own_status: float | None = None
    """The linear gate starts as so many times the identity: a slot's gate looks at that slot's own status alone."""

    queue: int | None = None
    """Slots start as a queue of so many groups: a group opens for an interaction when the one before it has taken one
    in, and it has not. As many slots as a group has, and those left over, are open to all. Needs a learned fresh
    memory (:mod:`rxt.model.queue_start`)."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        if self.queue is not None:
            where = "memory_attention.gate.queue"
            require(self.queue >= 1, where, f"must be at least one group, found {self.queue}")
            linear = (self.kind, self.activation, self.status, self.per_slot) == ("linear", "sigmoid", "linear", True)
            require(linear, where, "is for linear sigmoid gates of each slot with a linear status, so leave it out")
            require(
                self.own_status is None, "memory_attention.gate.own_status", "is what a queue sets, so leave it out"
            )
        if self.longest is not None:
            where = "memory_attention.gate.longest"
            require(self.longest >= 1, where, f"must be at least one turn, found {self.longest}")
            require(
                self.kind == "linear" and self.activation == "sigmoid",
                where,
                "is for linear sigmoid gates, so leave it out",
            )
        if self.own_status is not None:
            where = "memory_attention.gate.own_status"
            require(
                self.kind == "linear" and self.per_slot,
                where,
                "is for linear gates that each slot has, so leave it out",
            )


@dataclass(frozen=True)
class MemoryNormConfig:
    """The norms inside the memory attention."""

    kind: Literal["rms", "layer", "ema-rms"] = "rms"
    mixed: bool = False
    """Learn a mix: sigmoid(beta) * norm(x) + (1 - sigmoid(beta)) * x."""
    mix_init: float = -2.0
    decay: float = 0.9
    """Of the running mean square of ``ema-rms``."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require(0 <= self.decay < 1, "memory_attention.norm.decay", f"must lie in [0, 1), found {self.decay}")


@dataclass(frozen=True)
class MemoryAttentionConfig:
    """The network that writes memory: in one of the variants of :data:`VARIANTS`."""

    width: int
    layers: int
    slots: int
    """S: memory slots a layer."""
    attention: AttentionConfig
    """The write: slots look up the interaction."""
    variant: str = "self-interlayer"
    consolidation: AttentionConfig | None = None
    """The shape of the consolidation, in variants that have one; the write's shape when not given."""
    groups: int | None = None
    """Of consecutive layers, for variants whose mean is over such a group."""
    gate: GateConfig = field(default_factory=GateConfig)
    self_gate: bool = True
    """Gate the consolidation too; without it the consolidation is ``ungated``."""
    norm: MemoryNormConfig = field(default_factory=MemoryNormConfig)
    input_norm: bool = True
    """Norm the encoded interaction before it is written. Off where the encoder has done so."""
    slot_address: float | None = None
    """Every slot has a learned vector that is added to its normed query, and starts as a draw from N(0, this²): what a
    slot looks at then depends on which slot it is, not on what it holds alone."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        at_least_one("memory_attention", width=self.width, layers=self.layers, slots=self.slots)
        self.attention.check_fits(self.width, "memory_attention.attention")
        if self.consolidation is not None:
            self.consolidation.check_fits(self.width, "memory_attention.consolidation", turns=False)
        known = ", ".join(map(repr, VARIANTS))
        require(
            self.variant in VARIANTS, "memory_attention.variant:", f"expected one of {known}, found {self.variant!r}"
        )
        require(
            self.slot_address is None or self.slot_address >= 0,
            "memory_attention.slot_address",
            f"cannot be negative, found {self.slot_address}",
        )
        if self.gate.queue is not None:
            require(
                self.gate.queue < self.slots,
                "memory_attention.gate.queue",
                f"of {self.gate.queue} groups needs more slots than {self.slots}",
            )
        self._check_groups()

    def _check_groups(self) -> None:
        where, groups = "memory_attention.groups", self.groups
        if VARIANTS[self.variant].needs_groups:
            require(groups is not None, where, f"is needed by the variant {self.variant}")
            at_least_one("memory_attention", groups=groups or 0)
            require(self.layers % (groups or 1) == 0, where, f"{groups} must divide layers {self.layers}")
        else:
            grouped = " or ".join(name for name, variant in VARIANTS.items() if variant.needs_groups)
            require(groups is None, where, f"only goes with {grouped}, not {self.variant}")
