"""Which episodes are played: conversations by strategy, and which of their interactions the policy answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rxt.data.records import Conversation, Interaction
from rxt.data.template import Encoded, Template
from rxt.errors import UserError
from rxt.tasks.everyday import EverydayConfig, EverydayConversation, Question, generate, long_range_conversation
from rxt.training.corpus import Corpus, Split, encode_conversation
from rxt.training.reinforcement.config import EpisodePhase, ReinforcementConfig
from rxt.training.reinforcement.rewards import Reward


@dataclass(frozen=True)
class Step:
    """One interaction of an episode, or its system prompt."""

    reference: Encoded
    """As the conversation has it."""
    interaction: Interaction | None
    """None is the system prompt."""
    answered: bool
    """The policy answers; else it is only memorized."""
    question: Question | None = None
    """What the data knows of it."""

    @property
    def distance(self) -> int:
        """Turns since the fact asked for was told; 0 where that is not known or it never was."""
        told = None if self.question is None else self.question.told_turn
        return 0 if self.question is None or told is None else self.question.turn - told


Episode = Sequence[Step]


def episodes_of(
    corpus: Corpus,
    template: Template,
    config: ReinforcementConfig,
    phase: EpisodePhase,
    reward: Reward,
    split: Split,
    index: int,
) -> list[Episode]:
    """Batch number ``index`` of a phase, longest episodes first. An episode that asks nothing gives its place to
    another one.

    Raises:
        UserError: no interaction of the batch can be answered and rewarded.
    """
    generated = round(phase.batch_size * corpus.everyday_share)
    mix = corpus.everyday if split == "train" else EverydayConfig()
    everyday = [_everyday(split, phase, corpus.seed, index * generated + number, mix) for number in range(generated)]
    pairs: list[tuple[Conversation, Mapping[int, Question] | None]] = [
        (each.conversation, {question.turn: question for question in each.questions}) for each in everyday
    ]
    pairs += [(each, None) for each in _of_files(corpus, phase, split, index, phase.batch_size - generated)]
    found = [_episode(conversation, questions, template, config, reward) for conversation, questions in pairs]
    asking = [episode for episode in found if any(step.answered for step in episode)]
    if not asking:
        raise UserError(
            f"5-reinforcement: none of {len(found)} episodes has a question that the reward {reward.name} can evaluator after "  # noqa: E501
            f"{config.warm_up} interactions; give conversations with references, or another reward"
        )
    filled = (asking[number % len(asking)] for number in range(len(found)))
    return sorted(filled, key=len, reverse=True)


def _everyday(split: Split, phase: EpisodePhase, seed: int, index: int, mix: EverydayConfig) -> EverydayConversation:
    if phase.strategy == "long-range":
        return long_range_conversation(split, phase.turns, seed, index, mix)
    return generate(split, phase.turns, seed, index, mix)


def _of_files(corpus: Corpus, phase: EpisodePhase, split: Split, index: int, count: int) -> list[Conversation]:
    """Conversations of files, of two interactions at least."""
    if phase.strategy != "long-range":
        return corpus.from_files(split, index, count, phase.turns, shortest=2)
    first = corpus.from_files(split, index, count, 2, shortest=2)
    if phase.turns == 2:
        return first
    between = corpus.from_files(split, index, count, phase.turns - 2)
    # drawn apart: of many conversations it is seldom the same one that lies between
    return [long_range(each, between[(number + 1) % count]) for number, each in enumerate(first)]


def long_range(first: Conversation, between: Conversation) -> Conversation:
    """A conversation that leaves its topic after the first interaction and returns to it with its second."""
    interactions = (first.interactions[0], *between.interactions, first.interactions[1])
    unlearned = (
        {0} & first.unlearned
        | {1 + turn for turn in between.unlearned}
        | {len(interactions) - 1 for turn in {1} & first.unlearned}
    )
    return Conversation(interactions, first.system, frozenset(unlearned))


def _episode(
    conversation: Conversation,
    questions: Mapping[int, Question] | None,
    template: Template,
    config: ReinforcementConfig,
    reward: Reward,
) -> Episode:
    """``questions`` are None where the data does not know them: then every interaction counts as one."""
    encoded = encode_conversation(conversation, template)
    turns = conversation.interactions
    system = [Step(each, None, False) for each in encoded[: len(encoded) - len(turns)]]
    steps: list[Step] = []
    for turn, (interaction, reference) in enumerate(zip(turns, encoded[len(system) :], strict=True)):
        question = None if questions is None else questions.get(turn)
        wanted = config.score == "all" or questions is None or question is not None
        wanted = wanted and turn >= config.warm_up and turn not in conversation.unlearned
        can = bool(interaction.answer.strip()) and reward.applies_to(interaction.answer, question)
        steps.append(Step(reference, interaction, wanted and can, question))
    return [*system, *steps]
