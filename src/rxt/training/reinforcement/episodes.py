"""Which episodes are played: conversations by strategy, and which of their interactions the policy answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rxt.data.encoding import encode_conversation
from rxt.data.records import Conversation, Interaction
from rxt.data.said import spoken_in
from rxt.data.template import Encoded, Template
from rxt.errors import UserError
from rxt.tasks.base import Question
from rxt.training.corpus import Corpus, Split
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
    drawn = corpus.questioned(split, index, phase.batch_size, phase.turns, phase.strategy == "long-range")
    found = [_episode(each.conversation, each.questions, template, config, reward) for each in drawn]
    asking = [episode for episode in found if any(step.answered for step in episode)]
    if not asking:
        raise UserError(
            f"5-reinforcement: none of {len(found)} episodes has a question that the reward {reward.name} can judge "
            f"after {config.warm_up} interactions; give conversations with references, or another reward"
        )
    filled = (asking[number % len(asking)] for number in range(len(found)))
    return sorted(filled, key=len, reverse=True)


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
        wanted_text = spoken_in(interaction)
        can = bool(wanted_text.strip()) and reward.applies_to(wanted_text, question)
        steps.append(Step(reference, interaction, wanted and can, question))
    return [*system, *steps]
