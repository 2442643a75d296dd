"""Stage 3, memory-attention pre-training: from a random memory, learn to mix it with what the encoder found.

Slot s is paired with token s: encoded interactions are padded with zeros, or cut, to S positions for the target (not
for the input, which stays whole). A slot beyond the interaction's end should keep its direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from rxt.data.collate import Conversations, collate_conversations
from rxt.data.template import Template
from rxt.training.config import MemoryPretrainConfig, OptimConfig
from rxt.training.corpus import Corpus, Split, encode_conversation
from rxt.training.learner import ReactiveLearner, fresh_slots
from rxt.training.losses import memory_target_loss
from rxt.training.stages.base import Evaluator, StageLoss
from rxt.training.unroll import cut_graph

T = TypeVar("T")

LEAST_WEIGHT = 0.05


@dataclass(frozen=True)
class MemoryPretrainStage:
    """Data: conversations. Trains: the memory attention alone, one update at a time."""

    corpus: Corpus
    template: Template
    config: MemoryPretrainConfig
    name: str = "3-memory-pretrain"
    evaluator: Evaluator[ReactiveLearner] | None = None

    @property
    def steps(self) -> int:
        return self.config.steps

    @property
    def optim(self) -> OptimConfig:
        return self.config.optim

    def batches(self, split: Split, step: int) -> list[Conversations]:
        return conversation_batches(
            self.corpus, self.template, split, step, self.config.batch_size, self.config.turns, self.optim.accumulate
        )

    def unfreeze(self, learner: ReactiveLearner, step: int) -> None:
        learner.train_parts(("memory_attention",))

    def loss(
        self,
        learner: ReactiveLearner,
        batch: Conversations,
        all_batches: list[Conversations],
        generator: torch.Generator,
    ) -> StageLoss:
        model = learner.model
        slots = fresh_slots(learner, batch.size, generator)
        similarity = slots.new_zeros(())
        loss = slots.new_zeros(())
        updates = sum(len(part.rows) for part in all_batches)
        for turn, rows in enumerate(batch.turns()):
            interaction = batch.rows[rows]
            slots = cut_graph(slots[:, : len(interaction)])
            with torch.no_grad():
                encoded = model.encoder(
                    interaction.ids, interaction.mask, slots if model.encoder.reads_memory else None
                )
            new = model.memory_attention(slots, noisy(encoded, self.config.noise, generator), interaction.mask)
            share = len(interaction) / updates
            target = noisy(fit_to_slots(encoded, slots.shape[2]), self.config.noise, generator)
            turn_loss = memory_target_loss(new, slots, target, self._weight(turn, generator).to(slots.device))
            similarity = similarity - turn_loss.detach() * share
            if self.config.difference_penalty:
                turn_loss = turn_loss + self.config.difference_penalty * (turn + 1) ** 0.5 * F.mse_loss(new, slots)
            loss = loss + turn_loss * share
            slots = new
        return StageLoss(loss, {"cosine": similarity}, batch.rows.tokens)

    def _weight(self, turn: int, generator: torch.Generator) -> Tensor:
        """w_t with its jitter: the share of the encoded interaction in the target after turn t."""
        config = self.config
        weight = (
            config.first_weight if turn == 0 else max(LEAST_WEIGHT, config.weight - config.weight_decay_per_turn * turn)
        )
        return weight * (1 + config.jitter * (2 * torch.rand((), generator=generator) - 1))


def fit_to_slots(encoded: Tensor, slots: int) -> Tensor:
    """(L, B, T, D) -> (L, B, S, D): zeros after the end, or cut."""
    return F.pad(encoded, (0, 0, 0, max(0, slots - encoded.shape[2])))[:, :, :slots]


def noisy(x: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise of a standard deviation."""
    return x + scale * torch.randn(x.shape, generator=generator).to(x)


def conversation_batches(
    corpus: Corpus,
    template: Template,
    split: Split,
    step: int,
    size: int,
    turns: int,
    accumulate: int,
    paraphrase_rate: float | None = None,
) -> list[Conversations]:
    """A step's conversations as tensors, in at most ``accumulate`` micro-batches."""
    encoded = [
        encode_conversation(conversation, template)
        for conversation in corpus.conversations(split, step, size, turns, paraphrase_rate)
    ]
    return [collate_conversations(part, template.tokens.pad) for part in split_evenly(encoded, accumulate)]


def split_evenly(items: list[T], parts: int) -> list[list[T]]:
    """At most ``parts`` lists of nearly equal size, in order."""
    bounds = [round(index * len(items) / parts) for index in range(parts + 1)]
    return [items[start:stop] for start, stop in pairwise(bounds) if stop > start]
