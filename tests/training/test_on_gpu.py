"""What training asks of a GPU: attention that keeps no scores, steps of one kernel, compiled layers."""

from __future__ import annotations

import pytest
import torch
from micro import AWARE, OPTIM, RUN, learner, stages
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from rxt.config import AttentionConfig
from rxt.model.attention import Attention
from rxt.training.compiled import compile_layers
from rxt.training.loop import update
from rxt.training.optim import make_optimizer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda")
BATCH, TOKENS, WIDTH = 2, 48, 64


def looked_up(attention: Attention, x: Tensor, mask: Tensor | None, causal: bool) -> tuple[Tensor, Tensor]:
    """What is looked up, and the gradient of its sum."""
    x = x.detach().requires_grad_()
    found = attention(x, attention.keys_values(x), mask=mask, causal=causal)
    return found, torch.autograd.grad(found.float().sum(), x)[0]


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize(
    ("masked", "kernels"),
    [
        (False, [SDPBackend.FLASH_ATTENTION]),
        (True, [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]),
    ],
    ids=["flash", "with a mask"],
)
def test_no_attention_keeps_its_scores(kv_heads: int, masked: bool, kernels: list[SDPBackend]) -> None:
    """Where none of these kernels can be taken, PyTorch raises."""
    attention = Attention(WIDTH, AttentionConfig(4, 4, kv_heads)).to(CUDA)
    x = torch.randn(BATCH, TOKENS, WIDTH, device=CUDA)
    mask = (
        torch.arange(TOKENS, device=CUDA)[None, None, None]
        < torch.tensor([TOKENS, 30], device=CUDA)[:, None, None, None]
    )
    arguments = (mask if masked else None, not masked)
    with sdpa_kernel(SDPBackend.MATH):
        expected = looked_up(attention, x, *arguments)
    with sdpa_kernel(kernels), torch.autocast("cuda", torch.bfloat16):
        found = looked_up(attention, x, *arguments)
    for each, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(each.float(), exact, rtol=3e-2, atol=3e-2)


def test_steps_are_fused() -> None:
    subject = learner().to(CUDA)
    assert all(group["fused"] for group in make_optimizer(subject, OPTIM).param_groups)


def test_every_stage_learns_there_as_on_a_processor() -> None:
    """Products in bfloat16 there, so not to the last digit; what is drawn is drawn alike."""
    losses = list[list[float]]()
    for device in (torch.device("cpu"), CUDA):
        subject = learner().to(device)
        optimizer = make_optimizer(subject, OPTIM)
        losses.append([float(sum(loss.loss for loss in update(stage, subject, optimizer, 0, 0))) for stage in stages()])
    assert losses[1] == pytest.approx(losses[0], rel=3e-2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # of PyTorch's own compiler
def test_compiled_layers_learn_the_same() -> None:
    """In bfloat16, so not to the last digit."""
    losses = list[list[float]]()
    for compiled in (False, True):
        (stage,) = stages(RUN.having(AWARE))[3:]
        subject = learner().to(CUDA)
        if compiled:
            compile_layers(subject)
        optimizer = make_optimizer(subject, OPTIM)
        losses.append(
            [float(sum(loss.loss for loss in update(stage, subject, optimizer, 0, step))) for step in range(8)]
        )
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)
