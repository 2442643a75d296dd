"""Stage 3, memory-attention pre-training: from a random memory, learn to mix it with what the encoder found.

Slot s is paired with token s: encoded interactions are padded with zeros, or cut, to S positions for the target (not
for the input, which stays whole). A slot beyond the interaction's end should keep its direction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rxt.data.collate import Conversations
from rxt.training.config_base import OptimConfig, PhaseSummary, StageConfig, StageSummary, require, require_size
from rxt.training.corpus import Split
from rxt.training.learner import ReactiveLearner, fresh_slots
from rxt.training.losses import memory_target_loss
from rxt.training.stages.base import CorpusStage, StageLoss
from rxt.training.stages.conversations import conversation_batches
from rxt.training.unroll import cut_graph

LEAST_WEIGHT = 0.05


@dataclass(frozen=True, kw_only=True)
class MemoryPretrainConfig(StageConfig):
    """Stage 3: memory attention learns to mix old memory and encoded interaction."""

    kind: Literal["memory_pretrain"] = "memory_pretrain"
    steps: int
    batch_size: int
    turns: int = 6
    optim: OptimConfig = field(default_factory=OptimConfig)
    first_weight: float = 0.9
    """w₀, of the encoded interaction in the first target: the memory is still random there."""
    weight: float = 0.5
    weight_decay_per_turn: float = 0.05
    """w_t = weight − weight_decay_per_turn·t, never below 0.05."""
    jitter: float = 0.15
    noise: float = 0.05
    """Standard deviation, on inputs and on targets."""
    difference_penalty: float = 0.0
    """c of the optional c·√(t+1)·MSE(new, old)."""

    def __post_init__(self) -> None:
        require_size(self.steps, self.batch_size)
        require(self.turns >= 1, "memory_pretrain.turns", f"must be at least 1, found {self.turns}")
        require(0 <= self.jitter <= 1, "memory_pretrain.jitter", f"must lie in [0, 1], found {self.jitter}")
        require(self.noise >= 0, "memory_pretrain.noise", f"cannot be negative, found {self.noise}")

    def summary(self) -> StageSummary:
        phase = PhaseSummary(self.steps, self.batch_size, "conversations", "memory attention", self.turns)
        return StageSummary("−cosine to a weighted mean of old memory and encoded interaction", (phase,))


@dataclass(frozen=True)
class MemoryPretrainStage(CorpusStage[MemoryPretrainConfig]):
    """Data: conversations. Trains: the memory attention alone, one update at a time."""

    name: str = "3-memory-pretrain"

    def curve(self) -> str:
        return "cosine"

    def batches(self, split: Split, step: int) -> list[Conversations]:
        return conversation_batches(
            self.corpus, self.template, split, step, self.config.batch_size, self.config.turns, self.optim.accumulate
        )

    def unfreeze(self, learner: ReactiveLearner, step: int) -> None:
        learner.learn_only(("memory_attention",))

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
            turn_loss = memory_target_loss(new, slots, target, self.weight(turn, generator).to(slots.device))
            similarity = similarity - turn_loss.detach() * share
            if self.config.difference_penalty:
                turn_loss = turn_loss + self.config.difference_penalty * (turn + 1) ** 0.5 * F.mse_loss(new, slots)
            loss = loss + turn_loss * share
            slots = new
        return StageLoss(loss, {"cosine": similarity}, batch.rows.tokens)

    def weight(self, turn: int, generator: torch.Generator) -> Tensor:
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
