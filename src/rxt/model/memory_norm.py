"""The norms inside the memory attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rxt.config import MemoryNormConfig
from rxt.model.layers import rms_norm


class MemoryNorm(nn.Module):
    """A norm over D: RMS, LayerNorm, or RMS by a running mean square; plain, or mixed with its input by a learned
    gate."""

    mean_square: Tensor

    def __init__(self, config: MemoryNormConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if config.kind == "layer" else None
        self.mix = nn.Parameter(torch.tensor(float(config.mix_init))) if config.mixed else None
        if config.kind == "ema-rms":  # a statistic of training, like BatchNorm's: fixed when the model is used
            self.register_buffer("mean_square", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        match self.config.kind:
            case "rms":
                normed = rms_norm(x, self.weight)
            case "layer":
                normed = nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias)
            case "ema-rms":
                if self.training:
                    mean_square = x.detach().float().square().mean().to(self.mean_square.dtype)
                    self.mean_square.lerp_(mean_square, 1 - self.config.decay)
                normed = x * torch.rsqrt(self.mean_square + torch.finfo(x.dtype).eps) * self.weight
        if self.mix is None:
            return normed
        share = torch.sigmoid(self.mix)
        return share * normed + (1 - share) * x
