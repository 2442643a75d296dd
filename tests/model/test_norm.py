"""The norm whose gradient is written out, beside PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rxt.model.layers import RMSNorm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3,), (1, 4), (2, 5, 3, 8)])
def test_the_written_out_gradient_is_that_of_the_plain_formula(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    norm = RMSNorm(shape[-1]).to(dtype)
    norm.weight.data.normal_(generator=generator)
    x = torch.randn(shape, generator=generator).to(dtype).requires_grad_()
    grad = torch.randn(shape, generator=generator).to(dtype)
    mine, theirs = norm(x), F.rms_norm(x, shape[-1:], norm.weight)
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)
    with torch.no_grad():
        torch.testing.assert_close(norm(x), theirs, rtol=0, atol=0)
    found = torch.autograd.grad(mine, (x, norm.weight), grad)
    wanted = torch.autograd.grad(theirs, (x, norm.weight), grad)
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def test_a_row_of_zeros_has_a_finite_gradient() -> None:
    x = torch.zeros(2, 4, requires_grad=True)
    RMSNorm(4)(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
