"""What stage 5 has at hand between two collections: fresh and old experiences, and memories that episodes left behind.

All of it is tensors, so that a checkpoint can hold it and a resumed run learns from the very same answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from rxt.data.collate import Conversations, Rows
from rxt.training.reinforcement.config import ReinforcementConfig
from rxt.training.reinforcement.experience import Experience
from rxt.training.reinforcement.rollout import Rollout

Batch = tuple[Experience, ...]
"""The experiences of one update, one a micro-batch."""


@dataclass(frozen=True)
class Store:
    """A value: what there is to learn from after a collection."""

    batches: tuple[Batch, ...] = ()
    """One for each update of an epoch."""
    old: tuple[Batch, ...] = ()
    """For replay, the oldest first."""
    ages: tuple[int, ...] = ()
    """Collections since each of the old ones was fresh."""
    left: Tensor | None = None
    """(L, C, S, D): memories that the last episodes left behind."""

    def collected(
        self, fresh: tuple[Batch, ...], left: Tensor, config: ReinforcementConfig, generator: torch.Generator
    ) -> Store:
        """The store after a collection: the fresh batches and some old ones, and what is kept for later."""
        replay = config.replay
        known = [(batch, age + 1) for batch, age in zip(self.old, self.ages, strict=True) if age + 1 <= replay.age]
        pool = [batch for batch, _ in known] or list(fresh)
        again = tuple(pool[int(torch.randint(len(pool), (), generator=generator))] for _ in range(replay.batches))
        kept = [*known, *((batch, 0) for batch in fresh)][-replay.capacity :] if replay.batches else []
        return Store((*fresh, *again), tuple(batch for batch, _ in kept), tuple(age for _, age in kept), left)

    def batch(self, update: int) -> Batch:
        """What update number ``update`` after the collection learns from."""
        return self.batches[update % len(self.batches)]

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name."""
        found: dict[str, Tensor] = {} if self.left is None else {"left": self.left}
        found["ages"] = torch.tensor(self.ages, dtype=torch.long)
        for kind, batches in (("batches", self.batches), ("old", self.old)):
            for number, batch in enumerate(batches):
                for part, experience in enumerate(batch):
                    found |= {f"{kind}.{number}.{part}.{name}": tensor.clone() for name, tensor in _parts(experience)}
        return found

    @staticmethod
    def of(tensors: dict[str, Tensor]) -> Store:
        """What :meth:`tensors` gave."""
        kinds: dict[str, dict[int, dict[int, dict[str, Tensor]]]] = {"batches": {}, "old": {}}
        for key, tensor in tensors.items():
            if "." in key:
                kind, number, part, name = key.split(".", 3)
                kinds[kind].setdefault(int(number), {}).setdefault(int(part), {})[name] = tensor
        batches, old = (
            tuple(tuple(_experience(parts[part]) for part in sorted(parts)) for _, parts in sorted(found.items()))
            for found in kinds.values()
        )
        return Store(batches, old, tuple(tensors["ages"].tolist()), tensors.get("left"))

    def to(self, device: torch.device) -> Store:
        """The same on a device."""
        return Store.of({name: tensor.to(device) for name, tensor in self.tensors().items()})


def _parts(experience: Experience) -> Iterator[tuple[str, Tensor]]:
    rollout = experience.rollout
    yield "alive", torch.tensor(rollout.said.alive)
    for name, rows in (
        ("said", rollout.said.rows),
        ("answers", rollout.answers),
        ("wanted", rollout.wanted),
        ("context", rollout.context),
    ):
        for field in ("ids", "mask", "targets"):
            yield f"{name}.{field}", getattr(rows, field)
    for name in ("before", "source", "log_probabilities", "rewards", "distance", "wanted_source"):
        yield name, getattr(rollout, name)
    for name in ("reference", "advantages", "returns"):
        yield name, getattr(experience, name)


def _experience(parts: dict[str, Tensor]) -> Experience:
    def rows(name: str) -> Rows:
        return Rows(parts[f"{name}.ids"], parts[f"{name}.mask"], parts[f"{name}.targets"])

    rollout = Rollout(
        said=Conversations(rows("said"), tuple(parts["alive"].tolist())),
        before=parts["before"],
        answers=rows("answers"),
        source=parts["source"],
        log_probabilities=parts["log_probabilities"],
        rewards=parts["rewards"],
        distance=parts["distance"],
        wanted=rows("wanted"),
        wanted_source=parts["wanted_source"],
        context=rows("context"),
    )
    return Experience(rollout, parts["reference"], parts["advantages"], parts["returns"])
