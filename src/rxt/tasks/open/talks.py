"""Plans a conversation: what is told, changed, denied and asked in which turn. The words come from ``wording``.

A conversation is a pure function of (split, turns, seed, index, config). The values of the splits are disjoint.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import accumulate
from typing import ClassVar

from pydantic import ConfigDict

from rxt.config import STRICT
from rxt.data.asked import UNKNOWN
from rxt.data.records import Conversation, Interaction
from rxt.errors import UserError
from rxt.tasks.base import Split
from rxt.tasks.open.grammar import ME, Subject
from rxt.tasks.open.relation import Relation
from rxt.tasks.open.relations import RELATIONS
from rxt.tasks.open.scoring import names
from rxt.tasks.open.typists import CAREFUL, some_typist
from rxt.tasks.open.values import ValueSplit, core, draw
from rxt.tasks.open.values.kinds import KINDS
from rxt.tasks.open.wording import Fact, Wording
from rxt.tasks.seeds import seeded

RELATIVES = (
    *("sister", "brother", "mum", "dad", "wife", "husband", "partner", "daughter", "son", "grandma", "grandpa", "aunt"),
    *("uncle", "cousin", "niece", "nephew", "best friend", "flatmate", "neighbour", "boss", "colleague", "girlfriend"),
    *("boyfriend", "mother", "father", "twin", "mother-in-law", "landlord", "teacher", "coach", "friend", "roommate"),
)
YOU = "you"
"""The value of a question for whose something is that is the person's own."""
_YOU = re.compile(r"\byou(r|rs|rself)?\b", re.IGNORECASE)
_TRIES = 12
_NO = re.compile(r"\b(no|not|none|never|nothing|nobody)\b|n['’]?t\b", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """A question of a conversation and what its right answer holds. The distance is ``turn - told_turn``."""

    turn: int
    kind: str
    """The relation's name."""
    value: str | None
    """What a right answer names; None when the fact was never told, or told not to be."""
    told_turn: int | None
    """The interaction that told the newest value; None when it was never told."""
    changed: bool = False
    wrong: tuple[str, ...] = ()
    """What it must not name: the value before a change, and the values that other facts of this relation have."""
    denied: bool = False
    """It was told that there is no such thing."""

    def correct(self, answer: str) -> bool:
        """Whether an answer names the value asked for and none that would be wrong; where there is none, says so."""
        if self.denied:
            return bool(UNKNOWN.search(answer) or _NO.search(answer))
        if self.value is None:
            return bool(UNKNOWN.search(answer)) and not any(names(answer, value) for value in self.wrong)
        if self.value == YOU:
            return bool(_YOU.search(answer))
        return names(answer, self.value) and not any(names(answer, value) for value in self.wrong)


@dataclass(frozen=True)
class OpenConversation:
    """A conversation and what it asks."""

    conversation: Conversation
    questions: tuple[Question, ...]
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class OpenConfig:
    """How conversations are mixed. Rates are fractions; turns that neither ask nor are small talk tell facts."""

    question_rate: float = 0.42
    small_talk_rate: float = 0.13
    several_rate: float = 0.15
    """Of the telling turns: two or three facts in one message."""
    change_rate: float = 0.15
    """Of the telling turns: a fact told before gets a new value."""
    deny_rate: float = 0.02
    """Of the telling turns: that there is no such thing."""
    never_told_rate: float = 0.15
    """Of the questions: about something that was not told."""
    find_rate: float = 0.15
    """Of the questions, where the relation has such: by the value, for whose it is."""
    other_people_rate: float = 0.3
    """Of the facts: about somebody else."""
    alike_rate: float = 0.3
    """Of the facts: of a relation told before, of somebody or something else."""
    surface: bool = True
    """Typed as people type; else with care."""
    max_facts: int = 16
    """Facts alive at once; when reached, only changes, questions and small talk follow."""
    distance_evenness: float = 2.0
    """2 asks for facts so that all distances are about equally frequent; 0 picks evenly among the facts alive."""
    novelty: float = 3.0
    """How much rather facts are asked for that were not asked for yet: asked n times, a fact weighs (1 + n) **
    -novelty."""
    people: int = 3
    """Different other people of one conversation, at most."""
    relations: tuple[str, ...] = ()
    """Relations spoken of; all when empty."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        for field in fields(self):
            found = getattr(self, field.name)
            if field.name.endswith("_rate") and not 0 <= found <= 1:
                raise UserError(f"open conversations: {field.name} must be from 0 to 1, found {found}")
            if isinstance(found, (int, float)) and found < 0:
                raise UserError(f"open conversations: {field.name} cannot be negative, found {found}")
        if self.question_rate + self.small_talk_rate >= 1:
            raise UserError(
                "open conversations: question_rate and small_talk_rate must leave room for telling, so lower one"
            )
        if self.max_facts < 1:
            raise UserError(f"open conversations: max_facts must be at least 1, found {self.max_facts}")
        if unknown := set(self.relations) - {relation.name for relation in RELATIONS}:
            raise UserError(f"open conversations: there is no relation {', '.join(sorted(unknown))}")


class Writer:
    """Writes one conversation turn by turn."""

    def __init__(self, split: Split, purpose: str, turns: int, seed: int, index: int, config: OpenConfig) -> None:
        """``turns`` is how many the conversation will have."""
        self.rng = seeded("open", purpose, split, seed, index, turns)
        self.split: ValueSplit = "test" if split == "test-unseen-phrasings" else split
        self.config = config
        self.turns = turns
        typist = some_typist(self.rng) if config.surface else CAREFUL
        self.words = Wording(self.rng, typist)
        self.taken: set[str] = set()
        self.people = [self._person() for _ in range(config.people)]
        self.facts: dict[tuple[str, Subject, str | None], Fact] = {}
        self.reserved: set[tuple[str, Subject, str | None]] = set()
        """What is neither told, changed nor asked by the way."""
        self.told: list[Fact] = []
        self.times_asked: Counter[Fact] = Counter()
        self.interactions: list[Interaction] = []
        self.questions: list[Question] = []

    @property
    def turn(self) -> int:
        return len(self.interactions)

    def finish(self) -> OpenConversation:
        return OpenConversation(Conversation(tuple(self.interactions)), tuple(self.questions), tuple(self.told))

    def move(self, at: float | None = None) -> None:
        """Write one turn: asks, is small talk or tells, as ``at`` (drawn when not given) falls among the rates."""
        at = self.rng.random() if at is None else at
        config = self.config
        if at < config.question_rate and self._ask():
            return
        if config.question_rate <= at < config.question_rate + config.small_talk_rate or not self._tell_any():
            self.small_talk()

    def small_talk(self) -> None:
        self.interactions.append(self.words.small_talk(greeting=self.turn == 0))

    def tell(self, facts: list[Fact]) -> None:
        self.interactions.append(self.words.tell(facts, greeting=self.turn == 0))

    def ask(self, fact: Fact, find: bool = False) -> None:
        """Ask for a fact that was told; ``find``: by its value, for whose it is."""
        self.times_asked[fact] += 1
        relation = fact.relation
        others = [
            other
            for other in self.told
            if other.relation is relation and other is not fact and other.value != fact.value
        ]
        changed = fact.old is not None
        if find:
            value = fact.about or fact.subject.name or fact.subject.relative or YOU
            self.questions.append(Question(self.turn, relation.name, value, fact.turn, changed))
            self.interactions.append(self.words.find(fact))
            return
        wrong = tuple(other.value for other in others if other.value and not names(fact.value, other.value))
        value = fact.value or None
        self.questions.append(Question(self.turn, relation.name, value, fact.turn, changed, wrong, not fact.value))
        self.interactions.append(self.words.ask(fact))

    def ask_never_told(self) -> bool:
        """Ask for something that was not told; False when nothing was found."""
        for _ in range(_TRIES):
            slot = self._slot()
            if slot is None or (slot[0].name, *slot[1:]) in self.facts or (slot[0].name, *slot[1:]) in self.reserved:
                continue
            wrong = tuple(fact.value for fact in self.told if fact.value)
            self.questions.append(Question(self.turn, slot[0].name, None, None, wrong=wrong))
            self.interactions.append(self.words.ask_never_told(Fact(*slot, "", self.turn)))
            return True
        return False

    def new_fact(self, changeable: bool = False, open_value: bool = False) -> Fact | None:
        """A fact not told before, or None when none was found."""
        for _ in range(_TRIES):
            slot = self._slot()
            if slot is None or (slot[0].name, *slot[1:]) in self.facts or (slot[0].name, *slot[1:]) in self.reserved:
                continue
            relation, subject, about = slot
            if (changeable and not relation.changes) or (open_value and KINDS[relation.value].closed):
                continue
            if (value := self._value(relation.value)) is not None:
                if about is not None:
                    self.taken.add(core(about).casefold())
                fact = Fact(relation, subject, about, value, self.turn)
                self._keep(fact)
                return fact
        return None

    def change(self, fact: Fact) -> Fact | None:
        """Tell a new value of a fact, or do nothing when none was found."""
        value = self._value(fact.relation.value)
        if value is None:
            return None
        changed = replace(fact, value=value, turn=self.turn, old=fact.value)
        self._keep(changed)
        self.interactions.append(self.words.change(changed))
        return changed

    def one_of(self, facts: list[Fact]) -> Fact:
        """A fact to ask for: long distances are rare, so they weigh more, and so do facts seldom asked for."""
        evenness, novelty = self.config.distance_evenness, self.config.novelty
        weights = [
            max(self.turns - (self.turn - fact.turn), 1) ** -evenness * (1 + self.times_asked[fact]) ** -novelty
            for fact in facts
        ]
        return self.rng.choices(facts, weights)[0]

    def _ask(self) -> bool:
        known = [fact for key, fact in self.facts.items() if key not in self.reserved]
        if self.rng.random() < self.config.never_told_rate and self.ask_never_told():
            return True
        if not known:
            return False
        fact = self.one_of(known)
        self.ask(fact, bool(fact.value and fact.relation.find) and self.rng.random() < self.config.find_rate)
        return True

    def _tell_any(self) -> bool:
        if self.facts and self.rng.random() < self.config.change_rate and self._change_any():
            return True
        room = self.config.max_facts - len(self.facts)
        if room <= 0:
            return self._change_any() or self._ask()
        if self.rng.random() < self.config.deny_rate and self._deny():
            return True
        count = 1
        if self.rng.random() < self.config.several_rate:
            count = 2 if self.rng.random() < 0.75 else 3
        facts = [fact for fact in (self.new_fact() for _ in range(min(count, room))) if fact is not None]
        if facts:
            self.tell(facts)
        return bool(facts)

    def _deny(self) -> bool:
        relations = [relation for relation in _known(self.config.relations)[0] if relation.deny and not relation.about]
        if not relations:
            return False
        relation = self.rng.choice(relations)
        fact = Fact(relation, self._subject(relation), None, "", self.turn)
        if fact.key in self.facts or fact.key in self.reserved:
            return False
        self._keep(fact)
        self.interactions.append(self.words.deny(fact))
        return True

    def _change_any(self) -> bool:
        old = [
            fact
            for fact in self.facts.values()
            if fact.relation.changes and fact.value and fact.key not in self.reserved and fact.turn < self.turn
        ]
        return bool(old) and self.change(self.rng.choice(old)) is not None

    def _keep(self, fact: Fact) -> None:
        self.facts[fact.key] = fact
        self.told.append(fact)

    def _slot(self) -> tuple[Relation, Subject, str | None] | None:
        """What the next fact could be about, perhaps something much like what was told before."""
        relations, weights = _known(self.config.relations)
        if self.told and self.rng.random() < self.config.alike_rate:
            relation = self.rng.choice(self.told).relation
        else:
            relation = self.rng.choices(relations, cum_weights=weights)[0]
        about = None
        if relation.about is not None:
            about = draw(KINDS[relation.about], self.split, self.rng, self.taken)
            if about is None:
                return None
        return relation, self._subject(relation), about

    def _subject(self, relation: Relation) -> Subject:
        if relation.whose == "me" or not self.people:
            return ME
        relatives = [person for person in self.people if person.relative]
        if relation.whose == "relatives":
            return self.rng.choice(relatives or [Subject(relative="friend")])
        if relation.whose == "others" or self.rng.random() < self.config.other_people_rate:
            return self.rng.choice(self.people)
        return ME

    def _person(self) -> Subject:
        if self.rng.random() < 0.6:
            return Subject(relative=self.rng.choice(RELATIVES))
        name = self._value("person")
        return Subject(name=name) if name else Subject(relative=self.rng.choice(RELATIVES))

    def _value(self, kind: str) -> str | None:
        value = draw(KINDS[kind], self.split, self.rng, self.taken)
        if value is not None:
            self.taken.add(core(value).casefold())
        return value


@cache
def _known(relations: tuple[str, ...]) -> tuple[tuple[Relation, ...], tuple[float, ...]]:
    """The relations spoken of, and the running sum of how likely each is."""
    found = tuple(relation for relation in RELATIONS if not relations or relation.name in relations)
    return found, tuple(accumulate(relation.likely for relation in found))


def generate(split: Split, turns: int, seed: int, index: int, config: OpenConfig = OpenConfig()) -> OpenConversation:
    """Conversation number ``index`` of ``split``, with ``turns`` interactions; the last asks for a fact that was told.

    Raises UserError for fewer than two turns.
    """
    if turns < 2:
        raise UserError(f"open conversations: turns must be at least 2 (one to tell, one to ask), found {turns}")
    writer = Writer(split, "conversation", turns, seed, index, config)
    for turn in range(turns - 1):
        first = turns == 2 or (turn == turns - 2 and not any(fact.value for fact in writer.facts.values()))
        writer.move(1.0 if first or (turn == 0 and writer.rng.random() < 0.7) else None)
    known = [fact for fact in writer.facts.values() if fact.value]
    if not known:  # nothing could be told
        return generate(split, turns, seed, index + 1_000_003, config)
    writer.ask(writer.one_of(known))
    return writer.finish()
