"""Evaluated by rewards, where no generated conversations are there to ask for facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rxt.data.template import Template
from rxt.evaluation.reward import HIGHEST
from rxt.training.config_base import RecallConfig
from rxt.training.corpus import Corpus
from rxt.training.metrics import Metrics
from rxt.training.recall import Remembers
from rxt.training.reinforcement.config import ReinforcementConfig
from rxt.training.reinforcement.episodes import episodes_of
from rxt.training.reinforcement.rewards import Reward
from rxt.training.reinforcement.rollout import play

SEED = 0
"""Of what is drawn: the same model always earns the same."""


@dataclass(frozen=True)
class RewardProbe:
    """Plays the first validation episodes of the last phase, and says what their answers earned."""

    recall: RecallConfig
    """How often, how far it may fall, and which weights are kept; its questions are not asked."""
    corpus: Corpus
    template: Template
    config: ReinforcementConfig
    reward: Reward

    @property
    def every(self) -> int:
        return self.recall.every

    @property
    def max_score_drop(self) -> float:
        return self.recall.max_score_drop

    @property
    def keep(self) -> Literal["best", "last"]:
        return self.recall.keep

    def measure(self, learner: Remembers) -> Metrics:
        """The mean reward, from 0 to 10."""
        phase, model = self.config.phases[-1], learner.model
        episodes = episodes_of(self.corpus, self.template, self.config, phase, self.reward, "validation", 0)
        slots = model.init_memory(len(episodes), SEED).slots
        played = play(model, self.template, episodes, slots, self.config, phase.teacher_forcing, self.reward, SEED)
        return {"reward": float(played.rollout.rewards.mean())}

    def score(self, metrics: Metrics) -> float:
        """The mean reward as a fraction of the highest."""
        return metrics["reward"] / HIGHEST
