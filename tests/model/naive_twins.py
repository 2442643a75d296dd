"""What the model computes, once more: plain loops, one token, one head and one expert at a time, written from the
formulas.

Only weights are taken from the modules. Rotations are computed in Python's float64; the package's are float32, hence
``ROTATED``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rxt.config import GateConfig, MemoryNormConfig
from rxt.model.attention import Attention
from rxt.model.decoder import Decoder
from rxt.model.encoder import Encoder
from rxt.model.feed_forward import DenseFeedForward, MixtureOfExperts
from rxt.model.memory_attention import MemoryAttention
from rxt.model.memory_gate import ResidualGate
from rxt.model.memory_norm import MemoryNorm

EXACT = 1e-11
ROTATED = 1e-5


def randomize(module: nn.Module, scale: float = 0.6) -> nn.Module:
    """Every weight drawn anew, in float64: zero biases and unit norms would hide mistakes."""
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=scale)
    return module


def assert_twins(found: Tensor, expected: Tensor, inputs: list[Tensor], atol: float) -> None:
    """The same values, and the same gradients of a random projection with respect to every input."""
    assert expected.abs().max() > 1e-3, "an expectation of zeros would prove nothing"
    torch.testing.assert_close(found, expected, rtol=atol, atol=atol)
    direction = torch.randn_like(found)
    for mine, theirs in zip(gradients(found, inputs, direction), gradients(expected, inputs, direction), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=10 * atol, atol=10 * atol)


def gradients(output: Tensor, inputs: list[Tensor], direction: Tensor) -> list[Tensor]:
    return list(
        torch.autograd.grad(output, inputs, direction, retain_graph=True, allow_unused=True, materialize_grads=True)
    )


def activation(x: Tensor, name: str) -> Tensor:
    match name:
        case "silu":
            return x / (1 + torch.exp(-x))
        case "relu":
            return x.clamp(min=0)
        case "gelu":
            return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
        case "sigmoid":
            return 1 / (1 + torch.exp(-x))
        case "linear":
            return x
    raise AssertionError(name)


def softmax(scores: list[Tensor]) -> list[Tensor]:
    exponentials = [torch.exp(score) for score in scores]
    total = torch.stack(exponentials).sum()
    return [exponential / total for exponential in exponentials]


def root_mean_square_norm(x: Tensor, weight: Tensor) -> Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + torch.finfo(x.dtype).eps) * weight


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + 1e-5) * weight + bias


def norm(module: nn.Module, x: Tensor) -> Tensor:
    if isinstance(module, nn.LayerNorm):
        return layer_norm(x, module.weight, module.bias)
    assert isinstance(module, nn.RMSNorm)
    return root_mean_square_norm(x, module.weight)


def rope(head: Tensor, position: int, base: float) -> Tensor:
    """Turn the pairs (2i, 2i+1) of one head (Hd,) by position · base^(−2i/Hd)."""
    turned: list[Tensor] = []
    for pair in range(0, len(head), 2):
        angle = position * base ** (-pair / len(head))
        cos, sin = math.cos(angle), math.sin(angle)
        turned += [head[pair] * cos - head[pair + 1] * sin, head[pair] * sin + head[pair + 1] * cos]
    return torch.stack(turned)


def attention(
    module: Attention,
    x: Tensor,
    source: Tensor,
    rotate_queries: bool = False,
    rotate_keys: bool = False,
    causal: bool = False,
    padding: Tensor | None = None,
) -> Tensor:
    """Queries from x (B, T, D) look up source (B, S, D); ``padding`` (B, S) is False where nobody may look."""
    config, size = module.config, module.head_dim
    reversed_heads = config.kv_heads > config.query_heads

    def head(projection: nn.Linear, token: Tensor, index: int) -> Tensor:
        return projection.weight[index * size : (index + 1) * size] @ token

    def finish(vector: Tensor, own_norm: nn.Module | None, position: int, rotated: bool) -> Tensor:
        vector = vector if own_norm is None else norm(own_norm, vector)
        return rope(vector, position, config.rope_base) if rotated else vector

    outputs = []
    for b in range(x.shape[0]):
        heads = []
        for j in range(max(config.query_heads, config.kv_heads)):
            query_head = j % config.query_heads if reversed_heads else j
            kv_head = j if reversed_heads else j // (config.query_heads // config.kv_heads)
            keys = [
                finish(head(module.k_proj, token, kv_head), module.k_norm, s, rotate_keys)
                for s, token in enumerate(source[b])
            ]
            values = [head(module.v_proj, token, kv_head) for token in source[b]]
            looked_up = []
            for t in range(x.shape[1]):
                query = finish(head(module.q_proj, x[b, t], query_head), module.q_norm, t, rotate_queries)
                seen = [s for s in range(len(keys)) if not (causal and s > t) and (padding is None or padding[b, s])]
                weights = softmax([torch.dot(query, keys[s]) / math.sqrt(size) for s in seen])
                looked_up.append(
                    torch.stack([weight * values[s] for weight, s in zip(weights, seen, strict=True)]).sum(0)
                )
            heads.append(torch.stack(looked_up))
        merged = torch.cat(heads, -1)  # (T, heads·Hd)
        if module.gate_proj is not None:
            merged = merged * activation(x[b] @ module.gate_proj.weight.T, config.gate_activation)
        if isinstance(module.out_proj, nn.Linear):
            merged = merged @ module.out_proj.weight.T
            merged = merged if module.out_proj.bias is None else merged + module.out_proj.bias
        outputs.append(merged)
    return torch.stack(outputs)


def dense(module: DenseFeedForward, x: Tensor) -> Tensor:
    config = module.config
    hidden = x @ module.fc1.weight.T + module.fc1.bias
    hidden = (
        hidden[..., : config.dim] * activation(hidden[..., config.dim :], config.activation)
        if config.gated
        else activation(hidden, config.activation)
    )
    return hidden @ module.fc2.weight.T + module.fc2.bias


def router_probabilities(module: MixtureOfExperts, token: Tensor) -> list[Tensor]:
    return softmax([torch.dot(row, token) for row in module.router.weight])


def chosen_experts(module: MixtureOfExperts, token: Tensor) -> list[int]:
    """The K most probable experts, best first."""
    probabilities = [p.item() for p in router_probabilities(module, token)]
    return sorted(range(len(probabilities)), key=lambda expert: -probabilities[expert])[: module.config.top_k]


def moe(module: MixtureOfExperts, x: Tensor) -> Tensor:
    """Token by token, expert by expert."""
    config = module.config

    def expert(token: Tensor, w1: Tensor, b1: Tensor | None, w2: Tensor, b2: Tensor | None) -> Tensor:
        hidden = token @ w1 if b1 is None else token @ w1 + b1
        half = len(hidden) // 2
        hidden = (
            hidden[:half] * activation(hidden[half:], config.activation)
            if config.gated
            else activation(hidden, config.activation)
        )
        return hidden @ w2 if b2 is None else hidden @ w2 + b2

    def at(bias: Tensor | None, index: int) -> Tensor | None:
        return None if bias is None else bias[index]

    outputs = []
    for token in x.flatten(0, -2):
        probabilities, chosen = router_probabilities(module, token), chosen_experts(module, token)
        total = torch.stack([probabilities[e] for e in chosen]).sum()
        routed = torch.zeros_like(token)
        for e in chosen:
            routed = routed + probabilities[e] / total * expert(
                token, module.w1[e], at(module.b1, e), module.w2[e], at(module.b2, e)
            )
        count = config.shared_experts
        if count:
            assert module.shared_w1 is not None
            assert module.shared_w2 is not None
            weights = [torch.ones(())]
            if count > 1:
                assert module.shared_gate is not None
                weights = softmax([torch.dot(row, token) for row in module.shared_gate.weight])
            shared = torch.zeros_like(token)
            for e in range(count):
                shared = shared + weights[e] * expert(
                    token, module.shared_w1[e], at(module.shared_b1, e), module.shared_w2[e], at(module.shared_b2, e)
                )
            if config.shared_bias == "global":
                assert module.shared_global_bias is not None
                shared = shared + module.shared_global_bias
            if config.weighted_shared:
                routed, shared = config.top_k / (config.top_k + count) * routed, count / (config.top_k + count) * shared
            routed = routed + shared
        if config.bias == "global":
            assert module.global_bias is not None
            routed = routed + module.global_bias
        outputs.append(routed)
    return torch.stack(outputs).view_as(x)


def balance(module: MixtureOfExperts, tokens: Tensor) -> Tensor:
    """E · Σ_e f_e·p̄_e over tokens (N, D)."""
    total, experts = torch.zeros((), dtype=tokens.dtype), module.config.experts
    for e in range(experts):
        selecting = [token for token in tokens if e in chosen_experts(module, token)]
        if selecting:
            share = len(selecting) / (len(tokens) * module.config.top_k)
            total = total + share * torch.stack([router_probabilities(module, token)[e] for token in selecting]).mean()
    return experts * total


def feed_forward(module: nn.Module, x: Tensor) -> Tensor:
    return moe(module, x) if isinstance(module, MixtureOfExperts) else dense(module, x)  # type: ignore[arg-type]


def decoder(module: Decoder, ids: Tensor, slots: Tensor) -> Tensor:
    x = module.embedding.weight[ids]
    stateless, memory_layers = len(module.stateless), len(module.layers)
    for index, layer in enumerate([*module.stateless, *module.layers, *module.final_stateless]):
        n = norm(layer.norm1, x)  # type: ignore[arg-type]
        x = x + attention(layer.attention, n, n, rotate_queries=True, rotate_keys=True, causal=True)  # type: ignore[arg-type]
        if stateless <= index < stateless + memory_layers:
            m = norm(layer.stm_norm, slots[index - stateless])  # type: ignore[arg-type]
            x = x + attention(layer.cross_attention, norm(layer.norm2, x), m, rotate_queries=True)  # type: ignore[arg-type]
        x = x + feed_forward(layer.feed_forward, norm(layer.norm3, x))  # type: ignore[arg-type]
    if module.head_norm is not None:
        x = norm(module.head_norm, x)
    assert isinstance(module.head, nn.Linear)
    return x @ module.head.weight.T + module.head.bias


def encoder(module: Encoder, ids: Tensor, slots: Tensor | None, padding: Tensor | None) -> Tensor:
    x, outputs = module.embedding.weight[ids], []
    for index, layer in enumerate(module.layers):
        n = norm(layer.norm1, x)  # type: ignore[arg-type]
        x = x + attention(layer.attention, n, n, rotate_queries=True, rotate_keys=True, padding=padding)  # type: ignore[arg-type]
        if slots is not None:
            m = norm(layer.stm_norm, slots[index])  # type: ignore[arg-type]
            x = x + attention(layer.cross_attention, norm(layer.norm2, x), m, rotate_queries=True)  # type: ignore[arg-type]
        x = x + feed_forward(layer.feed_forward, norm(layer.norm3, x))  # type: ignore[arg-type]
        outputs.append(x)
    return torch.stack(outputs)


def gate(module: ResidualGate, old: Tensor, new: Tensor) -> Tensor:
    """Slot by slot; old and new (B, S, D)."""
    config: GateConfig = module.config
    if config.kind == "ungated":
        return old + new
    if config.kind == "replace":
        return new
    slots = old.shape[1]
    conversations = []
    for b in range(old.shape[0]):
        status: list[Tensor] = []
        for s in range(slots):
            total = old[b, s] + new[b, s]
            learned = config.status == "linear" and config.kind != "static"
            status.append(
                torch.dot(module.status.weight[0], total) + module.status.bias[0] if learned else total.mean()
            )
        updated = []
        for s in range(slots):
            which = s if config.per_slot else 0
            if config.kind == "static":
                before = module.weight[which].squeeze()
            elif config.kind == "elementwise":
                before = module.weight[which].squeeze() * (status[s] if config.per_slot else torch.stack(status).mean())
            else:
                before = torch.dot(module.linear.weight[which], torch.stack(status)) + module.linear.bias[which]
            if config.activation == "sigmoid":
                g = 1 / (1 + torch.exp(-before))
                updated.append(g * new[b, s] + (1 - g) * old[b, s])
            else:
                g = torch.tanh(before)
                updated.append((1 + g) * new[b, s] + (1 - g) * old[b, s])
        conversations.append(torch.stack(updated))
    return torch.stack(conversations)


def memory_norm(module: MemoryNorm, x: Tensor) -> Tensor:
    config: MemoryNormConfig = module.config
    if config.kind == "rms":
        normed = root_mean_square_norm(x, module.weight)
    elif config.kind == "layer":
        assert module.bias is not None
        normed = layer_norm(x, module.weight, module.bias)
    else:
        normed = x / torch.sqrt(module.mean_square + torch.finfo(x.dtype).eps) * module.weight
    if module.mix is None:
        return normed
    share = 1 / (1 + torch.exp(-module.mix))
    return share * normed + (1 - share) * x


def memory_attention(module: MemoryAttention, memory: Tensor, encoded: Tensor, padding: Tensor | None = None) -> Tensor:
    """m' = gate(u, attn(norm(u), input_norm(e))), with u = consolidate(m) by variant; layer by layer."""
    config, updated = module.config, []
    for i, layer in enumerate(module.layers):
        m, e = memory[i], encoded[i]
        if config.variant == "simple":
            u = m
        else:
            n = memory_norm(layer.consolidation_norm, m)  # type: ignore[arg-type]
            if config.variant == "self":
                kv = n
            else:
                size = config.layers // (config.groups or 1)
                group = range(i // size * size, i // size * size + size)
                mean = torch.stack([memory[k] for k in group]).sum(0) / size
                assert module.mean_norm is not None
                kv = memory_norm(module.mean_norm, mean)
                if config.variant != "interlayer":
                    kv = gate(layer.mean_gate, n, kv)  # type: ignore[arg-type]
            looked_up = attention(layer.consolidation, n, kv)  # type: ignore[arg-type]
            u = gate(layer.consolidation_gate, m, looked_up) if config.self_gate else m + looked_up  # type: ignore[arg-type]
        a = attention(
            layer.attention,  # type: ignore[arg-type]
            memory_norm(layer.norm, u),  # type: ignore[arg-type]
            memory_norm(layer.input_norm, e),  # type: ignore[arg-type]
            rotate_keys=True,
            padding=padding,
        )
        updated.append(gate(layer.gate, u, a))  # type: ignore[arg-type]
    return torch.stack(updated)
