import itertools
import math

import pytest
import torch
from torch import Tensor

from rxt.errors import UserError
from rxt.generation.sampling import Sampling, SamplingBatch, sample

DRAWS = 40_000


def naive_distribution(logits: list[float], sampling: Sampling, seen: set[int]) -> list[float]:
    """One row, in plain Python: the probability of every token."""
    scores = list(logits)
    for token in seen:
        scores[token] = (
            scores[token] / sampling.repetition_penalty
            if scores[token] > 0
            else scores[token] * sampling.repetition_penalty
        )
    scores = [score / sampling.temperature for score in scores]
    order = sorted(range(len(scores)), key=lambda token: -scores[token])
    if sampling.top_k is not None:
        order = order[: sampling.top_k]
    weights = {token: math.exp(scores[token] - scores[order[0]]) for token in order}
    kept, mass, total = [], 0.0, sum(weights.values())
    for token in order:
        if sampling.top_p is not None and mass >= sampling.top_p:
            break
        kept.append(token)
        mass += weights[token] / total
    if sampling.min_p is not None:
        kept = [token for token in kept if weights[token] >= sampling.min_p * weights[order[0]]]
    total = sum(weights[token] for token in kept)
    return [weights[token] / total if token in kept else 0.0 for token in range(len(scores))]


def naive_sample(logits: Tensor, sampling: Sampling, generator: torch.Generator | None, seen: Tensor) -> Tensor:
    """One row (1, V), option by option."""
    scores = logits.float()
    penalty = sampling.repetition_penalty
    scores = torch.where(seen, torch.where(scores > 0, scores / penalty, scores * penalty), scores)
    if sampling.temperature == 0:
        return scores.argmax(-1)
    scores = (scores - scores.amax(-1, keepdim=True)) / sampling.temperature
    tokens = torch.arange(scores.shape[-1])[None]
    if sampling.top_k is not None or sampling.top_p is not None or sampling.min_p is not None:
        scores, tokens = scores.sort(dim=-1, descending=True, stable=True)
        kept = torch.arange(scores.shape[-1])[None] < (sampling.top_k or scores.shape[-1])
        if sampling.top_p is not None:
            probabilities = scores.masked_fill(~kept, -math.inf).softmax(-1)
            kept = kept & (probabilities.cumsum(-1) - probabilities < sampling.top_p)
        if sampling.min_p:
            kept = kept & (scores >= math.log(sampling.min_p))
        scores = scores.masked_fill(~kept, -math.inf)
    noise = torch.empty_like(scores).exponential_(generator=generator)
    choice = (scores - noise.clamp_(min=torch.finfo(noise.dtype).tiny).log_()).argmax(-1, keepdim=True)
    return tokens.gather(-1, choice).squeeze(-1)


def draw(logits: Tensor, sampling: Sampling, seen: Tensor | None = None) -> Tensor:
    """The share of every token among many draws of one row."""
    rows = logits.expand(DRAWS, -1)
    tokens = sample(
        rows, sampling, [sampling.generator(logits.device)], None if seen is None else seen.expand(DRAWS, -1)
    )
    return torch.bincount(tokens, minlength=logits.shape[-1]) / DRAWS


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1.0, seed=1),
        Sampling(0.5, seed=2),
        Sampling(1.7, top_k=3, seed=3),
        Sampling(1.0, top_p=0.7, seed=4),
        Sampling(1.0, top_p=1e-9, seed=5),
        Sampling(1.0, min_p=0.2, seed=6),
        Sampling(1.2, top_k=6, top_p=0.8, min_p=0.1, seed=7),
        Sampling(0.8, top_p=0.9, repetition_penalty=1.8, seed=8),
        Sampling(1e-30, seed=9),
    ],
)
def test_draws_follow_the_naive_distribution(sampling: Sampling) -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 1.5, -3.0, 1.0, 0.9, -0.2])
    seen = torch.zeros(8, dtype=torch.bool)
    seen[[0, 1]] = True
    expected = torch.tensor(naive_distribution(logits.tolist(), sampling, {0, 1}))
    found = draw(logits, sampling, seen)
    assert torch.equal(found > 0, expected > 0)
    assert (found - expected).abs().max() < 0.012  # five standard deviations of a share of 0.5


def test_greedy_takes_the_best_of_every_row() -> None:
    logits = torch.randn(16, 50, generator=torch.Generator().manual_seed(0))
    assert sample(logits, Sampling()).tolist() == [max(range(50), key=row.__getitem__) for row in logits.tolist()]


def test_penalty_is_exact_and_turns_a_greedy_choice() -> None:
    logits = torch.tensor([[3.0, 2.0, -1.0], [3.0, 2.0, -1.0], [-1.0, -1.4, -9.0]])
    seen = torch.tensor([[True, False, True], [False, True, True], [True, False, False]])
    assert sample(logits, Sampling(repetition_penalty=1.6), seen=seen).tolist() == [1, 0, 1]  # 3/1.6 < 2; -1·1.6 < -1.4
    assert sample(logits, Sampling(repetition_penalty=1.39), seen=seen).tolist() == [0, 0, 0]
    assert logits[0, 0] == 3  # the caller's logits are untouched


def test_frequency_counts_and_presence_does_not() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0]])
    said = torch.tensor([[3, 1, 0]])
    for sampling, expected in (
        (Sampling(frequency_penalty=0.4), 0),  # 3 - 1.2 = 1.8 > 2 - 0.4 = 1.6
        (Sampling(frequency_penalty=0.6), 1),  # 3 - 1.8 = 1.2 < 2 - 0.6 = 1.4
        (Sampling(frequency_penalty=1.5), 2),  # -1.5, 0.5 < 1
        (Sampling(presence_penalty=1.9), 0),  # 1.1, 0.1, 1
        (Sampling(presence_penalty=2.1), 2),  # 0.9, -0.1, 1
        (Sampling(presence_penalty=1.0, frequency_penalty=0.2), 0),  # 1.4, 0.8, 1
        (Sampling(frequency_penalty=-1.0), 0),
    ):
        assert sample(logits, sampling, said=said).tolist() == [expected], sampling
    assert logits.tolist() == [[3.0, 2.0, 1.0]]


def test_rows_are_drawn_independently() -> None:
    logits = torch.zeros(2000, 2)
    tokens = sample(logits, Sampling(1.0), [torch.Generator().manual_seed(0)])
    assert 850 < int(tokens.sum()) < 1150


def test_seed_repeats_draws_and_another_seed_changes_them() -> None:
    logits = torch.zeros(64, 100)

    def with_seed(seed: int) -> list[int]:
        sampling = Sampling(1.0, seed=seed)
        return sample(logits, sampling, [sampling.generator(logits.device)]).tolist()

    assert with_seed(3) == with_seed(3)
    assert with_seed(3) != with_seed(4)


def test_impossible_tokens_are_never_drawn() -> None:
    logits = torch.full((5000, 3), -math.inf)
    logits[:, 1] = 0
    assert set(sample(logits, Sampling(1.0)).tolist()) == {1}


def test_ties_at_the_border_of_top_k_keep_exactly_k() -> None:
    tokens = sample(torch.zeros(3000, 10), Sampling(1.0, top_k=4, seed=0), [torch.Generator().manual_seed(0)])
    assert len(set(tokens.tolist())) == 4


def test_rows_in_a_batch_draw_what_each_draws_alone() -> None:
    every = [
        Sampling(temperature, top_k, top_p, min_p, penalty, seed)
        for seed, (temperature, top_k, top_p, min_p, penalty) in enumerate(
            itertools.product((0.0, 0.7, 1.3), (None, 1, 5), (None, 0.6), (None, 0.0, 0.1), (1.0, 1.7))
        )
    ]
    draw = torch.Generator().manual_seed(5)
    generators = [sampling.generator(torch.device("cpu")) for sampling in every]
    alone = [sampling.generator(torch.device("cpu")) for sampling in every]
    options = SamplingBatch.of(every, torch.device("cpu"))
    for _ in range(4):  # a row goes on from its own random numbers
        logits = 2 * torch.randn(len(every), 60, generator=draw)
        seen = torch.rand(len(every), 60, generator=draw) < 0.3
        expected = [
            int(naive_sample(logits[row : row + 1], sampling, alone[row], seen[row : row + 1]))
            for row, sampling in enumerate(every)
        ]
        assert sample(logits, options, generators, seen).tolist() == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", 0),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("min_p", 1.5),
        ("repetition_penalty", 0.0),
        ("seed", -1),
    ],
)
def test_a_bad_value_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(UserError, match=f"^{field} must be .*found {value}"):
        Sampling(**{field: value})  # type: ignore[arg-type]
