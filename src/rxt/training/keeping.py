"""A base keeps what it can do: its own answers to its own questions stay as likely as they were, whatever is
remembered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import ConfigDict
from torch import Tensor

from rxt.config import STRICT
from rxt.data.collate import Rows
from rxt.data.markup import Encoded
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.files import make_folder, write_atomically
from rxt.generation.frozen_head import divergence
from rxt.generation.own_words import own_interactions
from rxt.model.reactive import ReactiveTransformer
from rxt.tasks.base import TrainingSplit
from rxt.training.config_base import require
from rxt.training.file_sources import held_out, pick
from rxt.training.memories import Memories
from rxt.training.reading import BaseReader


@dataclass(frozen=True)
class KeepConfig:
    """How a base keeps what it can do."""

    interactions: int = 256
    """Questions that it makes up and answers, before training begins; one in 50 is for validation."""
    batch_size: int = 8
    """Of them, in an update."""
    weight: float = 1.0
    """Of their divergence, beside the loss of the conversations."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require(self.interactions >= 2, "keep.interactions", f"must be at least 2, found {self.interactions}")
        require(self.batch_size >= 1, "keep.batch_size", f"must be at least 1, found {self.batch_size}")
        require(self.weight > 0, "keep.weight", f"must be positive, found {self.weight}; keep=null leaves it out")


class OwnWords:
    """A base's own interactions, made once and kept in a file."""

    def __init__(self, path: Path, config: KeepConfig, seed: int) -> None:
        self.path, self.config, self.seed = path, config, seed
        self._by_split: dict[TrainingSplit, list[Encoded]] = {}

    def make(self, model: ReactiveTransformer, template: Template) -> None:
        """Let the base of ``model`` make them up, unless the file has them.

        Raises:
            UserError: it makes up fewer than two.
        """
        if not self.path.exists():
            made = own_interactions(model, template, self.config.interactions, self.seed)
            make_folder(self.path.parent)
            write_atomically(self.path, json.dumps([[each.ids, each.loss] for each in made]).encode())
        found = [Encoded(*each) for each in json.loads(self.path.read_text(encoding="utf-8"))]
        if len(found) < 2:
            raise UserError(
                "the base makes up no questions: leave out what keeps its answers, --set adaptation.keep=null"
            )
        train, validation = held_out(found, "interaction of the base's own")
        self._by_split = {"train": train, "validation": validation}

    def of_step(self, split: TrainingSplit, step: int) -> list[Encoded]:
        """Those of a step."""
        return pick(self._by_split[split], step, self.config.batch_size, f"{self.seed} {split} own words")


def change(reader: BaseReader, rows: Rows, slots: Tensor) -> Tensor:
    """KL(base ‖ model) (N,) in nats, for every target of rows (R, T) out of memories ``slots`` (L, R, S, D)."""
    decoder, found = reader.model.decoder, list[Tensor]()
    for group in rows.with_little_padding():
        part = rows[group]
        below, scored = reader.below(part), part.targets[:, 1:]
        teacher = reader.said(part, below)[:, :-1][scored]
        states = decoder.hidden(part.ids, slots[:, group], part.mask, below=below).states[:, :-1][scored]
        found.append(divergence(decoder.head, states, teacher))
    return torch.cat(found)


def some_memories(memories: Memories, count: int, generator: torch.Generator) -> Tensor:
    """Memories (L, ``count``, S, D) to read out of: each is fresh or, as likely, from anywhere in conversations.

    No gradient goes there: what is written is for the conversations to say.
    """
    chosen = torch.randint(len(memories), (count,), generator=generator)
    fresh = torch.randint(2, (count,), generator=generator) == 0
    with torch.no_grad():
        return memories.some(chosen.masked_fill(fresh, 0))
