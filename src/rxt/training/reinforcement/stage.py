"""Stage 5, memory reinforcement: play episodes, reward the answers, and make good ones likelier through memory and
words.

An update of the loop is one step of the optimiser. Every ``config.cycle`` updates the policy plays new episodes; what
it said, remembered and earned lies in the learner as data, and the updates that follow learn from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from rxt.data.collate import Conversations
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.training.corpus import Corpus, Split
from rxt.training.learner import ReactiveLearner
from rxt.training.losses import BALANCE_WEIGHT
from rxt.training.process_group import SINGLE_PROCESS, ProcessGroup
from rxt.training.recall import RecallProbe
from rxt.training.reinforcement.config import EpisodePhase, ReinforcementConfig
from rxt.training.reinforcement.critic import value_loss
from rxt.training.reinforcement.episodes import Episode, episodes_of
from rxt.training.reinforcement.evaluator import RewardProbe
from rxt.training.reinforcement.experience import Experience, experience_of, values_of, weighed_together
from rxt.training.reinforcement.learner import ReinforcementLearner
from rxt.training.reinforcement.losses import clipped, clipped_policy_loss, kl_to, memory_change_loss
from rxt.training.reinforcement.policy import token_scores, walk
from rxt.training.reinforcement.replay import Batch
from rxt.training.reinforcement.report import told
from rxt.training.reinforcement.rewards import Reward, reward_of
from rxt.training.reinforcement.rollout import play
from rxt.training.stages.base import BaseStage, EarlyStopping, StageContext, StageLoss
from rxt.training.stages.conversations import conversation_batches, conversation_loss, split_evenly
from rxt.training.unroll import conversation_scores

SILENT_SHARE = 0.95
"""When more answers than this are an [EOS] and nothing else, the policy has collapsed."""


@dataclass(frozen=True)
class Share:
    """One micro-batch of an update: which part of the experiences that lie in the learner."""

    update: int
    """Since the last collection."""
    part: int

    def to(self, device: torch.device) -> Share:
        """The experiences are where the learner is."""
        return self


@dataclass(frozen=True)
class _Part:
    """The episodes of a micro-batch, the memories (L, B, S, D) that they begin with, and the seed of what is drawn."""

    episodes: Sequence[Episode]
    slots: Tensor
    seed: int


@dataclass(frozen=True)
class ReinforcementStage(BaseStage[ReinforcementConfig]):
    """Data: episodes that the policy plays. Trains: what the phase says, and the critic."""

    corpus: Corpus
    template: Template
    config: ReinforcementConfig
    reward: Reward
    evaluator: RecallProbe | RewardProbe
    name: str = "5-reinforcement"

    @classmethod
    def build(cls, config: ReinforcementConfig, context: StageContext) -> Self:
        """Evaluated by recall where generated conversations tell what to ask for, else by rewards."""
        corpus, template, reward = context.corpus, context.template, reward_of(config.reward)
        recall = RecallProbe.of_data(config.recall, template, context.data, context.seed)
        evaluator = recall or RewardProbe(config.recall, corpus, template, config, reward)
        return cls(corpus, template, config, reward, evaluator)

    def curve(self) -> str:
        return "recall"

    def learner_for(self, learner: ReactiveLearner) -> ReinforcementLearner:
        return ReinforcementLearner(learner, self.config.has_critic)

    def unfreeze(self, learner: ReinforcementLearner, step: int) -> None:
        phase, _ = self.config.at(step)
        learner.learn_only(phase.trains)

    def beside(self, learner: ReinforcementLearner) -> Sequence[nn.Module]:
        """The reference."""
        return (learner.reference,)

    def collects(self, step: int) -> bool:
        """At the beginning of every cycle."""
        return self.config.at(step)[1] % self.config.cycle == 0

    def collect(
        self,
        learner: ReinforcementLearner,
        step: int,
        generator: torch.Generator,
        process_group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        """Play the episodes of the next ``config.cycle`` updates, when it is time; each process plays some.

        Raises:
            EarlyStopping: the policy says nothing any more.
            UserError: it said nothing to begin with; nothing can be asked or rewarded.
        """
        if not self.collects(step):
            return
        phase, _ = self.config.at(step)
        learner.eval()
        parts = [
            part
            for number in range(self.config.batches)
            for part in self._parts(learner, phase, step + number, generator)
        ]
        found = process_group.gather(
            [(index, self._play(learner, phase, part)) for index, part in process_group.shard(parts)]
        )
        each = len(parts) // self.config.batches
        played = [experience.to(learner.device) for experience, _ in found]
        fresh = tuple(
            tuple(weighed_together(played[start : start + each], self.config)) for start in range(0, len(played), each)
        )
        self._check(fresh, step)
        left = torch.cat([left for _, left in found], dim=1).to(learner.device)
        learner.store = learner.store.collected(fresh, left, self.config, generator)
        learner.train()

    def _parts(
        self, learner: ReinforcementLearner, phase: EpisodePhase, index: int, generator: torch.Generator
    ) -> list[_Part]:
        """The micro-batches of one update, not played yet."""
        episodes = episodes_of(self.corpus, self.template, self.config, phase, self.reward, "train", index)
        return [
            _Part(
                part,
                self._memories(learner, len(part), phase, generator),
                int(torch.randint(2**62, (), generator=generator)),
            )
            for part in split_evenly(episodes, self.optim.accumulate)
        ]

    def _play(self, learner: ReinforcementLearner, phase: EpisodePhase, part: _Part) -> tuple[Experience, Tensor]:
        """What a micro-batch teaches, and the memories that it leaves, on the CPU, where processes exchange them."""
        played = play(
            learner.model,
            self.template,
            part.episodes,
            part.slots,
            self.config,
            phase.teacher_forcing,
            self.reward,
            part.seed,
        )
        experience = experience_of(played.rollout, learner.reference, learner.critic, self.config)
        return experience.to(torch.device("cpu")), played.left.cpu()

    def _memories(
        self, learner: ReinforcementLearner, count: int, phase: EpisodePhase, generator: torch.Generator
    ) -> Tensor:
        """What the episodes begin with (L, count, S, D): fresh, or what an earlier episode left behind."""
        slots = learner.model.init_memory(count, int(torch.randint(2**62, (), generator=generator))).slots
        goes_on = torch.rand(count, generator=generator) >= phase.reset_rate
        left = learner.store.left
        if left is None or not goes_on.any():
            return slots
        chosen = torch.randint(left.shape[1], (count,), generator=generator).to(left.device)
        return torch.where(goes_on[None, :, None, None].to(slots.device), left[:, chosen], slots)

    def _check(self, fresh: tuple[Batch, ...], step: int) -> None:
        lengths = torch.cat([experience.rollout.lengths for batch in fresh for experience in batch])
        share = float((lengths <= 1).float().mean())
        if share <= SILENT_SHARE:
            return
        found = f"{self.name}: {share:.0%} of the answers at step {step} are nothing but [EOS]"
        if step == 0:
            raise UserError(
                f"{found}: there is nothing to reward; start from a model that answers, such as one of stage 4"
            )
        raise EarlyStopping(found)

    @property
    def made_ahead(self) -> bool:
        """What is trained on may be made with the model as it is."""
        return False

    def batches(self, split: Split, step: int) -> list[Share | Conversations]:
        """For training the parts of the experiences that lie in the learner; for validation conversations, whose
        answers are scored."""
        phase, done = self.config.at(step) if split == "train" else (self.config.phases[-1], 0)
        if split == "validation":
            size, accumulate = phase.batch_size, self.optim.accumulate
            return [*conversation_batches(self.corpus, self.template, split, step, size, phase.turns, accumulate)]
        parts = min(self.optim.accumulate, phase.batch_size)
        return [Share(done % self.config.cycle, part) for part in range(parts)]

    def loss(
        self,
        learner: ReinforcementLearner,
        batch: Share | Conversations,
        all_batches: list[Share | Conversations],
        generator: torch.Generator,
    ) -> StageLoss:
        if isinstance(batch, Conversations):
            slots = learner.model.init_memory(batch.size, int(torch.randint(2**62, (), generator=generator))).slots
            conversations = [each for each in all_batches if isinstance(each, Conversations)]
            return conversation_loss(conversation_scores(learner.model, batch, slots), batch, conversations, "answers")
        experienced = learner.store.batch(batch.update)
        return reinforcement_loss(learner, experienced[batch.part], experienced, self.config)


def reinforcement_loss(
    learner: ReinforcementLearner, experience: Experience, whole: Batch, config: ReinforcementConfig
) -> StageLoss:
    """The part of an update's loss that one micro-batch has; means are over all tokens, answers and episodes of the
    update.

    policy + value − entropy + KL to the reference, for ``impo`` + KL to the sampler + the price of memory changes, +
    the conversations' own answers where they have a weight.
    """
    rollout, weights, model = experience.rollout, config.weights, learner.model
    tokens = sum(len(each.rollout.log_probabilities) for each in whole)
    answers = sum(len(each.rollout.rewards) for each in whole)
    share = rollout.said.size / sum(each.rollout.said.size for each in whole)
    memories = walk(model, rollout, config.window)
    scores = token_scores(model, rollout.answers, rollout.source, memories, config.temperature)
    advantages = experience.advantages[rollout.answer_of_token]
    new, old = scores.log_probabilities, rollout.log_probabilities
    impo = config.algorithm == "impo"
    terms = {
        "policy": clipped_policy_loss(new, old, advantages, weights.clip).sum() / tokens,
        "entropy": scores.entropy.sum() / tokens,
        "kl": kl_to(new, experience.reference).sum() / tokens,
        "step_kl": kl_to(old, new).sum() / tokens,
        "memory_price": memory_change_loss(memories) * share,
    }
    loss = (
        terms["policy"]
        - weights.entropy * terms["entropy"]
        + weights.reference * terms["kl"]
        + BALANCE_WEIGHT * share * scores.balance
    )
    if impo:
        loss = loss + weights.step * terms["step_kl"] + weights.memory * terms["memory_price"]
    if learner.critic is not None:
        terms["value"] = value_loss(values_of(learner.critic, rollout), experience.returns).sum() / answers
        loss = loss + config.critic.weight * terms["value"]
    if weights.supervised:
        wanted = sum(int(each.rollout.wanted.targets.sum()) for each in whole)
        own = token_scores(model, rollout.wanted, rollout.wanted_source, memories)
        terms["supervised"] = -own.log_probabilities.sum() / wanted
        loss = loss + weights.supervised * terms["supervised"]
    clips = clipped(new, old, advantages, weights.clip).sum() / tokens
    metrics = {name: term.detach() for name, term in terms.items()} | {"clipped": clips} | told(whole, config)
    return StageLoss(loss, metrics, rollout.said.rows.tokens + rollout.answers.tokens)
