"""A whole Reactive Transformer and the tokens that structure its interactions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter

from rxt.config.checks import STRICT, require
from rxt.config.markers import Markers
from rxt.config.memory_attention import MemoryAttentionConfig
from rxt.config.pool import PoolConfig
from rxt.config.stacks import DecoderConfig, EncoderConfig
from rxt.config.values import parse, read_json

MemoryInit = Literal["standard", "normal", "uniform", "zeros", "ones", "learned"]
TemplateName = Literal["alpha", "beta"]
SYSTEM_PROMPT_TITLE = "SYSTEM INSTRUCTIONS"


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens that structure an interaction; None where a template has no such part, or where the marker is
    several tokens (``RxTConfig.markers``)."""

    pad: int = 0
    bos: int | None = 1
    eos: int = 2
    query: int | None = 3
    answer: int | None = 4
    think: int | None = None
    tool_call: int | None = None
    tool_use: int | None = None
    internal: int | None = None
    mask: int | None = None
    """Stands for a hidden token in masked-language-model training."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class BaseModel:
    """The pre-trained model that a Reactive Transformer is built on."""

    name: str
    """A folder, a GGUF file, or ``owner/name`` on the Hugging Face Hub."""
    fingerprint: str
    """Of its weights, in float32."""
    revision: str | None = None
    """Of the Hub's repository."""
    adapter_rank: int = 0
    """Of the low-rank adapters beside its matrices, from the first layer that reads memory on; 0: it has none."""
    included: bool = False
    """Its weights are stored with the memory's; otherwise they are taken from where they are."""

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
    base: BaseModel | None = None
    """None for a model that was trained from nothing."""
    markers: Markers | None = None
    """Those of the base's chat template; None where each marker is the one token that ``tokens`` has for it."""
    pool: PoolConfig | None = None
    """Of a model whose conversations have more fragments of memory than a turn sees; None: a turn sees all."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        decoder, encoder, memory = self.decoder, self.encoder, self.memory_attention
        sizes = {
            "width": (decoder.width, encoder.width, memory.width),
            "layers": (len(decoder.reading), encoder.layers, memory.layers),
        }
        for name, found in sizes.items():
            require(
                len(set(found)) == 1,
                name,
                f"must agree: decoder {found[0]}, encoder {found[1]}, memory_attention {found[2]}",
            )
        queue = memory.queue if memory.variant == "tokens" else None
        found = None if queue is None else queue.slots
        require(
            decoder.place == found,
            "decoder.place",
            f"is {decoder.place}, but a place of memory_attention holds {found} tokens",
        )
        if encoder.shared:
            like = EncoderConfig.of_decoder(decoder)
            require(encoder == like, "encoder", "is shared, so all of it must be as the decoder is")
        require(
            decoder.vocab_size == encoder.vocab_size,
            "vocab_size",
            f"must agree: decoder {decoder.vocab_size}, encoder {encoder.vocab_size}",
        )
        for name, token in vars(self.tokens).items():
            require(
                token is None or 0 <= token < decoder.vocab_size,
                f"tokens.{name}",
                f"{token} is outside the vocabulary of {decoder.vocab_size}",
            )
        if self.markers is None:
            for name in ("bos", "query", "answer"):
                require(
                    getattr(self.tokens, name) is not None, f"tokens.{name}", "is needed where there are no markers"
                )
        else:
            _check_markers(self)
        if self.template == "beta":
            for name in ("think", "tool_call", "tool_use", "internal" if self.markers is None else "answer"):
                require(getattr(self.tokens, name) is not None, f"tokens.{name}", "is needed by the beta template")
        if self.pool is not None:
            self.pool.check_fits(memory.slots)
            whole = self.pool.chosen == 1 and self.pool.resident_slots(memory.slots) == 0
            require(
                memory.variant != "tokens" or whole,
                "pool",
                f"must have fragments of all {memory.slots} slots, one for a turn, where slots hold tokens: what is "
                "written pushes the older ones on",
            )
            require(
                encoder.cross_attention is None,
                "pool",
                "chooses fragments by encoded queries, so encoder.cross_attention, which needs a memory first, must be "
                "left out",
            )

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

    def gains_parts(self, wanted: RxTConfig) -> bool:
        """Whether a model on a base has no thinking and tools, which ``wanted`` has."""
        return self.base is not None and (self.template, wanted.template) == ("alpha", "beta")

    def with_vocabulary(self, vocab_size: int, tokens: SpecialTokens) -> RxTConfig:
        """The same model for another tokenizer."""
        decoder = replace(self.decoder, vocab_size=vocab_size)
        return replace(self, decoder=decoder, encoder=replace(self.encoder, vocab_size=vocab_size), tokens=tokens)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; ``from_dict`` reads them back. A ``pool`` is among them only where there is one."""
        values = _adapter().dump_python(self, mode="json")
        return {key: value for key, value in values.items() if key != "pool" or value is not None}

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


def _check_markers(config: RxTConfig) -> None:
    markers, known = config.markers, config.decoder.vocab_size
    assert markers is not None
    system = config.template == "alpha" or markers.system is not None
    require(system, "markers.system", "is needed by the beta template: what it is told beside a query stands there")
    require(markers.end[-1:] == (config.tokens.eos,), "markers.end", f"must end with tokens.eos, {config.tokens.eos}")
    outside = [token for token in markers.ids() if not 0 <= token < known]
    require(not outside, "markers", f"have tokens outside the vocabulary of {known}: {outside[:3]}")


@cache
def _adapter() -> TypeAdapter[RxTConfig]:
    return TypeAdapter(RxTConfig)
