"""How the phrasings of a kind of fact are written down.

A phrasing is a template with ``{v}`` (the value), ``{av}`` (the value with "a" or "an") and, for facts about somebody
else, ``{s}`` (who: "sister", "best friend").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Names = Literal["any", "female", "male"]


@dataclass(frozen=True)
class Phrases:
    """The phrasings of one kind of fact, either about the user or about somebody the user knows."""

    topic: str
    """What the fact is, said to the user: "your dog's name"."""
    tell: tuple[str, ...]
    ask: tuple[str, ...]
    answer: tuple[str, ...]
    ack: tuple[str, ...]
    """What is said when the fact is told, besides the acknowledgements that all kinds share."""
    tell_held_out: tuple[str, ...]
    """Only the test of unseen phrasings shows the held-out ones."""
    ask_held_out: tuple[str, ...]
    change: tuple[str, ...] = ()
    """How a new value is told; empty when the fact does not change."""
    change_held_out: tuple[str, ...] = ()

    @property
    def changeable(self) -> bool:
        return bool(self.change)


@dataclass(frozen=True)
class Kind:
    """One kind of fact: its values and how people speak of it."""

    name: str
    values: tuple[str, ...]
    mine: Phrases
    theirs: Phrases | None = None
    """Phrasings about other people; None when only the user's own fact is spoken of."""

    def phrases(self, subject: str) -> Phrases:
        """The phrasings for ``subject``: "me" or one of the people of :data:`EVERYBODY`."""
        if subject == "me":
            return self.mine
        if self.theirs is None:
            raise ValueError(f"the kind {self.name} is only spoken of for the user")
        return self.theirs


@dataclass(frozen=True)
class Subject:
    """Somebody the user speaks of."""

    noun: str
    names: Names
    pronoun: str | None = None
    """ "she" or "he", when the word says which."""

    @property
    def possessive(self) -> str | None:
        return None if self.pronoun is None else {"she": "her", "he": "his"}[self.pronoun]


SUBJECTS = (
    Subject("mother", "female", "she"),
    Subject("father", "male", "he"),
    Subject("sister", "female", "she"),
    Subject("brother", "male", "he"),
    Subject("best friend", "any"),
    Subject("neighbour", "any"),
    Subject("boss", "any"),
    Subject("colleague", "any"),
    Subject("cousin", "any"),
    Subject("aunt", "female", "she"),
    Subject("uncle", "male", "he"),
)

EVERYBODY = (
    *SUBJECTS,
    Subject("grandmother", "female", "she"),
    Subject("grandfather", "male", "he"),
    Subject("daughter", "female", "she"),
    Subject("son", "male", "he"),
    Subject("niece", "female", "she"),
    Subject("nephew", "male", "he"),
    Subject("wife", "female", "she"),
    Subject("husband", "male", "he"),
    Subject("roommate", "any"),
    Subject("teacher", "any"),
    Subject("coach", "any"),
    Subject("doctor", "any"),
    Subject("landlord", "any"),
)
"""Also those whom conversations speak of that have more people than :data:`SUBJECTS`."""

SUBJECT_OF = {subject.noun: subject for subject in EVERYBODY}

SHARED_ACKS = (
    "Nice, I'll remember that.",
    "Got it, thanks for telling me.",
    "Okay, I'll keep that in mind.",
    "Good to know!",
    "Thanks, I'll remember.",
    "Great, noted.",
    "That's good to know, thank you.",
    "I see, I won't forget that.",
)

THEIR_SHARED_ACKS = (
    "Nice, I'll remember that about your {s}.",
    "Got it, thanks for telling me about your {s}.",
    "Good to know! Say hello to your {s} from me.",
    "Your {s} sounds nice.",
    "Okay, I'll keep that in mind.",
    "Thanks, I'll remember that.",
)

SEVERAL_ACKS = (
    "Nice, I'll remember all of that.",
    "Got it, thanks for telling me so much.",
    "Great, I'll keep all of that in mind.",
    "Thanks, now I know you a little better.",
    "Okay, I've noted all of it.",
    "Good to know, all of it!",
)

CHANGE_ACKS = (
    "Okay, I'll remember the change.",
    "Got it, thanks for the update.",
    "Oh, good to know that it changed.",
    "Alright, I'll remember it that way from now on.",
    "Noted, that's new.",
    "Thanks for keeping me up to date.",
)

NEVER_TOLD = (
    "You haven't told me {topic} yet.",
    "You haven't told me {topic}.",
    "You haven't told me that yet.",
    "You haven't told me {topic}, but I'd like to know.",
)

EVASIVE = (
    *NEVER_TOLD,
    "I don't know.",
    "I'm not sure.",
    "I don't remember that.",
)
"""What is said by who does not remember {topic}; all of it is wrong where it was told."""
