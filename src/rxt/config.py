"""What a model is made of: frozen, validated dataclasses. This file needs no torch.

Shapes are spoken of in one vocabulary everywhere: ``B`` batch, ``T`` tokens of an interaction, ``L`` layers with
memory, ``S`` memory slots a layer, ``D`` model width, ``V`` vocabulary, ``H`` heads the width is split for,
``Hd = D / H``, ``Hq`` query heads used, ``Hkv`` key/value heads used, ``E`` experts, ``K`` experts active per token.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from rxt.errors import CONFIGURATION, UserError, in_file

Activation = Literal["silu", "relu", "gelu", "sigmoid", "linear"]
GateActivation = Literal["sigmoid", "tanh"]
BiasMode = Literal["local", "global", "off"]
Norm = Literal["rms", "layer"]
MemoryVariant = Literal["simple", "self", "interlayer", "self-interlayer", "grouped-self-interlayer"]
GateKind = Literal["static", "elementwise", "linear", "ungated", "replace"]
MemoryInit = Literal["standard", "normal", "uniform", "zeros", "ones"]
TemplateName = Literal["alpha", "beta"]
FeedForwardKind = Literal["dense", "moe"]

STRICT = ConfigDict(extra="forbid")
SYSTEM_PROMPT_TITLE = "SYSTEM INSTRUCTIONS"
T = TypeVar("T")


def _require(condition: bool, field_name: str, problem: str) -> None:
    if not condition:
        raise UserError(f"{CONFIGURATION}{field_name} {problem}")


def _positive(owner: str, **values: int) -> None:
    for name, value in values.items():
        _require(value >= 1, f"{owner}.{name}", f"must be at least 1, found {value}")


@dataclass(frozen=True)
class AttentionConfig:
    """One attention block. The kinds of the family differ only in ``query_heads`` and ``kv_heads``."""

    heads: int
    """H: the width is split for this many heads, so Hd = D / H."""
    query_heads: int
    """Hq: query heads actually used."""
    kv_heads: int
    """Hkv: key/value heads actually used. More than Hq is reversed SQA: query heads are tiled."""
    gated: bool = False
    """Multiply the heads' output by ``gate_activation(gate_proj(x))`` before ``out_proj``."""
    gate_activation: Activation = "sigmoid"
    qk_norm: bool = False
    """RMS norm over Hd on every query and key head."""
    output_bias: bool = True
    rope_base: float = 10_000.0

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        _positive("attention", heads=self.heads, query_heads=self.query_heads, kv_heads=self.kv_heads)
        for name in ("query_heads", "kv_heads"):
            found = getattr(self, name)
            _require(found <= self.heads, f"attention.{name}", f"must be at most heads={self.heads}, found {found}")
        small, large = sorted((self.query_heads, self.kv_heads))
        _require(
            large % small == 0, "attention.kv_heads", f"{self.kv_heads} and query_heads {self.query_heads} must divide"
        )
        _require(self.rope_base > 1, "attention.rope_base", f"must be above 1, found {self.rope_base}")

    @classmethod
    def mha(cls, heads: int) -> AttentionConfig:
        """Multi-head attention: Hq = Hkv = H."""
        return cls(heads, heads, heads)

    @classmethod
    def gqa(cls, heads: int, groups: int) -> AttentionConfig:
        """Grouped-query attention: Hq = H, Hkv = groups."""
        return cls(heads, heads, groups)

    @classmethod
    def mqa(cls, heads: int) -> AttentionConfig:
        """Multi-query attention: Hq = H, Hkv = 1."""
        return cls(heads, heads, 1)

    @classmethod
    def sqa(cls, heads: int, query_heads: int | None = None, kv_heads: int | None = None) -> AttentionConfig:
        """Sparse query attention; without numbers the symmetric kind, Hq = Hkv = H / 2 (the family's default)."""
        query_heads = heads // 2 if query_heads is None else query_heads
        return cls(heads, query_heads, query_heads if kv_heads is None else kv_heads)

    @property
    def output_heads(self) -> int:
        """Heads that leave the block: Hq, or Hkv when the query heads are tiled (reversed SQA)."""
        return max(self.query_heads, self.kv_heads)


@dataclass(frozen=True)
class FeedForwardConfig:
    """A dense feed-forward block, SwiGLU by default."""

    dim: int
    """F: the hidden size."""
    activation: Activation = "silu"
    gated: bool = True
    kind: Literal["dense"] = "dense"

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        _positive("feed_forward", dim=self.dim)


@dataclass(frozen=True)
class MoEConfig:
    """A mixture of experts: K of E routed experts per token, plus shared ones that are always on."""

    dim: int
    """F of one routed expert."""
    experts: int
    top_k: int
    activation: Activation = "silu"
    gated: bool = True
    bias: BiasMode = "local"
    shared_experts: int = 0
    shared_dim: int | None = None
    """F of one shared expert; the routed experts' when not given."""
    shared_bias: BiasMode = "local"
    weighted_shared: bool = False
    """Scale the routed sum by K/(K+n) and the shared one by n/(K+n)."""
    kind: Literal["moe"] = "moe"

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        _positive("feed_forward", dim=self.dim, experts=self.experts, top_k=self.top_k)
        _require(
            self.top_k <= self.experts,
            "feed_forward.top_k",
            f"must be at most experts={self.experts}, found {self.top_k}",
        )
        _require(
            self.shared_experts >= 0, "feed_forward.shared_experts", f"cannot be negative, found {self.shared_experts}"
        )
        if self.shared_dim is not None:
            _positive("feed_forward", shared_dim=self.shared_dim)


FeedForward = Annotated[FeedForwardConfig | MoEConfig, Field(discriminator="kind")]


def _check_stack(
    owner: str, vocab_size: int, width: int, layers: int, max_length: int, attentions: dict[str, AttentionConfig]
) -> None:
    _positive(owner, vocab_size=vocab_size, width=width, layers=layers, max_length=max_length)
    for name, attention in attentions.items():
        _require(width % attention.heads == 0, f"{owner}.{name}.heads", f"{attention.heads} must divide width {width}")
        _require(
            (width // attention.heads) % 2 == 0,
            f"{owner}.{name}.heads",
            f"{attention.heads} leave an odd head size; RoPE turns pairs",
        )


@dataclass(frozen=True)
class DecoderConfig:
    """The generator-decoder: embedding, stateless layers, L memory layers, final stateless layers, head."""

    vocab_size: int
    width: int
    layers: int
    """L: layers that read memory."""
    self_attention: AttentionConfig
    cross_attention: AttentionConfig
    feed_forward: FeedForward
    max_length: int
    """T: the longest interaction, in tokens."""
    stateless: tuple[FeedForward, ...] = ()
    """Layers without memory before the L memory layers, one feed-forward each."""
    final_stateless: tuple[FeedForward, ...] = ()
    norm: Norm = "rms"
    head_norm: Norm | None = None

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        attentions = {"self_attention": self.self_attention, "cross_attention": self.cross_attention}
        _check_stack("decoder", self.vocab_size, self.width, self.layers, self.max_length, attentions)


@dataclass(frozen=True)
class EncoderConfig:
    """The memory encoder: the shared embedding and L layers; every layer's output is a result."""

    vocab_size: int
    width: int
    layers: int
    self_attention: AttentionConfig
    feed_forward: FeedForward
    max_length: int
    cross_attention: AttentionConfig | None = None
    """Memory cross-attention, as some early encoders have it."""
    norm: Norm = "rms"

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        attentions = {"self_attention": self.self_attention}
        if self.cross_attention is not None:
            attentions["cross_attention"] = self.cross_attention
        _check_stack("encoder", self.vocab_size, self.width, self.layers, self.max_length, attentions)


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
            _require(self.longest >= 1, where, f"must be at least one turn, found {self.longest}")
            _require(
                self.kind == "linear" and self.activation == "sigmoid",
                where,
                "is for linear sigmoid gates, so leave it out",
            )
        if self.own_status is not None:
            where = "memory_attention.gate.own_status"
            _require(
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
        _require(0 <= self.decay < 1, "memory_attention.norm.decay", f"must lie in [0, 1), found {self.decay}")


@dataclass(frozen=True)
class MemoryAttentionConfig:
    """The network that writes memory: one of five variants."""

    width: int
    layers: int
    slots: int
    """S: memory slots a layer."""
    attention: AttentionConfig
    """The write: slots look up the interaction."""
    variant: MemoryVariant = "self-interlayer"
    consolidation: AttentionConfig | None = None
    """Self or interlayer attention of every variant but ``simple``; the write's shape when not given."""
    groups: int | None = None
    """Of consecutive layers, for ``grouped-self-interlayer``."""
    gate: GateConfig = field(default_factory=GateConfig)
    self_gate: bool = True
    """Gate the consolidation too; without it the consolidation is ``ungated``."""
    norm: MemoryNormConfig = field(default_factory=MemoryNormConfig)

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        _positive("memory_attention", width=self.width, layers=self.layers, slots=self.slots)
        for name in ("attention", "consolidation"):
            attention = getattr(self, name)
            if attention is not None:
                _require(
                    self.width % attention.heads == 0,
                    f"memory_attention.{name}.heads",
                    f"{attention.heads} must divide width {self.width}",
                )
        head_size = self.width // self.attention.heads
        _require(
            head_size % 2 == 0,
            "memory_attention.attention.heads",
            f"leave an odd head size, {head_size}; RoPE turns pairs",
        )
        if self.variant == "grouped-self-interlayer":
            _require(
                self.groups is not None, "memory_attention.groups", "is needed by the variant grouped-self-interlayer"
            )
            _positive("memory_attention", groups=self.groups or 0)
            _require(
                self.layers % (self.groups or 1) == 0,
                "memory_attention.groups",
                f"{self.groups} must divide layers {self.layers}",
            )
        else:
            _require(
                self.groups is None,
                "memory_attention.groups",
                f"only goes with grouped-self-interlayer, not {self.variant}",
            )


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens that structure an interaction; None where a template has no such part."""

    pad: int = 0
    bos: int = 1
    eos: int = 2
    query: int = 3
    answer: int = 4
    think: int | None = None
    tool_call: int | None = None
    tool_use: int | None = None
    internal: int | None = None
    mask: int | None = None
    """Stands for a hidden token in masked-language-model training."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class RxTConfig:
    """A whole Reactive Transformer. The three parts must fit; the constructor says where they do not."""

    decoder: DecoderConfig
    encoder: EncoderConfig
    memory_attention: MemoryAttentionConfig
    tokens: SpecialTokens = field(default_factory=SpecialTokens)
    template: TemplateName = "alpha"
    system_prompt_title: str = SYSTEM_PROMPT_TITLE
    memory_init: MemoryInit = "standard"
    memory_seed: int | None = None
    """When given, every conversation starts from this one draw, so that slots can learn to have roles of their own."""
    trained_turns: int | None = None
    """Interactions of the longest conversations it was trained on; None when not known."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        decoder, encoder, memory = self.decoder, self.encoder, self.memory_attention
        for name in ("width", "layers"):
            found = (getattr(decoder, name), getattr(encoder, name), getattr(memory, name))
            _require(
                len(set(found)) == 1,
                name,
                f"must agree: decoder {found[0]}, encoder {found[1]}, memory_attention {found[2]}",
            )
        _require(
            decoder.vocab_size == encoder.vocab_size,
            "vocab_size",
            f"must agree: decoder {decoder.vocab_size}, encoder {encoder.vocab_size}",
        )
        for name, token in vars(self.tokens).items():
            _require(
                token is None or 0 <= token < decoder.vocab_size,
                f"tokens.{name}",
                f"{token} is outside the vocabulary of {decoder.vocab_size}",
            )
        if self.template == "beta":
            for name in ("think", "tool_call", "tool_use", "internal"):
                _require(getattr(self.tokens, name) is not None, f"tokens.{name}", "is needed by the beta template")

    @classmethod
    def preset(cls, name: str) -> RxTConfig:
        """A size by name; ``rxt.preset_names()`` lists them."""
        from rxt.presets import preset

        return preset(name)

    @property
    def memory_shape(self) -> tuple[int, int, int]:
        """(L, S, D): the shape of one conversation's memory."""
        return self.memory_attention.layers, self.memory_attention.slots, self.memory_attention.width

    @property
    def max_length(self) -> int:
        """T: the longest interaction that both decoder and encoder take, in tokens."""
        return min(self.decoder.max_length, self.encoder.max_length)

    def with_vocabulary(self, vocab_size: int, tokens: SpecialTokens) -> RxTConfig:
        """The same model for another tokenizer."""
        decoder = replace(self.decoder, vocab_size=vocab_size)
        return replace(self, decoder=decoder, encoder=replace(self.encoder, vocab_size=vocab_size), tokens=tokens)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; ``from_dict`` reads them back."""
        return _adapter().dump_python(self, mode="json")

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str = "configuration") -> RxTConfig:
        """Read ``to_dict``'s values; an unknown, missing or ill-typed key is an error that names it."""
        return parse(_adapter(), values, source)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_file(cls, path: str | Path) -> RxTConfig:
        """Read a ``config.json`` that ``to_json`` wrote."""
        return cls.from_dict(read_json(Path(path)), str(path))


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values


@cache
def _adapter() -> TypeAdapter[RxTConfig]:
    return TypeAdapter(RxTConfig)


def parse(adapter: TypeAdapter[T], values: Any, source: str) -> T:
    """Validate plain values against a typed dataclass; the first problem becomes one line that names the field."""
    try:
        with in_file(source):
            return adapter.validate_python(values)
    except ValidationError as error:
        problem = error.errors()[0]
        # The names of a union's kinds stand in pydantic's location, but are no keys of ours.
        keys = [str(part) for part in problem["loc"] if part not in get_args(FeedForwardKind)]
        where = f"{'.'.join(keys)}: " if keys else ""
        found = "" if problem["type"] == "missing" else f", found {problem['input']!r:.60}"
        raise UserError(f"{source}: {where}{problem['msg'].lower()}{found}") from None
