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

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
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
class QueueConfig:
    """The newest interactions, side by side (:mod:`rxt.model.memory_queue`). Slots that are left over are open to every
    interaction."""

    places: int
    """How many interactions."""
    slots: int
    """R: of each of them, in a layer."""
    skipped: int = 0
    """Tokens at the beginning of every interaction that are not kept, where slots hold tokens: markers, which are the
    same in all. Attention that has nothing to look at rests on the first token, and with one in every place rested on
    those."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        at_least_one("memory_attention.queue", places=self.places, slots=self.slots)
        require(self.skipped >= 0, "memory_attention.queue.skipped", f"cannot be negative, found {self.skipped}")


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
    queue: QueueConfig | None = None
    """For the variant that is a queue."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        at_least_one("memory_attention", width=self.width, layers=self.layers, slots=self.slots)
        self.attention.check_fits(self.width, "memory_attention.attention")
        if self.consolidation is not None:
            self.consolidation.check_fits(self.width, "memory_attention.consolidation", turns=False)
        known = ", ".join(map(repr, VARIANTS))
        wrong = f"expected one of {known}, found {self.variant!r} (put one of your own into rxt.config.VARIANTS first)"
        require(self.variant in VARIANTS, "memory_attention.variant:", wrong)
        self._check_queue()
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

    def _check_queue(self) -> None:
        where, queue = "memory_attention.queue", self.queue
        if not VARIANTS[self.variant].needs_queue:
            require(queue is None, where, f"only goes with the variant queue, not {self.variant}")
            return
        require(queue is not None, where, f"is needed by the variant {self.variant}")
        assert queue is not None
        taken = queue.places * queue.slots
        if self.variant == "tokens":
            require(taken == self.slots, where, f"of {queue.places} times {queue.slots} slots must be all {self.slots}")
            return
        require(
            taken < self.slots,
            where,
            f"of {queue.places} times {queue.slots} slots leaves none of {self.slots} open: give it fewer",
        )
