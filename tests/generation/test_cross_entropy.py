"""Cross-entropy beside PyTorch's, gradients too, also where it is large."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rxt.generation.cross_entropy import cross_entropy, none_likelier


@pytest.mark.parametrize(("dtype", "scale"), [(torch.float64, 1), (torch.float32, 3), (torch.float32, 100)])
@pytest.mark.parametrize("numbers", [2**19, 20])
def test_naive_twin(dtype: torch.dtype, scale: float, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxt.generation.cross_entropy.NUMBERS", numbers)  # 20: two rows at a time
    logits = (torch.randn(6, 9, dtype=dtype) * scale).requires_grad_()
    targets, weights = torch.randint(9, (6,)), torch.rand(6, dtype=dtype)
    found, expected = cross_entropy(logits, targets), F.cross_entropy(logits, targets, reduction="none")
    assert found.grad_fn is not None
    assert "CrossEntropy" in found.grad_fn.name()
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad((loss * weights).sum(), logits)[0] for loss in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(cross_entropy(logits.detach(), targets), expected.detach())


def test_what_is_nearly_impossible_has_a_finite_loss() -> None:
    logits = torch.tensor([[0.0, 300.0], [0.0, -300.0]], requires_grad=True)
    found = cross_entropy(logits, torch.tensor([0, 0]))
    assert found.tolist() == [300.0, 0.0]
    (slopes,) = torch.autograd.grad(found.sum(), logits)
    assert slopes.tolist() == [[-1.0, 1.0], [0.0, 0.0]]


def test_rounded_logits_have_losses_in_float32() -> None:
    logits = torch.randn(5, 7).bfloat16().requires_grad_()
    targets = torch.randint(7, (5,))
    found, expected = cross_entropy(logits, targets), F.cross_entropy(logits.float(), targets, reduction="none")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(loss.sum(), logits)[0] for loss in (found, expected)]
    torch.testing.assert_close(*slopes)


def test_no_targets_have_no_loss() -> None:
    logits = torch.randn(0, 7, requires_grad=True)
    assert cross_entropy(logits, torch.zeros(0, dtype=torch.long)).shape == (0,)


def test_a_target_is_right_where_none_is_likelier() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0], [2.0, 2.0, 1.0]])
    assert none_likelier(logits, torch.tensor([1, 2, 1])).tolist() == [True, False, True]
