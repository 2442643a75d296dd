"""A classifier of texts: an encoder and the names of its classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from rxt.config.checks import STRICT, require
from rxt.config.stacks import EncoderConfig
from rxt.config.whole import SpecialTokens


@dataclass(frozen=True)
class ClassifierConfig:
    """What a classifier's folder says of it."""

    encoder: EncoderConfig
    classes: tuple[str, ...]
    """Names, in the order of the outputs."""
    tokens: SpecialTokens | None = None
    """The ids of special tokens; None where the tokenizer tells them by their texts."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require(bool(self.classes), "classes", "must be one at least")
        require(len(set(self.classes)) == len(self.classes), "classes", "has a name more than once")
        require(not self.encoder.shared, "encoder.shared", "is not for classifiers: they hold their encoder's weights")
        require(self.encoder.cross_attention is None, "encoder.cross_attention", "is not for classifiers of texts")
