"""Dense and routed feed-forward blocks against naive twins, and the load-balancing loss by hand."""

from __future__ import annotations

from dataclasses import replace

import naive_twins
import pytest
import torch
from naive_twins import EXACT, assert_twins, randomize

from rxt.config import BiasMode, FeedForwardConfig, MoEConfig
from rxt.model.experts import GatheredExperts, InferenceExperts, Int8Experts, SummedExperts, SummedInt8Experts
from rxt.model.feed_forward import DenseFeedForward, MixtureOfExperts

ACTIVATIONS = ["silu", "relu", "gelu", "sigmoid", "linear"]
WIDTH = 4


def make(config: MoEConfig) -> MixtureOfExperts:
    module = MixtureOfExperts(WIDTH, config)
    randomize(module)
    return module


def tokens(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, WIDTH, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense(activation: str, gated: bool) -> None:
    module = DenseFeedForward(WIDTH, FeedForwardConfig(6, activation=activation, gated=gated))  # type: ignore[arg-type]
    randomize(module)
    x = tokens(2, 3)
    found, balance = module(x)
    assert balance is None
    assert_twins(found, naive_twins.dense(module, x), [x, *module.parameters()], EXACT)


def assert_routes(module: MixtureOfExperts) -> None:
    x = tokens(2, 3)
    found, balance = module(x)
    assert_twins(found, naive_twins.moe(module, x), [x, *module.parameters()], EXACT)
    assert_twins(balance, naive_twins.balance(module, x.flatten(0, 1)), [x, module.router.weight], EXACT)
    with torch.no_grad():  # few tokens and many of them take ways of their own there
        for few in (x[:1, :1], x):
            expected = naive_twins.moe(module, few)
            for experts in (module, GatheredExperts(module), SummedExperts(module)):
                torch.testing.assert_close(experts(few)[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True], ids=["added", "weighted"])
@pytest.mark.parametrize("shared", [0, 1, 2])
@pytest.mark.parametrize("bias", ["local", "global", "off"])
def test_experts(bias: BiasMode, shared: int, weighted: bool) -> None:
    assert_routes(
        make(MoEConfig(3, 5, 2, bias=bias, shared_experts=shared, shared_bias=bias, weighted_shared=weighted))
    )


@pytest.mark.parametrize(("bias", "shared_bias"), [("local", "off"), ("off", "global"), ("global", "local")])
def test_routed_and_shared_experts_have_biases_of_their_own(bias: str, shared_bias: str) -> None:
    assert_routes(make(MoEConfig(3, 4, 2, bias=bias, shared_experts=2, shared_bias=shared_bias, shared_dim=5)))  # type: ignore[arg-type]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shared", [0, 2])
def test_ungated_experts(activation: str, shared: int) -> None:
    assert_routes(make(MoEConfig(3, 4, 2, activation=activation, gated=False, shared_experts=shared)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("experts", "top_k"), [(1, 1), (4, 1), (3, 3), (9, 4)])
def test_any_number_of_experts(experts: int, top_k: int) -> None:
    assert_routes(make(MoEConfig(3, experts, top_k)))


def test_new_experts_are_drawn_like_linear_layers_and_biases_start_at_zero() -> None:
    module = MixtureOfExperts(16, MoEConfig(64, 8, 2, shared_experts=2))
    assert module.shared_w1 is not None
    assert module.shared_w2 is not None
    for weight, fan_in in ((module.w1, 16), (module.w2, 64), (module.shared_w1, 16), (module.shared_w2, 64)):
        bound = fan_in**-0.5
        assert 0.98 * bound < weight.abs().max().item() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    for name in ("b1", "b2", "shared_b1", "shared_b2"):
        assert not getattr(module, name).any()


def test_balance_by_hand() -> None:
    """Two experts, one chosen: tokens with router logits (±log 3, 0) have probabilities (3/4, 1/4) and (1/4, 3/4)."""
    module = make(MoEConfig(3, 2, 1))
    log3 = torch.log(torch.tensor(3.0, dtype=torch.float64))
    with torch.no_grad():
        module.router.weight.zero_()
        module.router.weight[0, 0] = log3
    x = torch.zeros(1, 4, WIDTH, dtype=torch.float64)
    x[0, :, 0] = torch.tensor([1.0, 1.0, 1.0, -1.0])
    balance = module(x)[1]
    assert balance.item() == pytest.approx(2 * (3 / 4 * 3 / 4 + 1 / 4 * 3 / 4))


def test_balance_is_the_probability_that_the_chosen_experts_hold() -> None:
    """As p̄_e is a mean over the tokens that selected e, f_e·p̄_e loses the count: the loss is E/K · mean top-K
    probability."""
    module = make(MoEConfig(3, 5, 2))
    x = tokens(4, 6)
    held = module.router(x).softmax(-1).topk(2).values.sum(-1).mean()
    assert_twins(module(x)[1], 5 / 2 * held, [x, module.router.weight], EXACT)


@pytest.mark.parametrize("config", [MoEConfig(3, 5, 2), MoEConfig(3, 5, 2, shared_experts=2)])
def test_padding_changes_neither_the_loss_nor_the_other_tokens(config: MoEConfig) -> None:
    module = make(config)
    x = tokens(2, 5)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    found, balance = module(x, mask)
    real = x[mask]  # (7, D)
    assert_twins(balance, naive_twins.balance(module, real), [x, module.router.weight], EXACT)
    assert_twins(found[mask], module(real.unsqueeze(0))[0].squeeze(0), [x, *module.parameters()], EXACT)
    louder = torch.where(mask.unsqueeze(-1), x, 9.0)
    torch.testing.assert_close(module(louder, mask)[1], balance, rtol=0, atol=EXACT)
    assert (module(x)[1] - balance).abs().item() > 1e-4, (
        "without the mask padding must count, or this test proves nothing"
    )


def test_tokens_are_routed_alone() -> None:
    """What stands beside a token in the batch does not change its output."""
    module = make(MoEConfig(3, 5, 2, shared_experts=1))
    x = tokens(3, 4)
    together = module(x)[0]
    alone = torch.stack([torch.cat([module(x[b : b + 1, t : t + 1])[0][0] for t in range(4)]) for b in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=EXACT)


def test_several_shared_experts_are_mixed_by_a_gate_and_one_is_added_as_it_is() -> None:
    one, two = make(MoEConfig(3, 4, 1, shared_experts=1)), make(MoEConfig(3, 4, 1, shared_experts=2))
    assert one.shared_gate is None
    assert two.shared_gate is not None
    assert (two.shared_gate.weight.shape, two.shared_gate.bias) == ((2, WIDTH), None)


def test_shared_experts_have_the_routed_width_unless_told_otherwise() -> None:
    config = MoEConfig(3, 4, 1, shared_experts=1)
    for expected, module in ((3, make(config)), (7, make(replace(config, shared_dim=7)))):
        assert module.shared_w2 is not None
        assert module.shared_w2.shape == (1, expected, WIDTH)


@pytest.mark.parametrize("bias", ["local", "global", "off"])
@pytest.mark.parametrize("count", [1, 2, 9])
@torch.no_grad()
def test_8_bit_experts_are_experts_with_rounded_matrices(bias: str, count: int) -> None:
    module = make(MoEConfig(3, 5, 2, bias=bias, shared_experts=2, shared_bias=bias))  # type: ignore[arg-type]
    small = Int8Experts(module)
    rounded = make(module.config)
    rounded.load_state_dict(module.state_dict())
    for name in ("w1", "w2"):
        stack = getattr(small, name)
        getattr(rounded, name).copy_((stack.weight * stack.scale.unsqueeze(-1)).transpose(1, 2))
    x = tokens(1, count)
    expected = naive_twins.moe(rounded, x)
    assert (expected - module(x)[0]).abs().max() > 1e-6, "rounding must change something, or this test proves nothing"
    for experts in (small, SummedInt8Experts(small)):
        torch.testing.assert_close(experts(x)[0], expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", [GatheredExperts, SummedExperts])
@torch.no_grad()
def test_few_selections_go_each_by_itself(kind: type[InferenceExperts], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two selections of six experts are few, sixty are not."""
    experts, calls = kind(make(MoEConfig(3, 6, 2))), list[int]()
    each = InferenceExperts._each_by_itself
    monkeypatch.setattr(InferenceExperts, "_each_by_itself", lambda self, *given: calls.append(1) or each(self, *given))
    experts(tokens(1, 30))
    assert not calls
    experts(tokens(1, 1))
    assert calls
