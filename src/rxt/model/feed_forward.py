"""Feed-forward blocks: dense and mixture of experts. Both return ``(output, load-balancing loss or None)``."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rxt.config import Activation, FeedForward, FeedForwardConfig, MoEConfig
from rxt.model.grouped import add_to_groups, grouped_matmul
from rxt.model.layers import activate, learns_on_cpu, rounded_once


def make_feed_forward(width: int, config: FeedForward) -> DenseFeedForward | MixtureOfExperts:
    """The block that a configuration describes."""
    return DenseFeedForward(width, config) if isinstance(config, FeedForwardConfig) else MixtureOfExperts(width, config)


def expand(hidden: Tensor, activation: Activation, gated: bool) -> Tensor:
    """The nonlinearity between the two projections: (…, 2F) -> (…, F) as linear · act(gate), or act alone."""
    if not gated:
        return activate(hidden, activation)
    if activation == "silu" and learns_on_cpu(hidden):
        return _SwiGLU.apply(hidden)  # pyright: ignore[reportReturnType]
    linear, gate = hidden.chunk(2, dim=-1)
    return linear * activate(gate, activation)


class _SwiGLU(torch.autograd.Function):
    """linear · silu(gate). Both gradients are written into the halves of one tensor: as autograd goes through it, they
    are made apart and copied together."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor) -> Tensor:
        linear, gate = hidden.chunk(2, dim=-1)
        activated = F.silu(gate)
        ctx.save_for_backward(hidden, activated)
        return linear * activated

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        hidden, activated = ctx.saved_tensors
        linear, gate = hidden.chunk(2, dim=-1)
        found = torch.empty_like(hidden)
        of_linear, of_gate = found.chunk(2, dim=-1)
        torch.mul(grad, activated, out=of_linear)
        torch.mul(grad, linear, out=of_gate)
        torch.ops.aten.silu_backward.grad_input(of_gate, gate, grad_input=of_gate)
        return found


class DenseFeedForward(nn.Module):
    """SwiGLU by default: fc2(linear · silu(gate)) with (linear, gate) = fc1(x)."""

    def __init__(self, width: int, config: FeedForwardConfig) -> None:
        super().__init__()
        self.config = config
        self.fc1 = nn.Linear(width, config.dim * (2 if config.gated else 1), bias=config.bias)
        self.fc2 = nn.Linear(config.dim, width, bias=config.bias)

    def forward(self, x: Tensor, mask: Tensor | None = None, balanced: bool = True) -> tuple[Tensor, None]:
        """(B, T, D) -> (B, T, D); ``mask`` and ``balanced`` are for the routed kind alone."""
        return self.fc2(expand(self.fc1(x), self.config.activation, self.config.gated)), None


class MixtureOfExperts(nn.Module):
    """Σ wₖ·expertₖ(x) over the K best of E experts, their softmax weights renormalised, plus shared experts.

    Experts are stacked: ``w1`` (E, D, 2F) and ``w2`` (E, F, D), used as ``x @ w1`` (F columns when not gated). This is
    the implementation that trains; ``rxt.model.experts`` has those that take its place for inference.
    """

    def __init__(self, width: int, config: MoEConfig) -> None:
        super().__init__()
        self.config = config
        inner = 2 if config.gated else 1
        self.router = nn.Linear(width, config.experts, bias=False)
        self.w1 = nn.Parameter(torch.empty(config.experts, width, config.dim * inner))
        self.w2 = nn.Parameter(torch.empty(config.experts, config.dim, width))
        self.b1 = _bias(config.bias == "local", config.experts, config.dim * inner)
        self.b2 = _bias(config.bias == "local", config.experts, width)
        self.global_bias = _bias(config.bias == "global", width)
        shared, shared_dim = config.shared_experts, config.shared_dim or config.dim
        self.shared_gate = nn.Linear(width, shared, bias=False) if shared > 1 else None
        self.shared_w1 = nn.Parameter(torch.empty(shared, width, shared_dim * inner)) if shared else None
        self.shared_w2 = nn.Parameter(torch.empty(shared, shared_dim, width)) if shared else None
        self.shared_b1 = _bias(shared > 0 and config.shared_bias == "local", shared, shared_dim * inner)
        self.shared_b2 = _bias(shared > 0 and config.shared_bias == "local", shared, width)
        self.shared_global_bias = _bias(shared > 0 and config.shared_bias == "global", width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the expert tensors as ``torch.nn.Linear`` draws its own: U(−1/√fan_in, 1/√fan_in)."""
        for weight in (self.w1, self.w2, self.shared_w1, self.shared_w2):
            if weight is not None:
                bound = weight.shape[1] ** -0.5
                nn.init.uniform_(weight, -bound, bound)

    def forward(self, x: Tensor, mask: Tensor | None = None, balanced: bool = True) -> tuple[Tensor, Tensor | None]:
        """(B, T, D) -> (B, T, D) and the load-balancing loss; ``mask`` (B, T) keeps padding out of that loss.

        Who does not train asks for no loss: ``balanced`` off.
        """
        tokens = rounded_once(x.flatten(0, -2))  # (N, D)
        probabilities = self.router(tokens).softmax(-1)  # (N, E)
        weights, chosen = probabilities.topk(self.config.top_k, dim=-1)  # (N, K)
        weights = weights / weights.sum(-1, keepdim=True)
        output = self._routed(tokens, weights, chosen).to(x.dtype)
        if self.config.shared_experts:
            shared, count, top_k = self._shared(tokens), self.config.shared_experts, self.config.top_k
            if self.config.weighted_shared:
                output, shared = output * (top_k / (top_k + count)), shared * (count / (top_k + count))
            output = output + shared
        if self.global_bias is not None:
            output = output + self.global_bias  # never weighted
        return output.view_as(x), self._balance(probabilities, chosen, mask) if balanced else None

    def _routed(self, tokens: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        """What the chosen experts (N, K) make of tokens (N, D), weighted by (N, K) -> (N, D).

        The N·K selections are sorted by expert: each active expert is read once, in place, for all of its tokens.
        """
        experts, order = chosen.flatten().sort(stable=True)  # (N·K,)
        rows = order.div(self.config.top_k, rounding_mode="floor")
        ends = torch.searchsorted(
            experts, torch.arange(self.config.experts, device=experts.device), right=True, out_int32=True
        )
        outputs = self._experts(tokens.index_select(0, rows), experts, ends)  # (N·K, D)
        scaled = outputs * weights.flatten().index_select(0, order).unsqueeze(-1)
        return scaled.new_zeros(tokens.shape).index_add(0, rows, scaled)

    def _experts(self, rows: Tensor, experts: Tensor, ends: Tensor) -> Tensor:
        """Rows (N·K, D) through the experts (N·K,) that they are sorted by."""
        hidden = self._by_group(rows, self.w1, ends)
        if self.b1 is not None:
            hidden = self._add_by_group(hidden, self.b1, experts, ends)
        outputs = self._by_group(expand(hidden, self.config.activation, self.config.gated), self.w2, ends)
        return outputs if self.b2 is None else self._add_by_group(outputs, self.b2, experts, ends)

    def _by_group(self, rows: Tensor, stacked: Any, ends: Tensor) -> Tensor:
        """Rows (N·K, in), sorted by expert, each by its expert's matrix of ``stacked`` (E, in, out)."""
        return grouped_matmul(rows, stacked, ends)

    def _add_by_group(self, rows: Tensor, bias: Tensor, experts: Tensor, ends: Tensor) -> Tensor:
        """Rows (N·K, out), each with its expert's row of ``bias`` (E, out) added."""
        return add_to_groups(rows, bias, experts, ends)

    def _shared(self, tokens: Tensor) -> Tensor:
        """The always-on experts: one as it is, several mixed with softmax weights."""
        assert self.shared_w1 is not None
        assert self.shared_w2 is not None
        hidden = torch.einsum("nd,edf->enf", tokens, self.shared_w1)
        if self.shared_b1 is not None:
            hidden = hidden + self.shared_b1.unsqueeze(1)
        outputs = torch.bmm(expand(hidden, self.config.activation, self.config.gated), self.shared_w2)  # (n, N, D)
        if self.shared_b2 is not None:
            outputs = outputs + self.shared_b2.unsqueeze(1)
        mixed = (
            outputs[0]
            if self.shared_gate is None
            else torch.einsum("enD,ne->nD", outputs, self.shared_gate(tokens).softmax(-1))
        )
        return mixed if self.shared_global_bias is None else mixed + self.shared_global_bias

    def _balance(self, probabilities: Tensor, chosen: Tensor, mask: Tensor | None) -> Tensor:
        """E · Σ_e f_e·p̄_e: f_e the share of selections, p̄_e the mean probability over the tokens that selected e."""
        selected = torch.zeros_like(probabilities).scatter(1, chosen, 1.0)  # (N, E)
        if mask is not None:
            selected = selected * mask.flatten().unsqueeze(-1)
        counts = selected.sum(0)
        share = counts / counts.sum().clamp(min=1)
        mean_probability = (probabilities * selected).sum(0) / counts.clamp(min=1)
        return self.config.experts * (share * mean_probability).sum()


def _bias(present: bool, *shape: int) -> nn.Parameter | None:
    return nn.Parameter(torch.zeros(*shape)) if present else None
