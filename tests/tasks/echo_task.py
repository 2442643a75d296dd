"""A task in one file: a word is told, and asked for later."""

from __future__ import annotations

from dataclasses import dataclass

from rxt.data.records import Conversation, Interaction
from rxt.errors import UserError
from rxt.tasks.base import GeneratingTask, Split, Told

SALT: dict[Split, int] = {"train": 0, "validation": 1, "test": 2, "test-unseen-phrasings": 3}


@dataclass(frozen=True)
class EchoConfig:
    """Its settings."""

    words: tuple[str, ...] = ("red", "blue", "green", "white")

    def __post_init__(self) -> None:
        if not self.words:
            raise UserError("echo: words must name one at least")


@dataclass(frozen=True)
class EchoQuestion:
    """What was the word?"""

    turn: int
    told_turn: int
    value: str
    kind: str = "word"

    def correct(self, answer: str) -> bool:
        return answer.strip() == self.value


class Echo(GeneratingTask[EchoConfig]):
    """The first turn tells a word, the last one asks for it."""

    name = "echo"
    settings_type = EchoConfig

    def conversation(self, split: Split, turns: int, seed: int, index: int) -> Told:
        return self.probe(split, turns - 1, seed, index)

    def probe(self, split: Split, distance: int, seed: int, index: int, kind: str = "told") -> Told:
        words = self.settings.words
        word = words[(7 * index + seed + SALT[split]) % len(words)]
        between = tuple(Interaction(f"Number {turn}.", "Yes.") for turn in range(1, distance))
        turns = (Interaction(f"The word is {word}.", "Yes."), *between, Interaction("The word?", word))
        return Told(Conversation(turns), {distance: EchoQuestion(distance, 0, word)})

    def chance(self, question: object) -> float:
        return 1 / len(self.settings.words)
