"""Stage 5 on the micro model: short answers, rewards that cost nothing, and what tests need to look inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from micro import JOINT, MODEL, OPTIM, RUN, learner, mixed_data, template

from rxt.config import RxTConfig
from rxt.tasks.base import Question
from rxt.tasks.everyday import EverydayConfig
from rxt.training.config import RunConfig
from rxt.training.config_base import RecallConfig
from rxt.training.corpus import Corpus
from rxt.training.recall import RecallProbe
from rxt.training.reinforcement.config import EpisodePhase, ReinforcementConfig
from rxt.training.reinforcement.episodes import Episode, episodes_of
from rxt.training.reinforcement.learner import ReinforcementLearner
from rxt.training.reinforcement.rewards import Answered, Reward
from rxt.training.reinforcement.rollout import Played, play
from rxt.training.reinforcement.stage import ReinforcementStage

PHASE = EpisodePhase(steps=6, turns=5, batch_size=3)
RECALL = RecallConfig(every=100, distances=(1, 2), questions=2, special=0, max_score_drop=1.0, keep="last")
CONFIG = ReinforcementConfig(phases=(PHASE,), optim=OPTIM, longest_answer=5, recall=RECALL)
DATA = mixed_data(everyday=EverydayConfig(question_rate=0.6))
REINFORCED = replace(RUN, stages=(replace(JOINT, steps=0), CONFIG), data=DATA)
"""From fresh weights: stage 1 has no updates."""


@dataclass(frozen=True)
class Letters:
    """Rewards an answer by its letters: something of everything, and the same for the same text."""

    name: str = "letters"
    heard: list[Answered] = field(default_factory=list)

    def applies_to(self, reference: str, question: Question | None) -> bool:
        return True

    def __call__(self, answers: Sequence[Answered]) -> list[float]:
        self.heard.extend(answers)
        return [sum(map(ord, each.answer)) % 101 / 10 for each in answers]


def reward_by_letters(answers: list[tuple[str, str, str, str]]) -> list[float]:
    """The same as a function that a recipe can name."""
    return [sum(map(ord, answer)) % 101 / 10 for _, answer, _, _ in answers]


def corpus(run: RunConfig = REINFORCED) -> Corpus:
    return Corpus.load(run.data, run.seed)


def episodes(config: ReinforcementConfig = CONFIG, reward: Reward | None = None, index: int = 0) -> list[Episode]:
    return episodes_of(corpus(), template(), config, config.phases[0], reward or Letters(), "train", index)


def reinforcement_learner(
    config: ReinforcementConfig = CONFIG, model: RxTConfig = MODEL, double: bool = False
) -> ReinforcementLearner:
    """With random weights everywhere, so that nothing is zero by accident."""
    base = learner(model, double=double)
    with torch.no_grad():
        for parameter in base.model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    made = ReinforcementLearner(base, config.has_critic)
    made = made.double() if double else made
    if made.critic is not None:
        with torch.no_grad():
            made.critic.head.weight.normal_(std=0.3)
    return made


def played(
    subject: ReinforcementLearner,
    config: ReinforcementConfig = CONFIG,
    teacher_forcing: bool = False,
    seed: int = 5,
    reward: Reward | None = None,
) -> Played:
    subject.eval()
    found = episodes(config, reward)
    slots = subject.model.init_memory(len(found), 3).slots
    return play(subject.model, template(), found, slots, config, teacher_forcing, reward or Letters(), seed)


def stage(
    config: ReinforcementConfig = CONFIG, reward: Reward | None = None, run: RunConfig = REINFORCED
) -> ReinforcementStage:
    evaluator = RecallProbe.of_mix(config.recall, template(), run.data.tasks[0], run.seed)
    return ReinforcementStage(corpus(run), template(), config, reward or Letters(), evaluator)
