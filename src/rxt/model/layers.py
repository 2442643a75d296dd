"""Norms and rotary positions: the small pieces every block uses."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rxt.config import Activation, AttentionConfig, Norm


class RMSNorm(nn.RMSNorm):
    """x / √(mean(x²) + ε) · weight over the last dimension, D."""

    def __init__(self, width: int, eps: float | None = None) -> None:
        super().__init__(width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.dtype != self.weight.dtype:  # rounded by autocast
            x = x.to(self.weight.dtype)
        return rms_norm(x, self.weight, self.eps)


def learns_on_cpu(*tensors: Tensor) -> bool:
    """Whether a gradient is wanted of what is made of these tensors, on a CPU and by no compiled code: gradients that
    are written out have fewer passes over memory there."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return wanted and tensors[0].device.type == "cpu" and not torch.compiler.is_compiling()


def rms_norm(x: Tensor, weight: Tensor, eps: float | None = None) -> Tensor:
    """x / √(mean(x²) + ε) · weight (D,) over the last dimension of x (…, D).

    PyTorch has a kernel of its own for it on GPUs alone. On a CPU its gradient goes through many small ones, which in
    training took a fifth of the time; here it is written out.
    """
    exact = x.dtype == weight.dtype and x.dtype in (torch.float32, torch.float64)
    if not exact or not learns_on_cpu(x, weight):
        return F.rms_norm(x, weight.shape, weight, eps)
    return _RMSNorm.apply(x, weight, torch.finfo(x.dtype).eps if eps is None else eps)  # pyright: ignore[reportReturnType]


class _RMSNorm(torch.autograd.Function):
    """With n = x / r, r = √(mean(x²) + ε): dL/dx = (g·w − n · mean(g·w·n)) / r and dL/dw = Σ g·n.

    This is the gradient of LayerNorm around a mean of 0, for which a CPU has one kernel, but for what a mean that is
    not constant subtracts: mean(g·w) / r, which is added again.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # which would round the sum
            squares = torch.linalg.vecdot(x, x).unsqueeze(-1)
        scale = (squares / x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, scale, weight)
        return (x * scale).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, scale, weight = ctx.saved_tensors
        width, mean = x.shape[-1], torch.zeros_like(scale)
        of_x, of_weight, _ = torch.ops.aten.native_layer_norm_backward.default(
            grad, x, (width,), mean, scale, weight, None, (True, True, False)
        )
        with torch.autocast(x.device.type, enabled=False):
            subtracted = (grad @ (weight / width)).unsqueeze(-1).mul_(scale)
        return of_x.add_(subtracted), of_weight, None


def make_embedding(words: int, width: int) -> nn.Embedding:
    """A table of words (V, D), drawn from N(0, 1 / D).

    On the meta device nothing is drawn: that would load PyTorch's compiler, which takes as long as PyTorch itself.
    """
    if torch.get_default_device().type == "meta":
        return nn.Embedding.from_pretrained(torch.empty(words, width), freeze=False)
    embedding = nn.Embedding(words, width)
    nn.init.normal_(embedding.weight, std=width**-0.5)
    return embedding


def rounded_once(x: Tensor) -> Tensor:
    """What several products read, rounded as autocast would round it for each of them; on a GPU, and without autocast,
    ``x`` itself."""
    if x.device.type == "cpu" and x.dtype == torch.float32 and torch.is_autocast_enabled("cpu"):
        return x.to(torch.get_autocast_dtype("cpu"))
    return x


def make_norm(kind: Norm, width: int, eps: float | None = None) -> nn.Module:
    """A norm over the last dimension, with a learned scale (and shift, for LayerNorm)."""
    if kind == "rms":
        return RMSNorm(width, eps)
    return nn.LayerNorm(width) if eps is None else nn.LayerNorm(width, eps)


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Apply an activation by its configured name."""
    match activation:
        case "silu":
            return F.silu(x)
        case "relu":
            return F.relu(x)
        case "gelu":
            return F.gelu(x)
        case "sigmoid":
            return torch.sigmoid(x)
        case "linear":
            return x


class Rotation(NamedTuple):
    """Cosines and sines that turn the pairs of a head; each (B or 1, 1, T, Hd / 2)."""

    cos: Tensor
    sin: Tensor


def rotation_at(positions: Tensor, head_dim: int, base: float, factors: tuple[float, ...] | None = None) -> Rotation:
    """The turns of RoPE at ``positions`` (T,) or (B, T): pair i turns by position · base^(−2i/Hd) / factors[i]."""
    pairs = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32)
    speeds = base ** (-pairs / head_dim)  # (Hd/2,)
    if factors is not None:
        speeds = speeds / torch.tensor(factors, device=positions.device)
    angles = positions.float().unsqueeze(-1) * speeds  # (…, T, Hd/2)
    angles = angles.reshape(-1, 1, *angles.shape[-2:])
    return Rotation(angles.cos(), angles.sin())


def rotation_of(attention: AttentionConfig, width: int, positions: Tensor) -> Rotation | None:
    """The turns that an attention block makes at ``positions``; None where it makes none."""
    if not attention.rotated:
        return None
    return rotation_at(positions, attention.head_size(width), attention.rope_base, attention.rope_factors)


def rotations_of(
    own: AttentionConfig, cross: AttentionConfig, width: int, positions: Tensor
) -> tuple[Rotation | None, Rotation | None]:
    """The turns of self-attention and of memory cross-attention: computed once where they are alike."""
    rotation, alike = rotation_of(own, width, positions), own.rope_base == cross.rope_base
    alike = alike and own.rotated == cross.rotated and own.head_size(width) == cross.head_size(width)
    alike = alike and own.rope_factors == cross.rope_factors
    return rotation, rotation if alike else rotation_of(cross, width, positions)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn the interleaved pairs (2i, 2i+1) of ``x`` (B, H, T, Hd)."""
    cos, sin = rotation.cos.to(x.dtype), rotation.sin.to(x.dtype)
    pairs = x.unflatten(-1, (-1, 2))
    # One product, written twice, since neither way is fast everywhere. Run as it stands, complex numbers are one
    # kernel, ten times as fast as the parts over a sequence. Compiled, the parts fuse with what is around them, while
    # complex numbers do not: the compiler warns of them, and decoding is an eighth slower. bfloat16 has only parts,
    # whose every other number a CPU reads slowly: there it goes through float32.
    if torch.compiler.is_compiling():
        pass
    elif x.dtype in (torch.float32, torch.float64):
        return torch.view_as_real(torch.view_as_complex(pairs) * torch.complex(cos, sin)).flatten(-2)
    elif x.device.type == "cpu":
        return rotate(x.float(), rotation).to(x.dtype)
    even, odd = pairs.unbind(-1)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)
