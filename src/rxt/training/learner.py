"""What training changes: a model and, beside it, what only training needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from rxt.baselines.model import Baseline
from rxt.model.heads import MLMHead
from rxt.model.reactive import ReactiveTransformer
from rxt.training.patterns import learn_only


class Learner(nn.Module):
    """Anything that the loop can train."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def unique_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Every parameter once, by its first name."""
        return self.named_parameters(remove_duplicate=True)

    def weights(self) -> dict[str, Tensor]:
        """Every parameter and buffer once; :meth:`load_weights` reads them back."""
        buffers = dict(self.named_buffers())
        return {name: tensor.detach() for name, tensor in [*self.unique_parameters(), *buffers.items()]}

    def load_weights(self, tensors: dict[str, Tensor]) -> None:
        """Copy what :meth:`weights` gave."""
        with torch.no_grad():
            for name, tensor in self.weights().items():
                tensor.copy_(tensors[name])


class ReactiveLearner(Learner):
    """A Reactive Transformer and its masked-language-model head."""

    def __init__(self, model: ReactiveTransformer) -> None:
        vocab_size = model.config.decoder.vocab_size
        super().__init__(vocab_size)
        self.model = model
        self.mlm_head = MLMHead(model.config.decoder.width, vocab_size)
        with torch.no_grad():
            self.mlm_head.head.weight.copy_(model.decoder.embedding.weight)

    def learn_only(self, patterns: Sequence[str], mlm_head: bool = False) -> None:
        """Let only the model's parameters learn that the patterns choose, and the head where it is asked for."""
        learn_only(self.model, patterns)
        self.mlm_head.requires_grad_(mlm_head)


class BaselineLearner(Learner):
    """A baseline; all of it learns in every stage."""

    def __init__(self, model: Baseline) -> None:
        super().__init__(model.config.decoder.vocab_size)
        self.model = model


def fresh_slots(learner: ReactiveLearner, batch_size: int, generator: torch.Generator) -> Tensor:
    """The memories (L, B, S, D) that a batch of conversations starts from."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return learner.model.init_memory(batch_size, seed).slots
