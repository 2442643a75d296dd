"""The words of scenes: one of the ways of telling, asking and answering, with the values put in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rxt.tasks.open.frames import ASK, UNKNOWN
from rxt.tasks.open.grammar import choose, sentence
from rxt.tasks.open.messages import Messages
from rxt.tasks.open.values.pick import with_article
from rxt.tasks.scenes.scene import PART

_NOT_KNOWN = tuple(frame for frame in UNKNOWN if "{thing}" not in frame)
_GOES_ON = re.compile(r"(?:It|You|Your|They|That|There|The|He|She|At|In|On|With|From|For|By)\b")
"""How an answer begins that may follow a comma, in small letters."""
_PLACE = re.compile(r"(?:(?<!\w)([Aa])n? )?\{(\w+)\}")


class Words(Messages):
    """Chooses the words."""

    def tell(self, ways: Sequence[str], values: Mapping[str, str], greeting: bool) -> str:
        """A message in one of the ways."""
        return self.sent(self._filled(ways, values), list(values.values()), greeting)

    def ask(self, ways: Sequence[str], values: Mapping[str, str], bare: bool = False) -> str:
        """A question in one of the ways; ``bare``: as it is, without words around."""
        frame = "{question}" if bare else choose(self.rng.choice(ASK), self.rng)
        question = self._filled(ways, values).rstrip("?")
        return self.typed(frame.replace("{question}", question), "?", list(values.values()))

    def answer(self, ways: Sequence[str], values: Mapping[str, str]) -> str:
        """What the model answers: one of the ways, as a sentence."""
        said = sentence(self._filled([PART.sub(r"\1", way) for way in ways], values))
        return said if said.endswith((".", "!", "?")) else said + "."

    def judged(self, so: bool, answers: Sequence[str], values: Mapping[str, str]) -> str:
        """What the model answers when it is asked whether something is ``so``: yes or no, and how it is."""
        verdict = "Yes" if so else "No"
        if so and self.rng.random() < 0.4:
            return f"{verdict}."
        right = self.answer(answers, values)
        if _GOES_ON.match(right):
            return f"{verdict}, {right[0].lower()}{right[1:]}"
        return f"{verdict}. {right}"

    def unknown(self) -> str:
        """What the model answers to a question for what was not told."""
        return sentence(choose(self.rng.choice(_NOT_KNOWN), self.rng)) + "."

    def _filled(self, ways: Sequence[str], values: Mapping[str, str]) -> str:
        return filled(choose(self.rng.choice(ways), self.rng), values)


def filled(text: str, values: Mapping[str, str]) -> str:
    """``text`` with its values; an a before a vowel turns into an."""

    def put(found: re.Match[str]) -> str:
        value = values[found[2]]
        if found[1] is None:
            return value
        article = with_article("", value).rstrip()
        return f"{article.capitalize() if found[1] == 'A' else article} {value}"

    return _PLACE.sub(put, text)
