"""Stage 1, joint pre-training: decoder and encoder learn the language from plain text.

The encoder guesses masked tokens; the decoder predicts the next token while its memory is the encoder's own outputs for
the same text, detached and noisy. So the decoder can see the future: its accuracy here is no measure of quality.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from rxt.data.collate import Rows, collate_rows
from rxt.data.template import Encoded
from rxt.generation.scoring import answer_scores, state_scores
from rxt.training.config_base import OptimConfig, PhaseSummary, StageConfig, StageSummary, require, require_size
from rxt.training.corpus import Split
from rxt.training.learner import ReactiveLearner, fresh_slots
from rxt.training.losses import BALANCE_WEIGHT
from rxt.training.stages.base import CorpusStage, StageLoss
from rxt.training.stages.baseline import BaselineTextStage


@dataclass(frozen=True, kw_only=True)
class LanguageConfig(StageConfig):
    """What stages 1 and 2 are told: decoder and encoder learn the language together."""

    steps: int
    batch_size: int
    """Sequences in an update."""
    reads: ClassVar[str]
    """What the sequences are, in words."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    masked_share: float = 0.15
    """Of the tokens that the encoder has to guess."""
    decoder_weight: float = 1.0
    """α of α·L_AR + β·L_MLM."""
    encoder_weight: float = 1.0
    """β of the same."""
    noise: float = 0.2
    """Standard deviation of what is added to the encoder's outputs before the decoder reads them as its memory."""
    zeroed_share: float = 0.5
    """Of those outputs' positions, set to zero, on average: each text has its own share between 0 and twice this. Texts
    that keep little teach self-attention to do its own work, texts that keep most teach reading."""

    def __post_init__(self) -> None:
        require_size(self.steps, self.batch_size)
        require(
            self.zeroed_share <= 0.5,
            "zeroed_share",
            f"is a mean, and must be at most 0.5, found {self.zeroed_share}",
        )
        for name in ("masked_share", "zeroed_share"):
            require(0 <= getattr(self, name) <= 1, name, f"must lie in [0, 1], found {getattr(self, name)}")
        for name in ("decoder_weight", "encoder_weight", "noise"):
            require(getattr(self, name) >= 0, name, f"cannot be negative, found {getattr(self, name)}")

    def summary(self) -> StageSummary:
        loss = f"{self.decoder_weight:g}·L_AR + {self.encoder_weight:g}·L_MLM"
        phase = PhaseSummary(self.steps, self.batch_size, self.reads, "decoder, encoder, MLM head")
        return StageSummary(loss, (phase,))


@dataclass(frozen=True, kw_only=True)
class JointConfig(LanguageConfig):
    """Stage 1."""

    kind: Literal["joint"] = "joint"
    reads: ClassVar[str] = "plain text"


LENGTH_GROUPS = 2
"""Micro-batches of like length that an update has at least."""
Language = TypeVar("Language", bound=LanguageConfig)


@dataclass(frozen=True)
class LanguageStage(CorpusStage[Language]):
    """A stage that learns the language of single sequences. Trains: everything but the memory attention."""

    name: str = "language"

    @abstractmethod
    def sequences(self, split: Split, step: int) -> Sequence[Encoded]:
        """Which data: the encoded sequences of a step."""

    def curve(self) -> str:
        return "next_token"

    def trains_mlm_head(self) -> bool:
        return True

    def baseline(self) -> BaselineTextStage:
        return BaselineTextStage(self)

    def batches(self, split: Split, step: int) -> list[Rows]:
        rows = collate_rows(self.sequences(split, step), self.template.tokenizer.tokens.pad)
        return split_rows(rows, self.optim.accumulate)

    def unfreeze(self, learner: ReactiveLearner, step: int) -> None:
        learner.learn_only(("decoder", "encoder"), mlm_head=True)

    def loss(
        self, learner: ReactiveLearner, batch: Rows, all_batches: list[Rows], generator: torch.Generator
    ) -> StageLoss:
        return joint_loss(learner, batch, all_batches, self.config, generator)


@dataclass(frozen=True)
class JointStage(LanguageStage[JointConfig]):
    """Data: the texts of whole conversations, or plain texts."""

    name: str = "1-joint"

    def sequences(self, split: Split, step: int) -> Sequence[Encoded]:
        return self.corpus.text(self.template, split, step, self.config.batch_size)


def joint_loss(
    learner: ReactiveLearner, rows: Rows, all_rows: list[Rows], config: LanguageConfig, generator: torch.Generator
) -> StageLoss:
    """α·L_AR + β·L_MLM + 0.01·L_balance, each a mean over all targets of the update."""
    model = learner.model
    hidden_tokens = choose(rows.mask, config.masked_share, generator)
    mask_token = model.config.tokens.mask if model.config.tokens.mask is not None else model.config.tokens.pad
    fresh = fresh_slots(learner, len(rows), generator) if model.encoder.reads_memory else None
    encoded = model.encoder(rows.ids.masked_fill(hidden_tokens, mask_token), rows.mask, fresh)  # (L, B, T, D)
    guesses = learner.mlm_head.states(encoded[-1][hidden_tokens])  # (N, D)
    masked = state_scores(learner.mlm_head.head, guesses, rows.ids[hidden_tokens])[0].sum()

    row_share = 2 * config.zeroed_share * torch.rand(len(rows), 1, generator=generator)
    kept = ~choose(rows.mask, row_share, generator)
    noise = torch.randn(encoded.shape, generator=generator).to(encoded)
    memory = encoded.detach().add(noise, alpha=config.noise).mul_(kept[None, :, :, None])
    hidden = model.decoder.hidden(rows.ids, memory, rows.mask, memory_mask=rows.mask)
    scores = answer_scores(hidden, model.decoder.head, rows, torch.zeros(len(rows), dtype=torch.long))

    targets = sum(int(part.targets[:, 1:].sum()) for part in all_rows)
    real = sum(part.tokens for part in all_rows)
    masked = masked / max(1.0, real * config.masked_share)
    answer = scores.nll.sum() / max(1, targets)
    balance = scores.balance * (rows.tokens / real)
    loss = config.decoder_weight * answer + config.encoder_weight * masked + BALANCE_WEIGHT * balance
    accuracy = scores.correct.sum() / max(1, targets)
    return StageLoss(loss, {"next_token": answer, "masked_token": masked, "accuracy": accuracy}, rows.tokens)


def choose(mask: Tensor, share: float | Tensor, generator: torch.Generator) -> Tensor:
    """(B, T) a random share of the real tokens; ``share`` may be (B, 1), one for every row."""
    return (torch.rand(mask.shape, generator=generator) < share).to(mask.device) & mask


def split_rows(rows: Rows, parts: int) -> list[Rows]:
    """Micro-batches of rows of like length, so that little is padding: ``parts`` of them, or LENGTH_GROUPS if that is
    more."""
    return [rows[group] for group in rows.by_length(max(parts, LENGTH_GROUPS))]
