"""Random small configurations over every option that there is."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from rxt.config import (
    VARIANTS,
    Activation,
    AttentionConfig,
    BiasMode,
    DecoderConfig,
    EncoderConfig,
    FeedForward,
    FeedForwardConfig,
    GateActivation,
    GateConfig,
    GateKind,
    MemoryAttentionConfig,
    MemoryInit,
    MemoryNormConfig,
    MoEConfig,
    Norm,
    QueueConfig,
    RxTConfig,
    SpecialTokens,
    TemplateName,
)

VOCABULARY, WIDTH, LAYERS = 13, 16, 2
one_of = st.sampled_from
HEADS = [
    (4, 4, 4),
    (4, 4, 2),
    (4, 4, 1),
    (4, 2, 2),
    (4, 2, 1),
    (4, 1, 1),
    (4, 2, 4),
    (4, 1, 4),
    (4, 1, 2),
    (2, 2, 2),
    (2, 1, 1),
]
"""(H, Hq, Hkv): multi-head, grouped, multi-query, sparse, symmetric and reversed."""
activations, bias_modes, norms = one_of(get_args(Activation)), one_of(get_args(BiasMode)), one_of(get_args(Norm))
bases = one_of([10_000.0, 500.0]) | st.floats(2, 1e6)


any_attention = st.builds(
    lambda counts, *options: AttentionConfig(*counts, *options),
    one_of(HEADS),
    st.booleans(),
    activations,
    st.booleans(),
    st.booleans(),
    bases,
)


dense = st.builds(FeedForwardConfig, dim=st.integers(1, 6), activation=activations, gated=st.booleans())
routed = st.builds(
    MoEConfig,
    dim=st.integers(1, 6),
    experts=st.integers(3, 5),
    top_k=st.integers(1, 3),
    activation=activations,
    gated=st.booleans(),
    bias=bias_modes,
    shared_experts=st.integers(0, 2),
    shared_dim=st.none() | st.integers(1, 5),
    shared_bias=bias_modes,
    weighted_shared=st.booleans(),
)
feed_forwards = dense | routed
several = st.lists(feed_forwards, max_size=2).map(tuple)
lengths = st.integers(4, 9)
SIZES = (VOCABULARY, WIDTH, LAYERS)
decoders = st.builds(
    DecoderConfig,
    *map(st.just, SIZES),
    self_attention=any_attention,
    cross_attention=any_attention,
    feed_forward=feed_forwards,
    max_length=lengths,
    stateless=several,
    final_stateless=several,
    norm=norms,
    head_norm=st.none() | norms,
)
encoders = st.builds(
    EncoderConfig,
    *map(st.just, SIZES),
    self_attention=any_attention,
    feed_forward=feed_forwards,
    max_length=lengths,
    cross_attention=st.none() | any_attention,
    norm=norms,
)


@st.composite
def gates(draw: st.DrawFn) -> GateConfig:
    kind, activation = draw(one_of(get_args(GateKind))), draw(one_of(get_args(GateActivation)))
    spread = kind == "linear" and activation == "sigmoid"
    per_slot = draw(st.booleans())
    return GateConfig(
        kind,
        activation,
        per_slot=per_slot,
        status=draw(one_of(["mean", "linear"])),
        init=draw(st.floats(-3, 3)),
        longest=draw(st.none() | st.floats(1, 99)) if spread else None,
        own_status=draw(st.none() | st.floats(-3, 3)) if kind == "linear" and per_slot else None,
    )


memory_norms = st.builds(
    MemoryNormConfig,
    one_of(["rms", "layer", "ema-rms"]),
    mixed=st.booleans(),
    mix_init=st.floats(-3, 3),
    decay=st.floats(0, 0.99),
)


@st.composite
def memory_attentions(
    draw: st.DrawFn,
    attention: st.SearchStrategy[AttentionConfig] = any_attention,
    norm: st.SearchStrategy[MemoryNormConfig] = memory_norms,
) -> MemoryAttentionConfig:
    variant = draw(one_of([name for name in VARIANTS if name != "tokens"]))  # that one goes with a base
    return MemoryAttentionConfig(
        WIDTH,
        LAYERS,
        slots=draw(st.integers(3 if VARIANTS[variant].needs_queue else 1, 4)),
        attention=draw(attention),
        variant=variant,
        consolidation=draw(st.none() | attention),
        groups=draw(st.integers(1, 2)) if VARIANTS[variant].needs_groups else None,
        gate=draw(gates()),
        self_gate=draw(st.booleans()),
        norm=draw(norm),
        queue=draw(st.builds(QueueConfig, one_of([1, 2]), st.just(1))) if VARIANTS[variant].needs_queue else None,
    )


any_memory_attention = memory_attentions()


@st.composite
def wholes(
    draw: st.DrawFn,
    decoder: st.SearchStrategy[DecoderConfig] = decoders,
    encoder: st.SearchStrategy[EncoderConfig] = encoders,
    memory: st.SearchStrategy[MemoryAttentionConfig] = any_memory_attention,
    inits: tuple[MemoryInit, ...] = get_args(MemoryInit),
) -> RxTConfig:
    template = draw(one_of(get_args(TemplateName)))
    ids = draw(st.permutations(range(VOCABULARY)))
    mask = draw(st.none() | st.just(ids[9]))
    tokens = SpecialTokens(*ids[:5], mask=mask) if template == "alpha" else SpecialTokens(*ids[:9], mask=mask)
    return RxTConfig(
        draw(decoder),
        draw(encoder),
        draw(memory),
        tokens=tokens,
        template=template,
        system_prompt_title=draw(st.text(max_size=8)),
        memory_init=draw(one_of(inits)),
        memory_seed=draw(st.none() | st.integers(0, 2**31)),
    )


configs = wholes()
"""Whatever is valid."""


# What the published layout has words for: the attentions of a part differ in their head counts and norms alone, and its
# feed-forwards in little.


@st.composite
def _alike(draw: st.DrawFn) -> tuple[AttentionConfig, AttentionConfig]:
    heads, gated, bias, base = draw(one_of([2, 4])), draw(st.booleans()), draw(st.booleans()), draw(bases)

    def one() -> AttentionConfig:
        counts = draw(one_of([counts for counts in HEADS if counts[0] == heads]))
        return AttentionConfig(*counts, gated=gated, qk_norm=draw(st.booleans()), output_bias=bias, rope_base=base)

    return one(), one()


@st.composite
def _layers(draw: st.DrawFn) -> tuple[FeedForward, list[FeedForward]]:
    """A feed-forward, and those that layers without memory may have beside it."""
    mixture = draw(routed)
    other = FeedForwardConfig(draw(st.integers(1, 6)), mixture.activation, mixture.gated)
    first = draw(one_of([mixture, FeedForwardConfig(mixture.dim, mixture.activation, mixture.gated)]))
    return first, [mixture, other]


@st.composite
def _published_decoders(draw: st.DrawFn) -> DecoderConfig:
    own, cross = draw(_alike())
    first, others = draw(_layers())
    before, after = (tuple(draw(st.lists(one_of(others), max_size=2))) for _ in range(2))
    return DecoderConfig(*SIZES, own, cross, first, draw(lengths), before, after, draw(norms), draw(st.none() | norms))


@st.composite
def _published_encoders(draw: st.DrawFn) -> EncoderConfig:
    own, cross = draw(_alike())
    first, _ = draw(_layers())
    return EncoderConfig(*SIZES, own, first, draw(lengths), draw(one_of([None, cross])), draw(norms))


@st.composite
def _published_memory_attentions(draw: st.DrawFn) -> MemoryAttentionConfig:
    heads, base = draw(one_of([2, 4])), draw(bases)
    counts = st.sampled_from([counts for counts in HEADS if counts[0] == heads])
    attention = st.builds(
        lambda counts, normed: AttentionConfig(*counts, qk_norm=normed, rope_base=base), counts, st.booleans()
    )
    drawn = memory_attentions(attention, st.just(MemoryNormConfig()))
    return draw(drawn.filter(lambda config: not VARIANTS[config.variant].needs_queue))


published_configs = wholes(
    _published_decoders(),
    _published_encoders(),
    _published_memory_attentions(),
    ("standard", "normal", "uniform", "zeros", "ones"),
)
"""Whatever the published layout has words for."""
