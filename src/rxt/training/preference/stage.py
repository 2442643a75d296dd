"""Stage 5′, DMPO: prefer the accepted answer to the rejected one, both out of the memory of the turns before.

Per turn −log σ(β·[(log π(y_w) − log π(y_l)) − (log π_ref(y_w) − log π_ref(y_l))]), log-probabilities being means over
the answer's tokens, given the query and the memory (spec: training, stage 5′; direct preference optimisation is arXiv
2305.18290). Only accepted interactions are memorized, and the gradient runs through their memory updates. The frozen
reference reads the same memory, detached.

Preferences alone may make both answers less likely; ``accepted_weight`` adds the accepted answers' −log π, as in RPO
(arXiv 2404.19733, 2405.16436).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from rxt.data.collate import Preferences, collate_preferences
from rxt.data.template import Template
from rxt.generation.sampling import Sampling
from rxt.training.corpus import Split
from rxt.training.learner import ReactiveLearner, fresh_slots
from rxt.training.losses import BALANCE_WEIGHT
from rxt.training.preference.config import PreferenceConfig
from rxt.training.preference.corpus import PreferenceCorpus, encode_ways
from rxt.training.preference.losses import anchor_loss, margins, preference_loss
from rxt.training.preference.own_answers import with_own_answers
from rxt.training.preference.reference import Reference
from rxt.training.preference.scores import policy_scores, score_answers
from rxt.training.recall import RecallProbe
from rxt.training.stages.base import BaseStage, Evaluator, StageContext, StageLoss
from rxt.training.stages.conversations import split_evenly
from rxt.training.unroll import conversation_memories


@dataclass(frozen=True)
class PreferenceStage(BaseStage[PreferenceConfig]):
    """Data: conversations with pairs of answers. Trains: what the configuration says. Evaluated by recall: its loss
    compares, no more."""

    corpus: PreferenceCorpus
    template: Template
    config: PreferenceConfig
    reference: Reference
    evaluator: Evaluator[ReactiveLearner] | None = None
    name: str = "5-preference"

    @classmethod
    def build(cls, config: PreferenceConfig, context: StageContext) -> Self:
        """Its own corpus is read; the reference lies in the stage's folder."""
        read = PreferenceCorpus.load(context.data, config.rejected, context.seed, config.neutral_rate)
        corpus, alike = read.differing(context.template)
        if alike:
            context.warn(f"{alike} pairs are alike in the model's tokens and are only memorized")
        reference = Reference(context.folder / cls.name / "reference")
        evaluator = RecallProbe.of_data(config.recall, context.template, context.data, context.seed)
        return cls(corpus, context.template, config, reference, evaluator)

    def curve(self) -> str:
        return "recall"

    @property
    def made_ahead(self) -> bool:
        """What is trained on may be made with the model as it is."""
        return False

    def beside(self, learner: ReactiveLearner) -> Sequence[nn.Module]:
        """The reference."""
        return (self.reference.of(learner),)

    def batches(self, split: Split, step: int) -> list[Preferences]:
        conversations = self.corpus.conversations(split, step, self.config.batch_size, self.config.turns)
        encoded = [encode_ways(conversation, self.template) for conversation in conversations]
        return [
            collate_preferences(part, self.template.tokens.pad) for part in split_evenly(encoded, self.optim.accumulate)
        ]

    def unfreeze(self, learner: ReactiveLearner, step: int) -> None:
        learner.learn_only(self.config.trains)

    def loss(
        self, learner: ReactiveLearner, batch: Preferences, all_batches: list[Preferences], generator: torch.Generator
    ) -> StageLoss:
        config, pairs, own = self.config, batch.pairs, 0
        share = batch.answers.tokens / sum(part.answers.tokens for part in all_batches)
        slots = fresh_slots(learner, batch.accepted.size, generator)
        memories = conversation_memories(learner.model, batch.accepted, slots, config.window)
        if config.own_temperature is not None and learner.training:  # validation keeps to the same pairs
            seed = int(torch.randint(2**62, (), generator=generator))
            sampling = Sampling(temperature=config.own_temperature, seed=seed)
            batch, own = with_own_answers(learner.model, self.template, batch, memories, sampling, config.own_longest)
        policy = policy_scores(learner.model, batch, memories)
        with torch.no_grad():
            reference = score_answers(
                self.reference.of(learner).decoder, batch.answers, policy.before.detach()
            ).log_probs
        accepted, rejected, neutral = policy.answers.log_probs.split([pairs, pairs, batch.neutral])
        reference_accepted, reference_rejected, reference_neutral = reference.split([pairs, pairs, batch.neutral])
        margin = margins(accepted, rejected, reference_accepted, reference_rejected)

        all_pairs = sum(part.pairs for part in all_batches)
        all_neutral = max(1, sum(part.neutral for part in all_batches))
        changes = batch.accepted.changes / max(1, sum(part.accepted.changes for part in all_batches))
        loss = (
            preference_loss(margin, config.beta, config.label_smoothing) - config.accepted_weight * accepted
        ).sum() / all_pairs
        loss = loss + config.anchor_weight * anchor_loss(neutral, reference_neutral).sum() / all_neutral
        loss = loss + BALANCE_WEIGHT * share * policy.answers.balance
        metrics = {
            "margin": margin.detach().sum() / all_pairs,
            "accuracy": (margin.detach() > 0).sum() / all_pairs,
            "prefers": (accepted > rejected).sum() / all_pairs,
            "accepted": accepted.detach().sum() / all_pairs,
            "accepted_change": (accepted.detach() - reference_accepted).sum() / all_pairs,
            "rejected_change": (rejected.detach() - reference_rejected).sum() / all_pairs,
            "own": torch.tensor(own / all_pairs),
            "memory_change": policy.memory_change * changes,
        }
        return StageLoss(loss, metrics, batch.accepted.rows.tokens)
