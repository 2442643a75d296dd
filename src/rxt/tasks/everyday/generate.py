"""Plans a conversation: what is told, changed and asked in which turn. The words come from ``wording``.

A conversation is a pure function of (split, turns, seed, index, config). The plan and the words are drawn from two
generators, so "test" and "test-unseen-phrasings" tell and ask the very same facts in different words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

from pydantic import ConfigDict

from rxt.config import STRICT
from rxt.data.records import Conversation, Interaction
from rxt.errors import UserError
from rxt.tasks.everyday.phrase_types import EVERYBODY, SUBJECT_OF, SUBJECTS, Kind
from rxt.tasks.everyday.phrases import THEIR_KINDS, kind_of
from rxt.tasks.everyday.scoring import correct
from rxt.tasks.everyday.splits import PairSplit, ValuePicker
from rxt.tasks.everyday.values import FEMALE_NAMES, MALE_NAMES
from rxt.tasks.everyday.wording import Fact, Wording
from rxt.tasks.rates import check_rates
from rxt.tasks.seeds import seeded

Split = Literal["train", "validation", "test", "test-unseen-phrasings"]
Move = Literal["tell", "ask", "small talk"]

FAMILY: dict[Split, PairSplit] = {
    "train": "train",
    "validation": "validation",
    "test": "test",
    "test-unseen-phrasings": "test",
}
_POPULAR = ("name", "name", "dog", "dog", "cat", "city", "city", "job", "job", "food", "colour", "hobby")
"""What people tell first comes once or twice more than the other kinds."""
USUAL_KINDS = (
    *("name", "age", "city", "country", "job", "dog", "cat"),
    *("hobby", "instrument", "food", "drink", "colour", "sport", "animal"),
)
FEWEST_VALUES = 40
_KIND_TRIES = 8


@dataclass(frozen=True)
class Question:
    """A question of a conversation and what its right answer holds. The distance is ``turn - told_turn``."""

    turn: int
    """From 0: the interaction that asks."""
    subject: str
    """Whom it is about: "me" or "sister", "best friend", ..."""
    kind: str
    value: str | None
    """None when the fact was never told."""
    told_turn: int | None
    """The interaction that told the value asked for; None when it was never told."""
    changed: bool
    """The fact had another value before."""

    def correct(self, answer: str) -> bool:
        """Whether an answer names the value asked for and no other of its kind."""
        return correct(self.kind, self.value, answer)


@dataclass(frozen=True)
class EverydayConversation:
    """A conversation and what it asks."""

    conversation: Conversation
    questions: tuple[Question, ...]
    facts: tuple[Fact, ...]
    """All facts in the order of their telling, also those that changed later."""


@dataclass(frozen=True)
class EverydayConfig:
    """How conversations are mixed. Rates are fractions; turns that neither ask nor are small talk tell facts."""

    question_rate: float = 0.4
    small_talk_rate: float = 0.2
    multi_fact_rate: float = 0.1
    """Of the telling turns: two or three facts in one message."""
    change_rate: float = 0.15
    """Of the telling turns: a fact told before gets a new value."""
    other_people_rate: float = 0.2
    """Of the facts: about a relative, friend or colleague."""
    never_told_rate: float = 0.12
    """Of the questions: about something that was not told."""
    surface_rate: float = 0.15
    """Of the user's messages: typed less carefully."""
    paraphrase_rate: float = 0.0
    """Of the user's messages about one fact: said in one of the many ways of ``paraphrases``, for training."""
    max_facts: int = 16
    """Facts alive at once; when reached, only changes, questions and small talk follow."""
    distance_evenness: float = 2.0
    """2 asks for facts so that all distances are about equally frequent; 0 picks evenly among the facts alive, which
    makes short distances more frequent (there are more of them in a conversation)."""
    novelty: float = 1.0
    """How much rather facts are asked for that were not asked for yet: a fact asked for n times weighs (1 + n) **
    -novelty. An answer brings its fact back to mind, so the first question about a fact is the one that asks for
    memory."""
    people: int = 2
    """Different other people of one conversation, at most; some come only where there are more than eleven."""
    kinds: tuple[str, ...] = USUAL_KINDS
    """Kinds of facts spoken of; ``kinds()`` names them all."""
    values: int = 48
    """Values of each kind that occur, the best known first; ``values_of(kind)`` has them all."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        check_rates(self, "everyday conversations")
        if self.question_rate + self.small_talk_rate >= 1:
            raise UserError(
                "everyday conversations: question_rate and small_talk_rate must leave room for telling, "
                "so lower one of them"
            )
        if self.novelty < 0:
            raise UserError(f"everyday conversations: novelty cannot be negative, found {self.novelty}")
        if self.max_facts < 1:
            raise UserError(f"everyday conversations: max_facts must be at least 1, found {self.max_facts}")
        if self.distance_evenness < 0:
            raise UserError(
                f"everyday conversations: distance_evenness cannot be negative, found {self.distance_evenness}"
            )
        if self.values < FEWEST_VALUES:
            raise UserError(f"everyday conversations: values must be at least {FEWEST_VALUES}, found {self.values}")
        if not _their_kinds(self.kinds):
            raise UserError("everyday conversations: kinds must name at least one kind that other people have too")
        if not 0 <= self.people <= len(EVERYBODY):
            raise UserError(f"everyday conversations: people must be from 0 to {len(EVERYBODY)}, found {self.people}")


class Writer:
    """Writes one conversation turn by turn."""

    def __init__(self, split: Split, purpose: str, turns: int, seed: int, index: int, config: EverydayConfig) -> None:
        """``turns`` is how many the conversation will have (in a retention conversation: distance and lead-in)."""
        if split not in FAMILY:
            raise UserError(f"there is no split {split!r}; choose one of {', '.join(FAMILY)}")
        family = FAMILY[split]
        self.rng = seeded("plan", purpose, family, seed, index, turns)
        words = seeded("words", purpose, family, seed, index, turns)
        self.words = Wording(words, split == "test-unseen-phrasings", config.surface_rate, config.paraphrase_rate)
        self.config = config
        self.turns = turns
        self.picker = ValuePicker(family, self.rng)
        known = SUBJECTS if config.people <= len(SUBJECTS) else EVERYBODY
        self.people = tuple(subject.noun for subject in self.rng.sample(known, config.people))
        self.facts: dict[tuple[str, str], Fact] = {}
        self.reserved: set[tuple[str, str]] = set()
        """Subjects and kinds that are neither told, changed nor asked by the way."""
        self.told: list[Fact] = []
        self.times_asked: Counter[Fact] = Counter()
        self.interactions: list[Interaction] = []
        self.questions: list[Question] = []

    @property
    def turn(self) -> int:
        return len(self.interactions)

    def finish(self) -> EverydayConversation:
        return EverydayConversation(Conversation(tuple(self.interactions)), tuple(self.questions), tuple(self.told))

    def move(self, move: Move) -> None:
        """Write one turn; when the move is impossible, another one."""
        if move == "tell" and (self._tell_or_change() or self._ask()):
            return
        if move == "ask" and self._ask():
            return
        self._say(self.words.small_talk(greeting=self.turn == 0))

    def random_move(self) -> Move:
        at = self.rng.random()
        if at < self.config.question_rate:
            return "ask"
        return "small talk" if at < self.config.question_rate + self.config.small_talk_rate else "tell"

    def new_fact(self, changeable: bool = False) -> Fact | None:
        """A fact not told before, perhaps one that may change, or None when no value was found that fits."""
        for _ in range(_KIND_TRIES):
            subject, kind = self._slot()
            if (subject, kind.name) in self.facts or (subject, kind.name) in self.reserved:
                continue
            if changeable and not kind.phrases(subject).changeable:
                continue
            value = self.picker.pick(kind.name, values_for(kind, subject, self.config.values))
            if value is not None:
                fact = Fact(subject, kind.name, value, self.turn)
                self._keep(fact)
                return fact
        return None

    def one_of(self, facts: list[Fact]) -> Fact:
        """A fact to ask for.

        Only turns - d pairs of turns lie a distance d apart, so long distances weigh more. So do facts that were asked
        for seldom.
        """
        evenness, novelty = self.config.distance_evenness, self.config.novelty
        weights = [
            max(self.turns - (self.turn - fact.turn), 1) ** -evenness * (1 + self.times_asked[fact]) ** -novelty
            for fact in facts
        ]
        return self.rng.choices(facts, weights)[0]

    def tell(self, facts: list[Fact]) -> None:
        self._say(self.words.tell(facts))

    def ask(self, fact: Fact) -> None:
        self.times_asked[fact] += 1
        self.questions.append(Question(self.turn, fact.subject, fact.kind, fact.value, fact.turn, fact.changed))
        self._say(self.words.ask(fact))

    def _say(self, texts: tuple[str, str]) -> None:
        self.interactions.append(Interaction(*texts))

    def _keep(self, fact: Fact) -> None:
        self.facts[fact.subject, fact.kind] = fact
        self.told.append(fact)

    def _slot(self) -> tuple[str, Kind]:
        """Whom and what the next fact could be about; half of other people's facts are of a kind already told."""
        if not self.people or self.rng.random() >= self.config.other_people_rate:
            return "me", self.rng.choice(_my_kinds(self.config.kinds))
        subject = self.rng.choice(self.people)
        if self.facts and self.rng.random() < 0.5:
            kind = kind_of(self.rng.choice(list(self.facts))[1])
            if kind.theirs is not None:
                return subject, kind
        return subject, self.rng.choice(_their_kinds(self.config.kinds))

    def _tell_or_change(self) -> bool:
        room = self.config.max_facts - len(self.facts)
        if self.facts and self.rng.random() < self.config.change_rate and self._change_any():
            return True
        count = 1
        if self.rng.random() < self.config.multi_fact_rate:
            count = 2 if self.rng.random() < 0.75 else 3
        facts = [fact for fact in (self.new_fact() for _ in range(min(count, room))) if fact is not None]
        if facts:
            self.tell(facts)
        return bool(facts)

    def _change_any(self) -> bool:
        old = [
            f
            for f in self.facts.values()
            if f.phrases.changeable and (f.subject, f.kind) not in self.reserved and f.turn < self.turn
        ]
        return bool(old) and self.change(self.rng.choice(old)) is not None

    def change(self, fact: Fact) -> Fact | None:
        """Tell a new value of a fact, or do nothing when none was found that fits."""
        value = self.picker.pick(fact.kind, values_for(kind_of(fact.kind), fact.subject, self.config.values))
        if value is None:
            return None
        changed = Fact(fact.subject, fact.kind, value, self.turn, changed=True)
        self._keep(changed)
        self._say(self.words.change(changed))
        return changed

    def _ask(self) -> bool:
        known = [fact for key, fact in self.facts.items() if key not in self.reserved]
        if self.rng.random() < self.config.never_told_rate and self.ask_never_told():
            return True
        if known:
            self.ask(self.one_of(known))
        return bool(known)

    def ask_never_told(self) -> bool:
        """Ask for something that was not told; False when nothing was found."""
        for _ in range(_KIND_TRIES):
            subject, kind = self._slot()
            if (subject, kind.name) not in self.facts and (subject, kind.name) not in self.reserved:
                self.questions.append(Question(self.turn, subject, kind.name, None, None, False))
                self._say(self.words.ask_never_told(subject, kind.name))
                return True
        return False


@cache
def _my_kinds(names: tuple[str, ...]) -> tuple[Kind, ...]:
    return tuple(kind_of(name) for name in (*names, *_POPULAR) if name in names)


@cache
def _their_kinds(names: tuple[str, ...]) -> tuple[Kind, ...]:
    return tuple(kind for kind in THEIR_KINDS if kind.name in names)


@cache
def values_for(kind: Kind, subject: str, count: int) -> tuple[str, ...]:
    """The first ``count`` values of a kind; of names, those that fit the person (female and male ones alternate)."""
    values = kind.values[:count]
    if kind.name != "name" or subject == "me":
        return values
    fitting = {"female": FEMALE_NAMES, "male": MALE_NAMES, "any": values}[SUBJECT_OF[subject].names]
    return tuple(value for value in values if value in fitting)


def generate(
    split: Split, turns: int, seed: int, index: int, config: EverydayConfig = EverydayConfig()
) -> EverydayConversation:
    """Conversation number ``index`` of ``split``, with ``turns`` interactions.

    The last turn asks for a fact that was told. Raises UserError for fewer than two turns or an unknown split.
    """
    if turns < 2:
        raise UserError(f"everyday conversations: turns must be at least 2 (one to tell, one to ask), found {turns}")
    writer = Writer(split, "conversation", turns, seed, index, config)
    for turn in range(turns - 1):
        if turns == 2 or (turn == turns - 2 and not writer.facts):
            writer.move("tell")
        elif turn == 0:
            writer.move("tell" if writer.rng.random() < 0.65 else writer.random_move())
        else:
            writer.move(writer.random_move())
    writer.ask(writer.one_of(list(writer.facts.values())))
    return writer.finish()


def corpus_lines(split: Split, seed: int, conversations: int, turns: int) -> Iterator[str]:
    """The queries and answers of the first conversations of ``split``, one text at a time (to train a tokenizer on)."""
    for index in range(conversations):
        for interaction in generate(split, turns, seed, index).conversation.interactions:
            yield interaction.query
            yield interaction.answer
