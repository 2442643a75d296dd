"""Cross-entropy after a linear head beside PyTorch's, gradients too, also where it is large."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rxt.generation.cross_entropy import cross_entropy, linear_cross_entropy


def gradients(losses: Tensor, weights: Tensor, wanted: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad((losses * weights).sum(), wanted)


@pytest.mark.parametrize(("dtype", "scale"), [(torch.float64, 1), (torch.float32, 1), (torch.float32, 30)])
@pytest.mark.parametrize("numbers", [2**18, 20])
@pytest.mark.parametrize("biased", [True, False])
def test_naive_twin(
    dtype: torch.dtype, scale: float, numbers: int, biased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rxt.generation.cross_entropy.NUMBERS", numbers)  # 20: two rows at a time
    states, weight = torch.randn(7, 4, dtype=dtype) * scale, torch.randn(9, 4, dtype=dtype)
    bias = torch.randn(9, dtype=dtype) if biased else None
    targets, weights = torch.randint(9, (7,)), torch.rand(7, dtype=dtype)
    learned = [each.requires_grad_() for each in (states, weight, bias) if each is not None]
    (found, likeliest), logits = linear_cross_entropy(states, weight, bias, targets), F.linear(states, weight, bias)
    expected = F.cross_entropy(logits, targets, reduction="none")
    assert found.grad_fn is not None
    assert "LinearCrossEntropy" in found.grad_fn.name()
    torch.testing.assert_close(found, expected)
    assert torch.equal(likeliest, logits.argmax(1) == targets)
    slopes = [gradients(losses, weights, learned) for losses in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(states, weight, bias, targets)[0], expected)


def test_what_is_nearly_impossible_has_a_finite_loss() -> None:
    states = torch.tensor([[0.0, 300.0], [0.0, -300.0]], requires_grad=True)
    found, likeliest = linear_cross_entropy(states, torch.eye(2), None, torch.tensor([0, 0]))
    assert found.tolist() == [300.0, 0.0]
    assert likeliest.tolist() == [False, True]
    (slopes,) = torch.autograd.grad(found.sum(), states)
    assert slopes.tolist() == [[-1.0, 1.0], [0.0, 0.0]]


def test_rounded_logits_have_losses_in_float32() -> None:
    """What is rounded beside the products is the slope, once: no gradient is further from the exact one than that."""
    states, weight, bias = torch.randn(40, 32, requires_grad=True), torch.randn(50, 32), torch.randn(50)
    learned, targets = [states, weight.requires_grad_(), bias.requires_grad_()], torch.randint(50, (40,))
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = linear_cross_entropy(states, weight, bias, targets)
        logits = F.linear(states, weight) + bias
    expected = F.cross_entropy(logits, targets, reduction="none")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
    for mine, theirs in zip(*(torch.autograd.grad(each.sum(), learned) for each in (found, expected)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=2**-6, atol=2**-6 * float(theirs.abs().max()))


def test_a_word_that_is_nearly_certain_keeps_its_small_slope() -> None:
    """1 − p is far below what bfloat16 tells apart beside 1."""
    states, bias = torch.tensor([[8.0, 0.0]]).bfloat16().requires_grad_(), torch.zeros(2).bfloat16()
    found, _ = linear_cross_entropy(states, torch.eye(2).bfloat16(), bias, torch.tensor([0]))
    (slopes,) = torch.autograd.grad(found.sum(), states)
    small = float(torch.tensor(-8.0).exp())
    assert slopes[0].tolist() == pytest.approx([-small, small], rel=0.01)


def test_no_targets_have_no_loss() -> None:
    states, weight = torch.randn(0, 3, requires_grad=True), torch.randn(7, 3)
    assert linear_cross_entropy(states, weight, None, torch.zeros(0, dtype=torch.long))[0].shape == (0,)


def test_a_target_is_right_where_none_is_likelier() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0], [2.0, 2.0, 1.0]])
    assert cross_entropy(logits, torch.tensor([1, 2, 1]))[1].tolist() == [True, False, True]
