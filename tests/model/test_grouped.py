"""The grouped matrix product against a plain loop, values and gradients; groups without rows are never read."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rxt.config import MoEConfig
from rxt.model.feed_forward import MixtureOfExperts
from rxt.model.grouped import _has_kernel, active_groups, add_to_groups, grouped_matmul, groups_as_batch
from rxt.model.learned_groups import group_by_group

COUNTS = [2, 0, 3, 0, 1, 0]
ENDS = torch.tensor([2, 2, 5, 5, 6, 6], dtype=torch.int32)


def naive(rows: Tensor, weights: Tensor) -> Tensor:
    """Row by row."""
    groups = [group for group, count in enumerate(COUNTS) for _ in range(count)]
    return torch.stack(
        [torch.stack([(row * column).sum() for column in weights[g].T]) for row, g in zip(rows, groups, strict=True)]
    )


def operands(inner: int, outer: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    rows = torch.randn(6, inner, dtype=dtype, requires_grad=True)
    return rows, torch.randn(6, inner, outer, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("product", [grouped_matmul, group_by_group])
@pytest.mark.parametrize(
    ("inner", "outer", "dtype", "kernel"),
    [
        (8, 12, torch.float32, True),
        (7, 5, torch.float32, False),
        (8, 12, torch.float64, False),
        (7, 5, torch.float64, False),
    ],
)
def test_naive_twin(product, inner: int, outer: int, dtype: torch.dtype, kernel: bool) -> None:  # type: ignore[no-untyped-def]
    rows, weights = operands(inner, outer, dtype)
    assert _has_kernel(rows, weights) == (kernel and hasattr(torch.nn.functional, "grouped_mm"))
    found, expected = product(rows, weights, ENDS), naive(rows, weights)
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(expected)
    for mine, theirs in zip(
        *(torch.autograd.grad(output, [rows, weights], direction) for output in (found, expected)), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(("inner", "outer"), [(8, 12), (7, 5)])
@torch.no_grad()
def test_without_gradients_there_is_a_loop_of_its_own(inner: int, outer: int) -> None:
    rows, weights = operands(inner, outer, torch.float64)
    expected = naive(rows, weights)
    for product in (active_groups, grouped_matmul, torch.ops.rxt.grouped_matmul):
        torch.testing.assert_close(product(rows, weights, ENDS), expected)
    torch.library.opcheck(
        torch.ops.rxt.grouped_matmul, (rows.detach(), weights.detach(), ENDS), test_utils="test_faketensor"
    )


@pytest.mark.parametrize("counts", [[2, 1, 3, 1, 1, 2], [2, 0, 3, 1, 1, 1], [2, 0, 3, 0, 1, 0], [0, 9, 0, 0, 0, 0]])
@torch.no_grad()
def test_groups_in_one_batch_are_groups_one_by_one(counts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    ends, weights = (
        torch.tensor(counts, dtype=torch.int32).cumsum(0, dtype=torch.int32),
        torch.randn(6, 8, 12, dtype=torch.float64),
    )
    rows = torch.randn(sum(counts), 8, dtype=torch.float64)
    expected = group_by_group(rows, weights, ends)
    torch.testing.assert_close(groups_as_batch(rows, weights, ends, max(counts)), expected)
    batches: list[int] = []
    monkeypatch.setattr(
        "rxt.model.grouped.groups_as_batch", lambda *given: batches.append(given[3]) or groups_as_batch(*given)
    )
    torch.testing.assert_close(active_groups(rows, weights, ends), expected)
    assert batches == ([max(counts)] if sum(map(bool, counts)) >= 5 else []), "only where nearly all groups have rows"


@pytest.mark.parametrize(("inner", "outer"), [(8, 12), (7, 5)])
def test_groups_without_rows_are_not_read(inner: int, outer: int) -> None:
    rows, weights = operands(inner, outer, torch.float32)
    with torch.no_grad():
        weights[1], weights[3], weights[5] = torch.nan, torch.nan, torch.nan
    found = grouped_matmul(rows, weights, ENDS)
    assert found.isfinite().all()
    with torch.no_grad():
        assert torch.equal(grouped_matmul(rows, weights, ENDS), found)
    (gradient,) = torch.autograd.grad(found.square().sum(), [rows])
    assert gradient.isfinite().all()


def test_autocast_multiplies_in_its_own_precision() -> None:
    rows, weights = operands(8, 16, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = grouped_matmul(rows, weights, ENDS)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), naive(rows, weights), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("counts", [COUNTS, [0, 33, 1, 64, 31, 0], [0, 0, 0, 0, 0, 90], [40, 20, 0, 3, 1, 2]])
def test_groups_in_steps_are_those_of_their_own_size(counts: list[int]) -> None:
    """In bfloat16, where a product takes in a group's neighbours: numbers that it holds, and sums that float32 does."""
    ends = torch.tensor(counts).cumsum(0).to(torch.int32)
    rows, weights, direction = (
        torch.randint(-3, 4, shape).float().requires_grad_()
        for shape in ((sum(counts), 8), (6, 8, 16), (sum(counts), 16))
    )
    expected = group_by_group(rows, weights, ends)
    of_expected = torch.autograd.grad(expected, [rows, weights], direction)
    with torch.autocast("cpu", torch.bfloat16):
        found = grouped_matmul(rows, weights, ends)
    assert found.grad_fn is not None
    assert "SteppedGroups" in found.grad_fn.name()
    assert torch.equal(found, expected.bfloat16())
    for mine, theirs in zip(
        torch.autograd.grad(found, [rows, weights], direction.bfloat16()), of_expected, strict=True
    ):
        assert torch.equal(mine, theirs.bfloat16().float())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_bias_of_groups_is_one_of_rows(dtype: torch.dtype) -> None:
    groups = torch.repeat_interleave(torch.arange(6), torch.tensor(COUNTS))
    made_of, direction = torch.randint(-3, 4, (6, 5)).to(dtype), torch.randint(-3, 4, (6, 5)).to(dtype)
    bias = torch.randint(-3, 4, (6, 5)).to(torch.promote_types(dtype, torch.float32)).requires_grad_()
    made_of.requires_grad_()
    expected = (made_of * 2).to(bias.dtype) + bias[groups]
    of_expected = torch.autograd.grad(expected, [made_of, bias], direction.to(bias.dtype))
    found = add_to_groups(made_of * 2, bias, groups, ENDS)
    assert found.dtype == dtype
    assert torch.equal(found.to(bias.dtype), expected)
    assert all(map(torch.equal, torch.autograd.grad(found, [made_of, bias], direction), of_expected))
    with torch.no_grad():
        assert torch.equal(add_to_groups(made_of * 2, bias, groups, ENDS).to(bias.dtype), expected)


@pytest.mark.parametrize("tokens", [1, 40])
def test_experts_in_float32_are_those_in_float64(tokens: int) -> None:
    """The kernel's path through the whole block beside the loop's, gradients of every weight too."""
    module = MixtureOfExperts(8, MoEConfig(12, experts=6, top_k=2, shared_experts=1))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.6)
    exact = MixtureOfExperts(8, module.config).double()
    exact.load_state_dict(module.state_dict())
    x = torch.randn(1, tokens, 8)
    found, balance = module(x)
    expected, expected_balance = exact(x.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    assert balance is not None
    assert expected_balance is not None
    (found.square().sum() + balance).backward()
    (expected.square().sum() + expected_balance).backward()
    for (name, mine), theirs in zip(module.named_parameters(), exact.parameters(), strict=True):
        assert mine.grad is not None, name
        assert theirs.grad is not None, name
        torch.testing.assert_close(
            mine.grad.double(), theirs.grad, rtol=1e-3, atol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_who_asks_for_no_balance_gets_none_and_the_same_output() -> None:
    module = MixtureOfExperts(8, MoEConfig(12, experts=6, top_k=2))
    x = torch.randn(2, 3, 8)
    output, balance = module(x, balanced=False)
    assert balance is None
    assert torch.equal(output, module(x)[0])
