"""After how many turns questions come, so that none of the distances is rare."""

from __future__ import annotations

from collections import Counter
from random import Random

SPANS = ((1, 4), (5, 8), (9, 16), (17, 32))
"""Distances in turns, the shortest and the longest of each span; all spans are to be about equally frequent."""


class Spread:
    """How many questions of one conversation were planned for each span, those that a tool is for apart."""

    def __init__(self, rng: Random, turns: int, evenness: float) -> None:
        self._rng = rng
        self._turns = turns
        self._evenness = evenness
        self._planned: Counter[tuple[bool, int]] = Counter()

    def distance(self, of_tool: bool, longest: int) -> int:
        """After how many turns a question is to come, of which at most ``longest`` are left.

        The longer ones weigh more, as few turns are early enough for them.
        """
        reached = [span for span, (first, _) in enumerate(SPANS) if first <= longest] or [0]
        rarest = min(self._planned[of_tool, span] for span in reached)
        weights = [
            ((1 + self._planned[of_tool, span] - rarest) * max(1, self._turns - SPANS[span][0])) ** -self._evenness
            for span in reached
        ]
        span = self._rng.choices(reached, weights)[0]
        self._planned[of_tool, span] += 1
        first, last = SPANS[span]
        return self._rng.randint(first, max(first, min(last, longest)))
