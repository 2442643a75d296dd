"""What the stages minimise."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

BALANCE_WEIGHT = 0.01
"""Of the load-balancing loss of mixture-of-experts models, in every stage that decodes."""


def memory_target_loss(new: Tensor, old: Tensor, encoded: Tensor, weight: Tensor) -> Tensor:
    """Stage 3: −cosine between each new slot and the weighted mean (1 − w)·old + w·encoded, averaged.

    All are (L, B, S, D); ``encoded`` has been padded or cut to S positions, so slot s is paired with token s.
    """
    target = (1 - weight) * old + weight * encoded
    return -F.cosine_similarity(new, target, dim=-1).mean()
