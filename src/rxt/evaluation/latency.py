"""What a turn costs, by how many turns came before it: time to the first and the last token, time to remember, bytes
kept.

Every model is timed in the same conversation of random tokens (cost does not depend on what is said). At every turn one
model comes after another, all timings of one in a row: after a model that has read for half a minute the next one finds
cold caches, which in a chat of its own it would not. A turn has ``query_tokens`` of prompt and ``answer_tokens`` that
the model writes, greedily and without stopping at [EOS].
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from rxt.config import SpecialTokens
from rxt.errors import UserError
from rxt.generation.generate import generate_tokens
from rxt.model.reactive import ReactiveTransformer


@dataclass(frozen=True)
class TurnCost:
    """One turn, measured once. Times in seconds, from the moment when the query is there."""

    first_token: float
    last_token: float
    update: float
    """After the last token, until the next query can be taken; with a memory, until it is projected."""
    state_bytes: int
    """What is kept between this turn and the next."""
    tokens: int
    """Positions that went through a network."""


@dataclass(frozen=True)
class Seconds:
    """The median of the repeats, the fastest and the slowest."""

    median: float
    fastest: float
    slowest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Seconds:
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class TurnTimes:
    """One turn, measured some times."""

    first_token: Seconds
    last_token: Seconds
    update: Seconds
    state_bytes: int
    tokens: int


@dataclass(frozen=True)
class CostCurve:
    """One model's cost by turn, counted from 1."""

    name: str
    parameters: int
    turns: dict[int, TurnTimes]


@dataclass(frozen=True)
class LatencyResult:
    """What was measured, and how: the JSON of the suite."""

    model: str
    threads: int
    query_tokens: int
    answer_tokens: int
    repeats: int
    decoder_only_layers: int
    """Of the model to compare with: the base, or one that is as large as the Reactive Transformer."""
    subjects: tuple[CostCurve, ...]
    """The Reactive Transformer first."""
    base: str | None = None
    """The pre-trained model to compare with; None where it is one of equal size with random weights."""


class Timed(ABC):
    """One conversation of a model with itself, that can be timed where it stands."""

    name: str
    parameters: int

    @abstractmethod
    def skip(self, interactions: Tensor) -> None:
        """Take n finished interactions (n, query + answer tokens) into the state, untimed."""

    @abstractmethod
    def turn(self, query: Tensor, answer_tokens: int) -> TurnCost:
        """Time the next turn, the query (1, T). The conversation stays where it was, so a turn can be timed again."""


class TimedReactive(Timed):
    """The Reactive Transformer as a chat runs it: tokens are streamed, then the interaction is memorized and the new
    memory projected, for the next query to find it so."""

    name = "Reactive Transformer"

    def __init__(self, model: ReactiveTransformer, seed: int) -> None:
        self.model = model.eval()
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        self._memory = model.init_memory(1, seed)

    @torch.no_grad()
    def skip(self, interactions: Tensor) -> None:
        for ids in interactions:
            self._memory = self.model.memorize(self._memory, ids[None])

    @torch.no_grad()
    def turn(self, query: Tensor, answer_tokens: int) -> TurnCost:
        memory_kv, said = self.model.decoder.project_filled(self._memory.slots), list[int]()
        clock = Stopwatch()
        for token in generate_tokens(
            self.model, query, self._memory, answer_tokens, stop_at_eos=False, memory_kv=memory_kv
        ):
            said.append(int(token))
            clock.token()
        began = time.perf_counter()
        ids = torch.cat([query, torch.tensor([said])], 1)
        memory = self.model.memorize(self._memory, ids)
        self.model.decoder.project_next(memory_kv, memory.slots)
        update = time.perf_counter() - began
        decoded, encoded = ids.shape[1] - 1, ids.shape[1]  # the last token of an answer is not read by the decoder
        return TurnCost(clock.first, clock.last, update, memory.nbytes, decoded + encoded)


class Stopwatch:
    """Started when it is made; told of every token of an answer."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.first = self.last = 0.0
        """Seconds to the first and to the latest token."""

    def token(self) -> None:
        """Another token is there."""
        self.last = time.perf_counter() - self._began
        self.first = self.first or self.last


def measure_latency(
    subjects: Sequence[Timed],
    tokens: SpecialTokens,
    vocab_size: int,
    turns: Sequence[int],
    query_tokens: int,
    answer_tokens: int,
    repeats: int,
    warm_up: int,
    seed: int,
    report: Callable[[int], None] = lambda done: None,
) -> list[CostCurve]:
    """The cost curve of every subject at ``turns`` (rising, from 1), each the median of ``repeats``; ``report`` hears
    of each timing.

    The first ``warm_up`` timings of every turn are thrown away.
    """
    special = {token for token in vars(tokens).values() if token is not None}
    words = torch.tensor([token for token in range(vocab_size) if token not in special])
    generator = torch.Generator().manual_seed(seed)
    shape = (turns[-1], query_tokens + answer_tokens)
    history = words[torch.randint(len(words), shape, generator=generator)]
    found: list[dict[int, TurnTimes]] = [{} for _ in subjects]
    done = 0
    for turn in turns:
        for subject in subjects:
            subject.skip(history[done : turn - 1])
        done = turn - 1
        query = history[done:turn, :query_tokens]
        for subject, curve in zip(subjects, found, strict=True):
            costs = list[TurnCost]()
            for _ in range(warm_up + repeats):
                costs.append(subject.turn(query, answer_tokens))
                report(1)
            curve[turn] = _times(costs[warm_up:])
    return [CostCurve(subject.name, subject.parameters, curve) for subject, curve in zip(subjects, found, strict=True)]


def check_lengths(query_tokens: int, answer_tokens: int, max_length: int) -> None:
    """Refuse turns that the model cannot take."""
    if query_tokens < 1 or answer_tokens < 1:
        raise UserError(
            f"a turn has at least one token of query and one of answer, found {query_tokens} and {answer_tokens}"
        )
    if query_tokens + answer_tokens > max_length:
        needed = f"{query_tokens} tokens of query and {answer_tokens} of answer"
        raise UserError(f"{needed} do not fit: an interaction of this model has at most {max_length} tokens")


def _times(costs: Sequence[TurnCost]) -> TurnTimes:
    return TurnTimes(
        Seconds.of([cost.first_token for cost in costs]),
        Seconds.of([cost.last_token for cost in costs]),
        Seconds.of([cost.update for cost in costs]),
        costs[-1].state_bytes,
        costs[-1].tokens,
    )
