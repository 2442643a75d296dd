"""What stage 5′ minimises, as functions of mean log-probabilities of answers, each given its query and the memory
before it.

Direct preference optimisation is arXiv 2305.18290; the memory before the turn is part of what the answers are
conditioned on.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def margins(accepted: Tensor, rejected: Tensor, reference_accepted: Tensor, reference_rejected: Tensor) -> Tensor:
    """(P,): how much more than the reference the policy prefers the accepted answers, (log π(y_w) − log π(y_l)) − the
    same of π_ref."""
    return (accepted - rejected) - (reference_accepted - reference_rejected)


def preference_loss(margin: Tensor, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """(P,): −(1 − ε)·log σ(β·margin) − ε·log σ(−β·margin); ε is the share of pairs labelled the wrong way round
    (conservative DPO)."""
    return -(1 - label_smoothing) * F.logsigmoid(beta * margin) - label_smoothing * F.logsigmoid(-beta * margin)


def anchor_loss(neutral: Tensor, reference_neutral: Tensor) -> Tensor:
    """(N,): |log π(y_n) − log π_ref(y_n)|: neutral answers stay as likely as they were."""
    return (neutral - reference_neutral).abs()
