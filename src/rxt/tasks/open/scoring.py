"""Whether an answer is right, decided exactly."""

from __future__ import annotations

import re
from functools import lru_cache

from rxt.tasks.open.values import core

_SIGNS = re.compile(r"[^\w]+")


@lru_cache(maxsize=1 << 16)
def plain(text: str) -> str:
    """Small letters and digits, with one space between words and around the whole."""
    return f" {_SIGNS.sub(' ', text.casefold()).strip()} "


def names(answer: str, value: str) -> bool:
    """Whether an answer holds a value, whatever its casing, signs and leading "in the"."""
    return plain(core(value)) in plain(answer)
