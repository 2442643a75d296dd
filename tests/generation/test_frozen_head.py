"""Losses through a frozen head, a few rows at a time, are those of all logits at once, gradients included."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rxt.generation import frozen_head
from rxt.generation.frozen_head import divergence, target_scores
from rxt.model.decoder import TiedHead

WORDS, WIDTH, COUNT = 19, 8, 11
HEADS: dict[str, Callable[[], nn.Module]] = {
    "tied": lambda: TiedHead(nn.Embedding(WORDS, WIDTH)),
    "linear": lambda: nn.Linear(WIDTH, WORDS, bias=False),
    "with a bias": lambda: nn.Linear(WIDTH, WORDS),
}


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(frozen_head, "ROWS", 4)


def states() -> Tensor:
    return torch.randn(COUNT, WIDTH, dtype=torch.double, requires_grad=True)


@pytest.mark.parametrize("name", HEADS)
def test_targets_are_scored_as_by_cross_entropy(name: str) -> None:
    head, given = HEADS[name]().double().requires_grad_(False), states()
    targets, weights = torch.randint(WORDS, (COUNT,)), torch.rand(COUNT, dtype=torch.double)
    logits = head(given)
    expected = F.cross_entropy(logits, targets, reduction="none")
    found, right = target_scores(head, given, targets)
    torch.testing.assert_close(found, expected)
    assert torch.equal(right, logits.argmax(-1) == targets)
    slope, wanted = (torch.autograd.grad((loss * weights).sum(), given)[0] for loss in (found, expected))
    torch.testing.assert_close(slope, wanted)


@pytest.mark.parametrize("name", HEADS)
def test_divergence_from_a_teacher(name: str) -> None:
    head, given, teacher = HEADS[name]().double().requires_grad_(False), states(), states().detach()
    weights = torch.rand(COUNT, dtype=torch.double)
    q = head(teacher).log_softmax(-1)
    expected = F.kl_div(head(given).log_softmax(-1), q, reduction="none", log_target=True).sum(-1)
    found = divergence(head, given, teacher)
    torch.testing.assert_close(found, expected)
    slope, wanted = (torch.autograd.grad((loss * weights).sum(), given)[0] for loss in (found, expected))
    torch.testing.assert_close(slope, wanted)
    assert not divergence(head, given, given.detach()).abs().max() > 1e-12


def test_nothing_to_score() -> None:
    head, given = nn.Linear(WIDTH, WORDS).double().requires_grad_(False), states()[:0]
    nll, right = target_scores(head, given, torch.empty(0, dtype=torch.long))
    assert nll.shape == right.shape == divergence(head, given, given.detach()).shape == (0,)
    nll.sum().backward()


def test_rounded_products_are_near() -> None:
    head = HEADS["tied"]().requires_grad_(False)
    given, targets = states().detach().float().requires_grad_(), torch.randint(WORDS, (COUNT,))
    expected = F.cross_entropy(head(given), targets, reduction="none")
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = target_scores(head, given, targets)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.02)
    slope, wanted = (torch.autograd.grad(loss.sum(), given)[0] for loss in (found, expected))
    torch.testing.assert_close(slope, wanted, atol=0.05, rtol=0.05)
