"""Messages as a person sends them, whatever they tell: with an opening, small talk around, and the person's typing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from rxt.data.records import Interaction
from rxt.tasks.open.fillers import FILLERS_AFTER, FILLERS_BEFORE, OPENINGS
from rxt.tasks.open.grammar import ME, fill, sentence
from rxt.tasks.open.small_talk import SMALL_TALK
from rxt.tasks.open.typists import Typist


@dataclass
class Messages:
    """Chooses the words, of which ``typist`` types the person's."""

    rng: Random
    typist: Typist

    def small_talk(self) -> Interaction:
        """A turn that tells nothing."""
        message, answer = self.rng.choice(SMALL_TALK)
        return Interaction(
            self.typed(fill(message, self.rng, ME, "person", {}), ".", ()),
            sentence(fill(answer, self.rng, ME, "model", {})),
        )

    def sent(self, text: str, kept: Sequence[str], greeting: bool) -> str:
        """A message that tells ``text``; ``kept`` is spelled as it is, ``greeting``: it may have an opening."""
        if greeting and self.rng.random() < 0.4:
            text = f"{self._any(OPENINGS)}{self.rng.choice(('. ', ', ', '! ', ' - ', ' '))}{text}"
        elif self.rng.random() < 0.1:
            text = f"{self._any(FILLERS_BEFORE)}{self.rng.choice(('. ', ', ', '! ', ' - '))}{text}"
        elif self.rng.random() < 0.1:
            text = f"{text}{self.rng.choice(('. ', ', ', ' - '))}{self._any(FILLERS_AFTER)}"
        return self.typed(text, "!" if self.rng.random() < 0.08 else ".", kept)

    def typed(self, text: str, ends: str, kept: Sequence[str]) -> str:
        """``text`` as the person types it, with a stop where it has none."""
        return self.typist.type(sentence(text), "" if text.endswith(("?", "!", ".")) else ends, kept, self.rng)

    def _any(self, templates: Sequence[str]) -> str:
        return fill(self.rng.choice(templates), self.rng, ME, "person", {})
