"""What the training of a classifier is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from rxt.config import STRICT
from rxt.data.records import OnBad
from rxt.training.config_base import OptimConfig, require

FROZEN_RATE, FINE_RATE = 1e-2, 3e-4
FROZEN_EPOCHS, FINE_EPOCHS = 50, 10
"""Of a head alone, which starts with zeros and costs next to nothing, and of the encoder with it."""


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig:
    """A run that makes a classifier."""

    start: str
    """Whose encoder: a model's folder, or its name on the Hub."""
    data: tuple[str, ...]
    """Sources of texts with labels."""
    validation_data: tuple[str, ...] = ()
    """Sources of those held out; without them a share of ``data`` is."""
    held_out: float = 0.1
    """Share of each class's texts that is held out, one at least."""
    tokenizer: str | None = None
    """A ``tokenizer.json``, or a folder with one, if not the one beside the weights of ``start``."""
    frozen: bool = False
    """Train the head alone."""
    epochs: int | None = None
    """How often every text is learned from; by default FROZEN_EPOCHS or FINE_EPOCHS."""
    batch_size: int = 32
    """Texts in an update."""
    learning_rate: float | None = None
    """By default FROZEN_RATE or FINE_RATE."""
    on_bad: OnBad = "stop"
    seed: int = 0
    log_every: int = 10
    checkpoint_every: int = 100
    keep_checkpoints: int = 2

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require(0 < self.held_out < 1, "held_out", f"must lie between 0 and 1, found {self.held_out}")
        require(self.passes >= 1, "epochs", f"must be at least 1, found {self.epochs}")
        for name in ("batch_size", "log_every", "checkpoint_every", "keep_checkpoints"):
            require(getattr(self, name) >= 1, name, f"must be at least 1, found {getattr(self, name)}")
        require(0 <= self.seed < 2**63, "seed", f"must lie in 0 … 2⁶³ − 1, found {self.seed}")
        self.optim(1)  # refuses a learning rate that cannot be

    @property
    def passes(self) -> int:
        """How often every text is learned from."""
        default = FROZEN_EPOCHS if self.frozen else FINE_EPOCHS
        return default if self.epochs is None else self.epochs

    def optim(self, steps: int) -> OptimConfig:
        """The optimiser of a run of so many updates."""
        rate = self.learning_rate if self.learning_rate is not None else FROZEN_RATE if self.frozen else FINE_RATE
        return OptimConfig(learning_rate=rate, warmup=min(50, steps // 10), beta2=0.999)
