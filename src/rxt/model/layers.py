"""Norms and rotary positions: the small pieces every block uses."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rxt.config import Activation, Norm


def make_norm(kind: Norm, width: int) -> nn.Module:
    """A norm over the last dimension, with a learned scale (and shift, for LayerNorm)."""
    return nn.RMSNorm(width) if kind == "rms" else nn.LayerNorm(width)


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


def rotation_at(positions: Tensor, head_dim: int, base: float) -> Rotation:
    """The turns of RoPE at ``positions`` (T,) or (B, T): pair i turns by position · base^(−2i/Hd)."""
    pairs = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32)
    angles = positions.float().unsqueeze(-1) * base ** (-pairs / head_dim)  # (…, T, Hd/2)
    angles = angles.reshape(-1, 1, *angles.shape[-2:])
    return Rotation(angles.cos(), angles.sin())


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn the interleaved pairs (2i, 2i+1) of ``x`` (B, H, T, Hd)."""
    cos, sin = rotation.cos.to(x.dtype), rotation.sin.to(x.dtype)
    pairs = x.unflatten(-1, (-1, 2))
    # One product, written twice, since neither way is fast everywhere. Run as it stands, complex numbers are one
    # kernel, ten times as fast as the parts over a sequence. Compiled, the parts fuse with what is around them, while
    # complex numbers do not: the compiler warns of them, and decoding is an eighth slower. bfloat16 has only parts.
    if x.dtype in (torch.float32, torch.float64) and not torch.compiler.is_compiling():
        return torch.view_as_real(torch.view_as_complex(pairs) * torch.complex(cos, sin)).flatten(-2)
    even, odd = pairs.unbind(-1)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)
