"""What a task offers: conversations to train on, and questions whose right answers are known.

A task is its typed settings and what can be made of them. ``rxt.tasks.registry`` names every task there is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from rxt.data.asked import Asked
from rxt.data.encoding import encode_conversation
from rxt.data.fitting import Lengths, lengths_of
from rxt.data.markup import Encoded
from rxt.data.records import Conversation, Interaction, PreferenceConversation
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.tasks.rejected import RejectedMix

TrainingSplit = Literal["train", "validation"]
Split = Literal["train", "validation", "test", "test-unseen-phrasings"]
"""``test-unseen-phrasings``: facts of the test split in words that training never shows; a task without such words has
nothing there."""
Settings = TypeVar("Settings")
TEXT_TURNS = 12
"""Turns of the conversations that the stages without a memory read as text."""
PIECE_TURNS = 4
"""Turns of the pieces that single interactions are taken from, so that many conversations mix."""


class Question(Asked, Protocol):
    """A question of a conversation and what its right answer holds."""

    @property
    def turn(self) -> int:
        """From 0: the interaction that asks."""
        ...

    @property
    def told_turn(self) -> int | None:
        """The interaction that told what is asked for; None when it was never told, or that is not known."""
        ...


@dataclass(frozen=True)
class Told:
    """A conversation, and what is known of its questions."""

    conversation: Conversation
    questions: Mapping[int, Question] | None = None
    """By turn; None where nothing is known of them."""
    distracted: bool = False
    """What the last question asks for was told of somebody or something else too."""
    preferences: PreferenceConversation | None = None
    """The conversation with wrong answers beside the right ones, where it was asked for."""

    @property
    def queries(self) -> list[str]:
        """What the person says, turn by turn."""
        return [interaction.query for interaction in self.conversation.interactions]

    def with_replies(self, rate: float, seed: int, index: int) -> Told:
        """The same, with so many of the answers to turns that ask nothing to be learned."""
        rng, conversation, asked = Random(f"{seed} {index} replies"), self.conversation, self.questions or {}
        others = (turn for turn in range(len(conversation.interactions)) if turn not in asked)
        unlearned = frozenset(turn for turn in others if rng.random() >= rate)
        return replace(self, conversation=replace(conversation, unlearned=unlearned))

    @property
    def last_question(self) -> Question:
        """That of the last turn that has one."""
        assert self.questions, "a conversation that probes asks"
        return self.questions[max(self.questions)]


class Source(ABC):
    """Where conversations come from. Every batch is a function of (split, step, size), so a resumed run needs no
    position to be restored."""

    endless: ClassVar[bool] = True
    """Made as they are needed, rather than read whole."""

    @abstractmethod
    def conversations(
        self, split: TrainingSplit, step: int, size: int, turns: int, shortest: int = 1
    ) -> Sequence[Told]:
        """``size`` conversations of ``shortest`` to ``turns`` turns for a step."""

    @abstractmethod
    def all_conversations(self, generated: int) -> Iterator[Conversation]:
        """Every training conversation once, for the tokenizer; of an endless source the first ``generated``."""

    def long_range(self, split: TrainingSplit, step: int, size: int, turns: int) -> Sequence[Told]:
        """As :meth:`conversations`, but the last turn returns to what the first one spoke of."""
        first = self.conversations(split, step, size, 2, shortest=2)
        if turns == 2:
            return first
        between = self.conversations(split, step, size, turns - 2)
        # drawn apart: of many conversations it is seldom the same one that lies between
        return [
            Told(long_range(each.conversation, between[(number + 1) % size].conversation))
            for number, each in enumerate(first)
        ]

    def interactions(self, split: TrainingSplit, step: int, size: int) -> list[Interaction]:
        """``size`` single interactions, or a few more, for a step."""
        pieces = self.conversations(split, step, -(-size // PIECE_TURNS), PIECE_TURNS)
        return [interaction for piece in pieces for interaction in piece.conversation.interactions]

    def encoded(
        self, template: Template, split: TrainingSplit, step: int, size: int, turns: int
    ) -> list[list[Encoded]]:
        """The conversations of :meth:`conversations` as tokens, turn by turn."""
        return [
            encode_conversation(each.conversation, template) for each in self.conversations(split, step, size, turns)
        ]

    def encoded_interactions(self, template: Template, split: TrainingSplit, step: int, size: int) -> list[Encoded]:
        """The interactions of :meth:`interactions` as tokens."""
        return [template.interaction(each) for each in self.interactions(split, step, size)]

    def rephrased(self, rate: float) -> Source:
        """The same conversations with so many of the messages in other words, where the source has other words."""
        return self

    def everything(self) -> Iterator[Conversation]:
        """What was read, for training and for validation, to be checked before training; nothing of what is made."""
        return iter(())

    def lengths(self, template: Template) -> Lengths:
        """How many interactions of :meth:`everything` are longer than the template takes.

        Raises:
            UserError: a conversation has a part that the template has not.
        """
        return lengths_of(self.everything(), template)

    def told(self) -> list[str]:
        """How much was read, a line for each file; nothing of what is made."""
        return []

    def check(self) -> list[str]:
        """What a person should know of the data before training on it, a line each."""
        return []

    def digests(self) -> dict[str, str]:
        """Of what was read, by file or folder: a run goes on with the same data alone. Nothing of what is made."""
        return {}


class Prefers(ABC):
    """A source that knows wrong answers too."""

    @abstractmethod
    def preferences(
        self, split: TrainingSplit, step: int, size: int, turns: int, rejected: RejectedMix, neutral_rate: float
    ) -> Sequence[Told]:
        """``size`` conversations of at most ``turns`` turns for a step, each with ``preferences`` beside it."""

    def differing(self, template: Template) -> tuple[Prefers, int]:
        """The source without those pairs whose answers are alike in a model's tokens, and how many were taken out.

        None by default: what makes a wrong answer can see to it that it differs.

        Raises:
            UserError: a conversation has a part that the template has not; no pair is left.
        """
        return self, 0


@dataclass(frozen=True)
class Task(ABC, Generic[Settings]):
    """A world whose conversations have questions with known answers. Tasks of equal settings are equal."""

    settings: Settings
    name: ClassVar[str]
    settings_type: ClassVar[type]
    """A frozen dataclass, whose fields all have defaults."""
    special: ClassVar[tuple[str, ...]] = ()
    """Kinds of questions besides those about something that was told once."""
    probes_in_training: ClassVar[bool] = True
    """Whether its questions tell, during training, how well is remembered."""
    longest_answer: ClassVar[int] = 48
    """Tokens."""

    @abstractmethod
    def source(self, seed: int) -> Source:
        """The conversations to train on.

        Raises:
            UserError: what the settings name cannot be read.
        """

    @abstractmethod
    def probe(self, split: Split, distance: int, seed: int, index: int, kind: str = "told") -> Told:
        """A conversation whose last turn asks for what was told ``distance`` turns earlier.

        Args:
            kind: ``told``, or one of :attr:`special`; then ``distance`` is what comes closest to one.
        """

    def wrong_answers(self, seed: int) -> Prefers:
        """The conversations to prefer right answers on.

        Raises:
            UserError: the task has no wrong answers.
        """
        raise UserError(f"preferences: the task {self.name} has none; leave preference out of the recipe")

    def crowded_probe(self, split: Split, facts: int, distance: int, seed: int, index: int) -> Told:
        """As :meth:`probe`, where exactly ``facts`` things are told before the question."""
        raise UserError(f"{self.name}: this task cannot say how many facts a conversation tells; ask for none")

    def groups(self, split: Split) -> Mapping[str, Sequence[Told]]:
        """Whole conversations with all their questions, by what they test, where the task has such a list."""
        return {}

    def chance(self, question: Asked) -> float:
        """The share of right answers to be expected of guessing."""
        return 0.0

    def as_evaluated(self) -> Task[Settings]:
        """The task with its usual mix of questions, over all that is trained on."""
        return self

    def with_data(self, names: Sequence[str], validation: Sequence[str]) -> Task[Settings] | None:
        """The task with its data read from there; None when it needs none, and these are something beside it."""
        return None

    def describe(self, share: float) -> str:
        """For the model's card: what was trained on, of which ``share`` of every batch came from here."""
        return f"{self.name} ({share:.0%} of every batch)"


@dataclass(frozen=True)
class Generated(Source):
    """The conversations of a task that makes each of them anew from a number."""

    task: GeneratingTask[Any]
    seed: int

    def conversations(
        self, split: TrainingSplit, step: int, size: int, turns: int, shortest: int = 1
    ) -> Sequence[Told]:
        return [self.task.conversation(split, turns, self.seed, step * size + number) for number in range(size)]

    def long_range(self, split: TrainingSplit, step: int, size: int, turns: int) -> Sequence[Told]:
        return [self.task.long_range(split, turns, self.seed, step * size + number) for number in range(size)]

    def all_conversations(self, generated: int) -> Iterator[Conversation]:
        for index in range(generated):
            yield self.task.conversation("train", TEXT_TURNS, self.seed, index).conversation

    def rephrased(self, rate: float) -> Generated:
        return Generated(self.task.rephrased(rate), self.seed)


class GeneratingTask(Task[Settings]):
    """A task whose conversations are pure functions of (split, number of turns, seed, index)."""

    def source(self, seed: int) -> Source:
        return Generated(self, seed)

    @abstractmethod
    def conversation(self, split: Split, turns: int, seed: int, index: int) -> Told:
        """Conversation number ``index`` of a split."""

    def long_range(self, split: Split, turns: int, seed: int, index: int) -> Told:
        """As :meth:`conversation`; the last turn asks for what the first one told."""
        return self.probe(split, turns - 1, seed, index)

    def rephrased(self, rate: float) -> GeneratingTask[Settings]:
        """The task with so many of its messages in other words, where it has other words."""
        return self


class PreferringTask(GeneratingTask[Settings]):
    """A generating task that knows wrong answers to its questions too."""

    def wrong_answers(self, seed: int) -> Prefers:
        return GeneratedPreferences(self, seed)

    @abstractmethod
    def preferred(
        self, split: TrainingSplit, turns: int, seed: int, index: int, rejected: RejectedMix, neutral_rate: float
    ) -> Told:
        """Conversation number ``index`` of a split, with ``preferences`` beside it."""


@dataclass(frozen=True)
class GeneratedPreferences(Prefers):
    """The preferences of a task that makes each conversation anew from a number."""

    task: PreferringTask[Any]
    seed: int

    def preferences(
        self, split: TrainingSplit, step: int, size: int, turns: int, rejected: RejectedMix, neutral_rate: float
    ) -> list[Told]:
        return [
            self.task.preferred(split, turns, self.seed, step * size + number, rejected, neutral_rate)
            for number in range(size)
        ]


def long_range(first: Conversation, between: Conversation) -> Conversation:
    """A conversation that leaves its topic after the first interaction and returns to it with its second."""
    interactions = (first.interactions[0], *between.interactions, first.interactions[1])
    unlearned = (
        {0} & first.unlearned
        | {1 + turn for turn in between.unlearned}
        | {len(interactions) - 1 for turn in {1} & first.unlearned}
    )
    return Conversation(interactions, first.system, frozenset(unlearned))
