"""The rotation that a checkpoint of ``transformers`` names: its base, and how it is stretched for longer texts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rxt.errors import UserError
from rxt.interop.reader import Reader

GIVEN = "factors"
"""A kind of our own, in which GGUF files store the factors themselves."""
KINDS = ("default", "linear", "llama3")


@dataclass(frozen=True)
class Rope:
    """Pair i of a head turns by position · base^(−2i/Hd) / factors[i]."""

    base: float
    factors: tuple[float, ...] | None
    """None: all are 1."""


def read_rope(reader: Reader, head_dim: int, length: int) -> Rope:
    """The rotation of heads of a size, in a model that takes ``length`` tokens.

    Raises:
        UserError: a stretched rotation of a kind that is not known here, or one that lacks a number.
    """
    older, newer = reader.take_optional("rope_scaling", {}), reader.take_optional("rope_parameters", {})
    found = {**(older or {}), **(newer or {})}
    kind = found.get("rope_type", found.get("type", "default"))
    base = found.get("rope_theta", reader.take("rope_theta", 10_000.0))
    if not isinstance(base, int | float):
        raise UserError(f"{reader.source}: rope_theta must be a number, found {base!r:.60}")
    match kind:
        case "default":
            factors = None
        case "linear":
            factors = np.full(head_dim // 2, _number(reader, found, "factor"))
        case "llama3":
            factors = _llama3(reader, found, float(base), head_dim, length)
        case _ if kind == GIVEN:
            factors = found[GIVEN]
        case _:
            raise UserError(
                f"{reader.source}: its rotation is scaled ({kind}), which is not supported, only {', '.join(KINDS)}; "
                "take another base"
            )
    # Rounded as GGUF files store them, so that file and folder are the same model.
    return Rope(float(base), None if factors is None else tuple(np.asarray(factors, np.float32).tolist()))


def _llama3(reader: Reader, found: Mapping[str, Any], base: float, head_dim: int, length: int) -> list[float]:
    """Llama 3.1: slow turns are stretched by ``factor``, fast ones not at all, those between by something between."""
    factor, low, high = (_number(reader, found, f"{name}factor") for name in ("", "low_freq_", "high_freq_"))
    known = "original_max_position_embeddings"
    original = _number(reader, found, known) if known in found else length
    factors = []
    for pair in range(head_dim // 2):
        turns = original * base ** (-2 * pair / head_dim) / (2 * math.pi)  # over the original length
        share = min(1.0, max(0.0, (turns - low) / (high - low)))
        factors.append(1 / ((1 - share) / factor + share))
    return factors


def _number(reader: Reader, found: Mapping[str, Any], name: str) -> float:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise UserError(f"{reader.source}: {name} of its rotation must be a number above 0, found {value!r:.60}")
    return float(value)
