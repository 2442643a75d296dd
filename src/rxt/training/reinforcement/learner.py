"""What stage 5 trains: the model, its critic, and beside them what a checkpoint of the stage must hold."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from torch import Tensor

from rxt.model.reactive import ReactiveTransformer
from rxt.training.learner import Learner, ReactiveLearner
from rxt.training.patterns import learn_only
from rxt.training.reinforcement.critic import make_critic
from rxt.training.reinforcement.replay import Store

STORE = "store/"
"""Opens the names of the store's tensors in a checkpoint."""


class ReinforcementLearner(Learner):
    """A model that learns from its own answers. The model is the learner's own, so what it learns here stays."""

    def __init__(self, learner: ReactiveLearner, with_critic: bool) -> None:
        """The reference is a frozen copy of the model as it is now, which every start of the stage finds in the stage
        before."""
        super().__init__(learner.vocab_size)
        self.model = learner.model
        self.critic = make_critic(learner.model.encoder) if with_critic else None
        self.to(learner.device)
        self.store = Store()
        self._reference = (
            deepcopy(learner.model).eval().requires_grad_(False),
        )  # in a tuple: it is no part of what learns

    @property
    def reference(self) -> ReactiveTransformer:
        """The model that the stage began with."""
        return self._reference[0]

    def learn_only(self, patterns: Sequence[str]) -> None:
        """Let only the model's parameters learn that the patterns choose, and the critic."""
        learn_only(self.model, patterns)
        if self.critic is not None:
            self.critic.requires_grad_(True)

    def carried(self) -> dict[str, Tensor]:
        """What there is to learn from."""
        return {f"{STORE}{name}": tensor for name, tensor in self.store.tensors().items()}

    def carry(self, tensors: dict[str, Tensor]) -> None:
        """The store becomes the one that was saved, whatever it held."""
        kept = {name.removeprefix(STORE): tensor for name, tensor in tensors.items()}
        self.store = Store.of(kept).to(self.device)
