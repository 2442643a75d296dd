"""Random numbers that are a function of what they are drawn for."""

from __future__ import annotations

import hashlib
from random import Random


def seeded(*parts: object) -> Random:
    """Random numbers that are a function of ``parts``."""
    text = "\x1f".join(map(str, parts))
    return Random(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big"))
