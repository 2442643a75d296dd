"""Muon with matrices of the same shape together, beside PyTorch's, which takes one after the other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rxt.training import muon

SHAPES = [(4, 6), (6, 4), (4, 6), (5, 5), (4, 6), (6, 4), (3, 9)]


def matrices() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def stepped(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    """Three steps; the fourth matrix learns in the last alone, the last one in none."""
    generator = torch.Generator().manual_seed(1)
    for step in range(3):
        for index, each in enumerate(parameters):
            gradient = torch.randn(each.shape, generator=generator)
            each.grad = None if index == len(parameters) - 1 or (index == 3 and step < 2) else gradient
        optimizer.step()


@pytest.mark.parametrize("together", [muon.TOGETHER, 50, 1])
def test_many_matrices_move_as_each_does_alone(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "TOGETHER", together)  # 50: two of four by six at a time
    mine, theirs = matrices(), matrices()
    batched = muon.Muon([{"params": mine, "share": 1.0}], 0.1, 0.2)
    alone = torch.optim.Muon(theirs, 0.1, 0.2, adjust_lr_fn="match_rms_adamw")
    stepped(batched, mine)
    stepped(alone, theirs)
    moved = max(float((each - start).detach().abs().max()) for each, start in zip(theirs, matrices(), strict=True))
    for each, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(each, other, rtol=0, atol=2**-7 * moved)
        assert batched.state[each].keys() == alone.state[other].keys()
        for name, kept in alone.state[other].items():
            torch.testing.assert_close(batched.state[each][name], kept)
    assert torch.equal(mine[-1], matrices()[-1])


def test_what_is_orthogonalised_has_singular_values_near_one() -> None:
    found = muon.orthogonal(torch.randn(3, 20, 8), (3.4445, -4.7750, 2.0315), 5, 1e-7)
    values = torch.linalg.svdvals(found.float())
    assert values.min() > 0.5
    assert values.max() < 1.5
