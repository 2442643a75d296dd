"""The type that a stage's products are computed in: float32, or bfloat16 under autocast, with weights, their gradients
and the optimiser in float32.

A GPU that has bfloat16 computes in it unless told otherwise. On a processor it depends on more than what it can do:
where matrices are small, rounded copies cost as much as products gain (:mod:`rxt.training.faster_products` times
both).
"""

from __future__ import annotations

from typing import Literal

import torch

Products = Literal["float32", "bfloat16"]
Dtype = Literal["auto", "float32", "bfloat16"]
"""What may be asked for; ``auto``: what is faster."""


def autocast(device: torch.device, products: Products) -> torch.autocast:
    """Inside, products are computed in this type."""
    return torch.autocast(device.type, torch.bfloat16, enabled=products == "bfloat16")


def products_of(device: torch.device) -> Products:
    """What a device computes in unless told otherwise."""
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
