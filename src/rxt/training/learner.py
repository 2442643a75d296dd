"""What training changes: a model and, beside it, what only training needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import ClassVar

import torch
from torch import Tensor, nn

from rxt.baselines.model import Baseline
from rxt.model.checkpoint import READS, memory_tensors
from rxt.model.heads import MLMHead
from rxt.model.reactive import ReactiveTransformer
from rxt.training.patterns import chosen_names, learn_only
from rxt.training.reading import BaseReader

MODEL = "model."
"""Opens the names of a learner's parameters that are its model's."""


class Learner(nn.Module):
    """Anything that the loop can train."""

    gathered_in_bfloat16: ClassVar[bool] = True
    """Whether processes that hold parts may gather the whole weights in bfloat16, where products are computed in it."""

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

    def carried(self) -> dict[str, Tensor]:
        """What a checkpoint holds beside the weights: the same in every process, and of another shape each time."""
        return {}

    def carry(self, tensors: dict[str, Tensor]) -> None:
        """Have what :meth:`carried` gave in place of what there is."""


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


class GrownLearner(Learner):
    """A Reactive Transformer on a pre-trained base, which stays as it is: the memory's own parameters alone learn, and
    they alone are in a checkpoint."""

    gathered_in_bfloat16 = False
    """What learns is computed with in float32, and the base's matrices may be rounded already."""

    def __init__(self, model: ReactiveTransformer) -> None:
        super().__init__(model.config.decoder.vocab_size)
        self.model = model
        self.reader = BaseReader(model)
        """What the base makes of texts."""
        self.own = frozenset(memory_tensors(model))
        """Names, in the model, of what may learn."""
        self._learn(self.own)

    def unique_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The memory's parameters."""
        return (each for each in super().unique_parameters() if each[0].removeprefix(MODEL) in self.own)

    def weights(self) -> dict[str, Tensor]:
        """The memory's parameters and buffers."""
        return {name: each for name, each in super().weights().items() if name.removeprefix(MODEL) in self.own}

    def learn_only(self, patterns: Sequence[str]) -> None:
        """Let only those of the memory's parameters learn that the patterns choose."""
        self._learn(chosen_names([name for name, _ in self.model.named_parameters()], patterns) & self.own)

    @torch.no_grad()
    def round_base(self) -> None:
        """Hold the base's matrices in bfloat16."""
        for matrix in self.rounded():
            matrix.data = matrix.data.to(torch.bfloat16)

    def rounded(self) -> Iterator[Tensor]:
        """The base's matrices, and what is added to their products. Its embedding stays as it is, since a state begins
        there."""
        for name, module in self.model.decoder.named_modules():
            if isinstance(module, nn.Linear) and set(READS).isdisjoint(name.split(".")):
                yield from (module.weight, *([] if module.bias is None else [module.bias]))

    def _learn(self, names: Set[str]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in names)


class BaselineLearner(Learner):
    """A baseline; all of it learns in every stage."""

    def __init__(self, model: Baseline) -> None:
        super().__init__(model.config.decoder.vocab_size)
        self.model = model


def fresh_slots(learner: ReactiveLearner | GrownLearner, batch_size: int, generator: torch.Generator) -> Tensor:
    """The memories (L, B, S, D) that a batch of conversations starts from."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return learner.model.init_memory(batch_size, seed).slots
