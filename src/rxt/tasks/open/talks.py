"""Plans a conversation: what is told, changed, denied and asked in which turn. The words come from ``wording``.

A conversation is a pure function of (split, turns, seed, index, config). The values of the splits are disjoint.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import accumulate

from rxt.data.asked import UNKNOWN
from rxt.data.records import Conversation, Interaction
from rxt.errors import UserError
from rxt.tasks.base import Split
from rxt.tasks.open.config import OpenConfig
from rxt.tasks.open.grammar import ME, Pronoun, Subject
from rxt.tasks.open.relation import Relation
from rxt.tasks.open.relations import RELATIONS
from rxt.tasks.open.scoring import names
from rxt.tasks.open.typists import CAREFUL, some_typist
from rxt.tasks.open.values import ValueSplit, core, draw
from rxt.tasks.open.values.kinds import KINDS
from rxt.tasks.open.wording import Fact, Wording
from rxt.tasks.seeds import seeded

_SHE = (
    *("sister", "mum", "wife", "daughter", "grandma", "aunt", "niece", "girlfriend", "mother", "mother-in-law"),
    *("granddaughter", "stepmum", "goddaughter", "godmother"),
)
_HE = (
    *("brother", "dad", "husband", "son", "grandpa", "uncle", "nephew", "boyfriend", "father", "father-in-law"),
    *("grandson", "stepdad", "godson", "godfather"),
)
_ANY = (
    *("partner", "cousin", "best friend", "flatmate", "neighbour", "boss", "colleague", "twin", "landlord", "teacher"),
    *("coach", "friend", "roommate", "therapist", "tutor"),
)
RELATIVES: tuple[tuple[str, tuple[Pronoun, ...]], ...] = (
    *((noun, ("she",)) for noun in _SHE),
    *((noun, ("he",)) for noun in _HE),
    *((noun, ("she", "he", "they")) for noun in _ANY),
)
"""What the other people of a conversation are, and by which pronouns they may go."""
USUAL = OpenConfig()
YOU = "you"
"""The value of a question for whose something is that is the person's own."""
_YOU = re.compile(r"\byou(r|rs|rself)?\b", re.IGNORECASE)
_PRONOUNS: tuple[Pronoun, ...] = ("she", "he", "they")
NEXT = 1_000_003
"""A conversation that could not be made is another one, of a number so much higher."""
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
    fact: Fact | None = field(default=None, compare=False, repr=False)
    """What is asked for, with no value where it was never told; None where it is asked whose the value is."""

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
        self.spoken_of: Subject | None = None
        """Of whom alone the last turn spoke."""
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
        self._say(self.words.small_talk(), None)

    def tell(self, facts: list[Fact]) -> None:
        same = len({fact.subject for fact in facts}) == 1
        self._say(self.words.tell(facts, greeting=self.turn == 0), facts[0].subject if same else None)

    def ask(self, fact: Fact, find: bool = False) -> None:
        """Ask for a fact that was told; ``find``: by its value, for whose it is."""
        self.times_asked[fact] += 1
        relation = fact.relation
        changed = fact.old is not None
        if find:
            value = fact.about or fact.subject.name or fact.subject.relative or YOU
            self.questions.append(Question(self.turn, relation.name, value, fact.turn, changed))
            self._say(self.words.find(fact), fact.subject)
            return
        others = [other.value for other in self.told if other.relation is relation and other.value]
        wrong = tuple(other for other in others if other != fact.value and not names(fact.value, other))
        value = fact.value or None
        self.questions.append(
            Question(self.turn, relation.name, value, fact.turn, changed, wrong, not fact.value, fact)
        )
        again = fact.subject == self.spoken_of and self.rng.random() < self.config.pronoun_rate
        self._say(self.words.ask(fact, again), fact.subject)

    def ask_never_told(self) -> bool:
        """Ask for something that was not told; False when nothing was found."""
        for _ in range(_TRIES):
            slot = self._slot()
            if slot is None:
                continue
            asked = Fact(*slot, "", self.turn)
            said = self.words.ask_never_told(asked)
            # a value that the right answer holds too ("French" of a French bulldog) is no mistake
            wrong = tuple(fact.value for fact in self.told if fact.value and not names(said.answer, fact.value))
            self.questions.append(Question(self.turn, slot[0].name, None, None, wrong=wrong, fact=asked))
            self._say(said, slot[1])
            return True
        return False

    def new_fact(self, changeable: bool = False, open_value: bool = False, about: Subject | None = None) -> Fact | None:
        """A fact not told before, perhaps about a given subject, or None when none was found."""
        for _ in range(_TRIES):
            slot = self._slot(about)
            if slot is None:
                continue
            relation, subject, thing = slot
            if (changeable and not relation.changes) or (open_value and KINDS[relation.value].closed):
                continue
            if (value := self._value(relation.value)) is not None:
                if thing is not None:
                    self.taken.add(core(thing).casefold())
                fact = Fact(relation, subject, thing, value, self.turn)
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
        self._say(self.words.change(changed), fact.subject)
        return changed

    def one_of(self, facts: list[Fact]) -> Fact:
        """A fact to ask for: long distances are rare, so they weigh more, and so do facts seldom asked for."""
        evenness, novelty = self.config.distance_evenness, self.config.novelty
        weights = [
            max(self.turns - (self.turn - fact.turn), 1) ** -evenness * (1 + self.times_asked[fact]) ** -novelty
            for fact in facts
        ]
        return self.rng.choices(facts, weights)[0]

    def _say(self, interaction: Interaction, spoken_of: Subject | None) -> None:
        self.interactions.append(interaction)
        self.spoken_of = spoken_of

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
        facts: list[Fact] = []
        for _ in range(min(count, room)):
            same = facts[-1].subject if facts and self.rng.random() < self.config.same_rate else None
            fact = self.new_fact(about=same)
            facts += [fact] if fact is not None else []
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
        self._say(self.words.deny(fact), fact.subject)
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

    def _slot(self, whose: Subject | None = None) -> tuple[Relation, Subject, str | None] | None:
        """What the next fact could be about, perhaps something much like what was told before; of ``whose``, if that is
        given. None when nothing was found, or what was is told or reserved."""
        relations, weights = _known(self.config.relations)
        if self.told and self.rng.random() < self.config.alike_rate:
            relation = self.rng.choice(self.told).relation
        else:
            relation = self.rng.choices(relations, cum_weights=weights)[0]
        subject = self._subject(relation) if whose is None else whose
        if not _fits(relation, subject):
            return None
        about = None
        if relation.about is not None:
            about = draw(KINDS[relation.about], self.split, self.rng, self.taken)
            if about is None:
                return None
        key = relation.name, subject, about
        return None if key in self.facts or key in self.reserved else (relation, subject, about)

    def _subject(self, relation: Relation) -> Subject:
        if _fits(relation, ME) and self.rng.random() >= self.config.other_people_rate:
            return ME
        return self.rng.choice([person for person in self.people if _fits(relation, person)] or [ME])

    def _person(self) -> Subject:
        name = self._value("person") if self.rng.random() < 0.4 else None
        if name is not None:
            return Subject(name=name, pronoun=self.rng.choice(_PRONOUNS))
        noun, pronouns = self.rng.choice(RELATIVES)
        return Subject(noun, pronoun=self.rng.choice(pronouns))

    def _value(self, kind: str) -> str | None:
        value = draw(KINDS[kind], self.split, self.rng, self.taken)
        if value is not None:
            self.taken.add(core(value).casefold())
        return value


def _fits(relation: Relation, subject: Subject) -> bool:
    """Whether the relation speaks of such a person."""
    match relation.whose:
        case "anyone":
            return True
        case "me":
            return subject.me
        case "others":
            return not subject.me
        case "relatives":
            return subject.relative is not None


@cache
def _known(relations: tuple[str, ...]) -> tuple[tuple[Relation, ...], tuple[float, ...]]:
    """The relations spoken of, and the running sum of how likely each is."""
    found = tuple(relation for relation in RELATIONS if not relations or relation.name in relations)
    return found, tuple(accumulate(relation.likely for relation in found))


def generate(split: Split, turns: int, seed: int, index: int, config: OpenConfig = USUAL) -> OpenConversation:
    """Conversation number ``index`` of ``split``, with ``turns`` interactions; the last asks for what was told.

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
        return generate(split, turns, seed, index + NEXT, config)
    writer.ask(writer.one_of(known))
    return writer.finish()
