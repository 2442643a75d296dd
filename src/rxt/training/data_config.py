"""Where a run's data comes from: frozen, validated dataclasses. This file needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import ConfigDict

from rxt.config import STRICT
from rxt.tasks.babi import BabiConfig
from rxt.tasks.everyday import EverydayConfig
from rxt.training.config_base import require


@dataclass(frozen=True)
class DataConfig:
    """Where conversations come from. Evaluation data is never trained on: its files and its split are apart."""

    everyday_share: float = 1.0
    """Of every batch, from the generator of everyday conversations; the rest comes from ``files``."""
    files: tuple[str, ...] = ()
    """Conversation files (JSON Lines, gzipped or not, Parquet) or hub dataset ids."""
    validation_files: tuple[str, ...] = ()
    """When ``files`` are given without these, one conversation in 50 is held out of them."""
    on_bad: Literal["stop", "skip"] = "stop"
    """Whether a bad record stops the run or is counted and skipped."""
    everyday: EverydayConfig = field(default_factory=EverydayConfig)
    """How the generated conversations that are trained on are mixed; validation has the usual mix."""
    babi: BabiConfig | None = None
    """When given, the only one of ``files`` is a folder of bAbI tasks, mixed like this."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require(
            0 <= self.everyday_share <= 1, "data.everyday_share", f"must lie in [0, 1], found {self.everyday_share}"
        )
        if self.babi is not None:
            require(
                len(self.files) <= 1 and not self.validation_files,
                "data.files",
                "must be the one folder of the bAbI tasks, --data DIR",
            )
            require(
                self.everyday_share == 0,
                "data.everyday_share",
                f"must be 0 beside bAbI tasks, found {self.everyday_share}",
            )
            return
        require(
            self.everyday_share == 1 or bool(self.files),
            "data.files",
            f"are needed for everyday_share {self.everyday_share}",
        )
        require(bool(self.files) or not self.validation_files, "data.files", "are needed beside data.validation_files")
