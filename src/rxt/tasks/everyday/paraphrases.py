"""Many more ways to tell, ask and change the usual facts, for training: clauses that go into frames.

``paraphrases.txt`` holds them in blocks, one for a kind and whom it is about. A letter opens a line, ``|`` divides the
entries: ``T`` clauses that tell, ``Q`` whole questions, ``I`` questions inside a sentence, ``N`` names of what is asked
for, ``C`` clauses that tell a change. ``PET`` stands for dog and cat, ``NOUN`` and ``PLURAL`` for what somebody likes
best. The held-out phrasings are not among them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files

PETS = ("dog", "cat")
FAVOURITES = ("food", "colour", "drink", "sport", "animal")
_LETTERS = {"T": "tell", "Q": "ask", "I": "indirect", "N": "noun", "C": "change"}


@dataclass(frozen=True)
class Paraphrases:
    """Ways to speak of one kind of fact, or the frames that all kinds share."""

    tell: tuple[str, ...] = ()
    """Clauses without a full stop: "my dog answers to {v}"; frames have {c} for the clause."""
    ask: tuple[str, ...] = ()
    """Whole questions."""
    indirect: tuple[str, ...] = ()
    """ "what my dog is called"; frames have {c}."""
    noun: tuple[str, ...] = ()
    """ "my dog's name"; frames have {n}."""
    change: tuple[str, ...] = ()
    """Clauses that tell a new value; frames have {c}."""

    def __add__(self, other: Paraphrases) -> Paraphrases:
        return Paraphrases(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def filled(self, *words: tuple[str, str]) -> Paraphrases:
        """The same with words put in for others."""

        def fill(entries: tuple[str, ...]) -> tuple[str, ...]:
            for name, word in words:
                entries = tuple(entry.replace(name, word) for entry in entries)
            return entries

        return Paraphrases(*(fill(getattr(self, field.name)) for field in fields(self)))


@cache
def _blocks() -> dict[str, Paraphrases]:
    """The blocks of the file by their title."""
    blocks: dict[str, Paraphrases] = {}
    for block in (files("rxt.tasks.everyday") / "paraphrases.txt").read_text(encoding="utf-8").strip().split("\n\n"):
        title, *lines = block.splitlines()
        parts: dict[str, tuple[str, ...]] = {}
        for line in lines:
            letter, entries = line.split(": ", 1)
            name = _LETTERS[letter]
            parts[name] = parts.get(name, ()) + tuple(entry.strip() for entry in entries.split(" | "))
        title = title.partition(": ")[2]
        blocks[title] = blocks.get(title, Paraphrases()) + Paraphrases(**parts)
    return blocks


@cache
def paraphrases(kind: str, mine: bool) -> Paraphrases:
    """All for a kind, about the user or about somebody else; nothing for kinds that have none."""
    blocks, whose = _blocks(), "mine" if mine else "theirs"
    own = blocks.get(f"{kind} {whose}", Paraphrases())
    if kind in PETS:
        return own + blocks[f"pet {whose}"].filled(("PET", kind))
    if kind in FAVOURITES:
        value = "the {v}" if kind == "animal" else "{v}"
        return own + blocks[f"favourite {whose}"].filled(("PLURAL", f"{kind}s"), ("NOUN", kind), ("{v}", value))
    return own


@cache
def frames() -> Paraphrases:
    """What clauses are put into."""
    return _blocks()["frames"]
