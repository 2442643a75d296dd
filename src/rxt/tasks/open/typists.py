"""How people type: casing, stops, apostrophes, slips, signs and faces. What a value says stays spelled as it is."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from random import Random

_APOSTROPHE = re.compile(r"(?<=\w)'(?=\w)")
_LETTERS = re.compile(r"[a-z]{4,}")
FACES = ("😊", "😂", "🙂", "😅", "👍", "❤️", "🎉", "😭", "🙈", "😍", "🤔", ":)", ":-)", ";)", ":D", "xD", "<3", ":(")


@dataclass(frozen=True)
class Typist:
    """One person's habits; what they do sometimes is drawn message by message."""

    lower: float = 0.0
    """How often a message is all in small letters."""
    bare: float = 0.0
    """How often the last stop is left out."""
    apostrophe: str = "'"
    """What stands for it: itself, the telephone's, or nothing."""
    slips: float = 0.0
    """How often a word of the message, never a value, has letters changed."""
    shout: float = 0.0
    face: float = 0.0
    double: float = 0.0
    """How often the last sign is doubled."""
    spaces: float = 0.0
    """How often spaces are doubled or stand around the message."""
    quotes: float = 0.0

    def type(self, text: str, ends: str, kept: Collection[str], rng: Random) -> str:
        """A message as this person types it.

        Args:
            text: written with care, without its last stop.
            ends: the stop.
            kept: what must not be misspelled.
        """
        if rng.random() < self.slips:
            text = _slip(text, kept, rng)
        stop = "" if rng.random() < self.bare else ends
        if stop and rng.random() < self.double:
            stop *= rng.choice((2, 2, 3))
        text += stop
        if self.apostrophe != "'":
            text = _APOSTROPHE.sub(self.apostrophe, text)
        if rng.random() < self.shout:
            text = text.upper()
        elif rng.random() < self.lower:
            text = text.lower()
        if rng.random() < self.quotes:
            text = f'"{text}"'
        if rng.random() < self.face:
            text = f"{text} {rng.choice(FACES)}"
        if rng.random() < self.spaces:
            text = text.replace(" ", "  ") if rng.random() < 0.5 else f"  {text} "
        return text


CAREFUL = Typist()


def some_typist(rng: Random) -> Typist:
    """A person's habits, drawn: a third types with care."""
    if rng.random() < 0.3:
        return CAREFUL
    return Typist(
        lower=rng.choice((0.0, 0.1, 0.9, 1.0)),
        bare=rng.choice((0.0, 0.2, 0.8, 1.0)),
        apostrophe=rng.choice(("'", "'", "'", "’", "’", "")),
        slips=rng.choice((0.0, 0.0, 0.05, 0.2)),
        shout=rng.choice((0.0, 0.0, 0.0, 0.03, 0.5, 1.0)),
        face=rng.choice((0.0, 0.0, 0.05, 0.3)),
        double=rng.choice((0.0, 0.0, 0.1, 0.3)),
        spaces=rng.choice((0.0, 0.0, 0.0, 0.2)),
        quotes=rng.choice((0.0, 0.0, 0.0, 0.1)),
    )


def _slip(text: str, kept: Collection[str], rng: Random) -> str:
    """One word with two letters exchanged, one left out, or one twice."""
    safe = " ".join(kept).casefold()
    words = [found for found in _LETTERS.finditer(text) if found[0] not in safe]
    if not words:
        return text
    word = rng.choice(words)
    at = word.start() + rng.randint(1, len(word[0]) - 2)
    a, b = text[at], text[at + 1]
    return text[:at] + rng.choice((b + a, b, a + a + b)) + text[at + 2 :]
