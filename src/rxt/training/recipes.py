"""Recipes: functions that return a run's configuration. A recipe is data; the pipeline does the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from functools import partial

from rxt.errors import UserError
from rxt.presets import preset, preset_names
from rxt.tasks.babi import BabiConfig, TaskShare
from rxt.tasks.everyday import EverydayConfig
from rxt.training import recipes_on_base as on_base
from rxt.training.config import RunConfig, TokenizerConfig
from rxt.training.config_base import SLOW_GATES, OptimConfig, RecallConfig
from rxt.training.data_config import DataConfig, TaskSource
from rxt.training.preference.config import PreferenceConfig
from rxt.training.recipes_fragments import with_fragments
from rxt.training.recipes_hybrid import hybrid
from rxt.training.recipes_open import open_world
from rxt.training.reinforcement.config import EpisodePhase, LossWeights, ReinforcementConfig
from rxt.training.stages.interaction import InteractionConfig
from rxt.training.stages.joint import JointConfig
from rxt.training.stages.memory_aware import MemoryAwareConfig, Phase
from rxt.training.stages.memory_pretrain import MemoryPretrainConfig

POCKET_MIX = EverydayConfig(novelty=4, distance_evenness=3, other_people_rate=0.3, change_rate=0.2)
"""The bundled model's conversations."""


def everyday(mix: EverydayConfig) -> DataConfig:
    """Everyday conversations alone."""
    return DataConfig((TaskSource("everyday", mix),))


def recipe_names() -> list[str]:
    """Every name that :func:`recipe` takes."""
    return list(_RECIPES)


def recipe(name: str) -> RunConfig:
    """The run called ``name``; an unknown name is an error that lists the near ones."""
    if name not in _RECIPES:
        near = get_close_matches(name, _RECIPES, n=3, cutoff=0.4) or recipe_names()
        raise UserError(f"there is no recipe {name!r}; did you mean {', '.join(near)}?")
    return _RECIPES[name]()


def pocket() -> RunConfig:
    """The bundled model: at most 12 MB of weights, all stages within an hour on one CPU core."""
    optim = OptimConfig(learning_rate=2e-3, warmup=40, min_lr_ratio=0.02, kind="muon")
    return RunConfig(
        name="pocket",
        model=preset("pocket"),
        tokenizer=TokenizerConfig(vocab_size=4_096),
        stages=(
            JointConfig(steps=80, batch_size=12, optim=optim),
            InteractionConfig(steps=250, batch_size=64, optim=optim),
            MemoryPretrainConfig(steps=40, batch_size=16, turns=4, optim=replace(optim, learning_rate=1e-3)),
            MemoryAwareConfig(
                phases=(
                    Phase(steps=10, turns=2, batch_size=32, echo=True, trains=("decoder",)),
                    Phase(steps=20, turns=2, batch_size=32, echo=True, trains=("decoder", "memory_attention")),
                    Phase(steps=70, turns=2, batch_size=32, echo=True),
                    Phase(steps=100, turns=2, batch_size=32),
                    Phase(steps=900, turns=4, batch_size=16),
                    Phase(steps=2_200, turns=8, batch_size=8),
                    Phase(steps=2_400, turns=16, batch_size=6),
                    Phase(steps=1_200, turns=24, batch_size=5),
                ),
                optim=replace(optim, learning_rate=1.5e-3, weight_decay=0.1),
            ),
        ),
        data=everyday(POCKET_MIX),
        validate_every=400,
        checkpoint_every=400,
    )


def phrasings() -> RunConfig:
    """Rounds that made the bundled model out of ``pocket``'s: other words for the same facts, changed facts and facts
    never told.

    The memory attention stays as it is, because its gates have learned what to keep: trained on, they open too often,
    and what was told long ago is lost. Encoder and decoder learn what else can be meant. The model's card has the three
    rounds; this is the second.
    """
    base = pocket()
    aware = base.stage(MemoryAwareConfig)
    reading: tuple[str, ...] = ("decoder", "encoder")
    return replace(
        base,
        name="phrasings",
        stages=(
            replace(
                aware,
                phases=(
                    Phase(steps=3_000, turns=16, batch_size=8, trains=reading),
                    Phase(steps=1_500, turns=24, batch_size=6, trains=reading, paraphrase_rate=0.4),
                ),
                optim=replace(aware.optim, learning_rate=7e-4, rates=SLOW_GATES),
            ),
        ),
        data=everyday(replace(POCKET_MIX, never_told_rate=0.2, change_rate=0.25, paraphrase_rate=0.6)),
        validate_every=200,
        checkpoint_every=200,
    )


def fragments() -> RunConfig:
    """A pool of fragments for the bundled model (``--from MODEL``).

    Half of the conversations are about many people, so that much that is told is alike.
    """
    usual = replace(POCKET_MIX, never_told_rate=0.1, change_rate=0.25, paraphrase_rate=0.3)
    crowd = replace(usual, people=12, other_people_rate=0.85, change_rate=0.1, small_talk_rate=0.1, max_facts=24)
    return replace(
        with_fragments(pocket()), data=DataConfig((TaskSource("everyday", usual), TaskSource("everyday", crowd)))
    )


def mrl() -> RunConfig:
    """Memory reinforcement alone of a model that remembers, if badly (``--from MODEL``), over 16 generated turns.

    Gates learn slowly: with the others' rate what was told long ago is soon lost. The rewarded answers drift from the
    conversations' wording; a little of the supervised loss holds them. Two micro-batches are for two workers.
    """
    base = pocket()
    return replace(
        base,
        name="mrl",
        stages=(
            ReinforcementConfig(
                phases=(EpisodePhase(steps=300, turns=16, batch_size=16, teacher_forcing=True),),
                optim=OptimConfig(
                    learning_rate=2e-4, warmup=10, min_lr_ratio=0.1, weight_decay=0.0, rates=SLOW_GATES, accumulate=2
                ),
                reward="recall",
                epochs=2,
                weights=LossWeights(supervised=0.1),
            ),
        ),
        data=everyday(replace(POCKET_MIX, never_told_rate=0.2, change_rate=0.25)),
        checkpoint_every=50,
    )


def dmpo() -> RunConfig:
    """Stage 5′ alone on a model that remembers, if badly (``--from MODEL``): preferences on generated conversations, or
    on ``--data``.

    The rejected answers are the model's own mistakes: in a pilot it learned less from values drawn at random. Few
    questions are about what was never told: with more, a model of a short memory learns to say so of everything. β is
    far above the usual 0.1, because log-probabilities are means over an answer's tokens, of which the value is a few; a
    smaller one pushes on where a pair is settled. A quarter of the turns that ask nothing are anchored: what the model
    says to them stays as likely as it was.
    """
    base = pocket()
    return replace(
        base,
        name="dmpo",
        stages=(
            PreferenceConfig(
                steps=900,
                turns=16,
                batch_size=16,
                beta=5.0,
                anchor_weight=0.5,
                neutral_rate=0.25,
                accepted_weight=2.0,
                own_temperature=0.7,
                optim=OptimConfig(learning_rate=2e-4, warmup=20, min_lr_ratio=0.02, weight_decay=0.0, rates=SLOW_GATES),
                recall=RecallConfig(max_score_drop=0.25),  # the first updates cost some recall, which comes back
            ),
        ),
        data=everyday(replace(POCKET_MIX, never_told_rate=0.04, change_rate=0.25)),
        checkpoint_every=50,
    )


def dialogue() -> RunConfig:
    """The pocket size on chats of your own (``--data``), of ten turns or so: more language, shorter memory."""
    base = pocket()
    joint, pretrain = base.stage(JointConfig), base.stage(MemoryPretrainConfig)
    optim = replace(joint.optim, accumulate=2)  # for two workers
    return replace(
        base,
        name="dialogue",
        stages=(
            replace(joint, steps=300, optim=optim),
            replace(base.stage(InteractionConfig), steps=400, optim=optim),
            replace(pretrain, optim=replace(optim, learning_rate=1e-3)),
            MemoryAwareConfig(
                phases=(
                    Phase(steps=10, turns=2, batch_size=32, echo=True, trains=("decoder",)),
                    Phase(steps=20, turns=2, batch_size=32, echo=True, trains=("decoder", "memory_attention")),
                    Phase(steps=120, turns=2, batch_size=32, echo=True),
                    Phase(steps=250, turns=4, batch_size=24),
                    Phase(steps=900, turns=10, batch_size=12),
                ),
                optim=optim,
            ),
        ),
        validate_every=200,
    )


def study() -> RunConfig:
    """The pocket model on seven kinds of facts, conversations of eight turns at most, in a few minutes: for
    comparisons."""
    base = pocket()
    kinds = ("name", "city", "job", "dog", "hobby", "colour", "drink")
    aware = base.stage(MemoryAwareConfig)
    phases = (
        *aware.phases[:4],
        Phase(steps=500, turns=4, batch_size=16),
        Phase(steps=700, turns=8, batch_size=8),
    )
    changed = base.having(replace(base.stage(InteractionConfig), steps=150), replace(aware, phases=phases))
    return replace(
        changed,
        name="study",
        data=everyday(replace(POCKET_MIX, kinds=kinds, values=40, paraphrase_rate=0.0)),
        validate_every=200,
    )


def babi() -> RunConfig:
    """All bAbI tasks of a folder (``--data DIR``) at once, one line of a story a turn: the bundled bAbI model."""
    optim = OptimConfig(learning_rate=2e-3, warmup=40, min_lr_ratio=0.02, kind="muon")
    more, less = {2: 2.5}, {7: 0.5, 8: 0.5, 11: 0.5, 13: 0.5, 14: 0.4, 16: 0.4, 17: 0.4, 18: 0.4, 19: 0.3}
    shares = tuple(TaskShare(task, share) for task, share in (more | less).items())
    return RunConfig(
        name="babi",
        model=preset("babi"),
        tokenizer=TokenizerConfig(vocab_size=1_024),
        stages=(
            JointConfig(steps=50, batch_size=12, optim=optim),
            InteractionConfig(steps=150, batch_size=64, optim=optim),
            MemoryPretrainConfig(steps=0, batch_size=16, turns=4, optim=replace(optim, learning_rate=1e-3)),
            MemoryAwareConfig(
                phases=(
                    Phase(steps=150, turns=2, batch_size=64, echo=True),
                    Phase(steps=1_600, turns=3, batch_size=40),
                    Phase(steps=2_000, turns=6, batch_size=24),
                    Phase(steps=4_000, turns=12, batch_size=14),
                    Phase(steps=3_000, turns=24, batch_size=12),
                    Phase(steps=600, turns=64, batch_size=14),
                ),
                optim=replace(optim, learning_rate=1.2e-3, weight_decay=0.1),
                mean_over="answers",
            ),
        ),
        data=DataConfig((TaskSource("babi", BabiConfig(shares)),)),
        validate_every=400,
        validation_batches=16,
        checkpoint_every=400,
    )


def smoke() -> RunConfig:
    """Every stage in about a minute: for tests and for a first look at a run's folder."""
    optim = OptimConfig(learning_rate=3e-3, warmup=10)
    return RunConfig(
        name="smoke",
        model=preset("smoke"),
        tokenizer=TokenizerConfig(vocab_size=768, conversations=400),
        stages=(
            JointConfig(steps=60, batch_size=8, optim=optim),
            InteractionConfig(steps=80, batch_size=32, optim=optim),
            MemoryPretrainConfig(steps=40, batch_size=8, turns=4, optim=optim),
            MemoryAwareConfig(
                phases=(
                    Phase(steps=20, turns=2, batch_size=16, trains=("decoder",)),
                    Phase(steps=20, turns=2, batch_size=16, trains=("decoder", "memory_attention")),
                    Phase(steps=60, turns=4, batch_size=16),
                ),
                optim=optim,
            ),
        ),
        validate_every=60,
        validation_batches=2,
        checkpoint_every=20,
    )


def published(name: str) -> RunConfig:
    """A published size by its curriculum, for GPUs and your own data (``--data``); everyday conversations are mixed in.

    Stage 2 follows the Nano card (peak 2e-4, cosine, batch 256). The cards do not give the other stages' numbers:
    those are this project's choice.
    """
    model = preset(name)
    optim = OptimConfig(learning_rate=2e-4, warmup=500, weight_decay=0.01)
    joint = JointConfig(steps=50_000, batch_size=256, optim=replace(optim, learning_rate=5e-4, warmup=1_000))
    return RunConfig(
        name=name,
        model=model,
        tokenizer=TokenizerConfig(vocab_size=model.decoder.vocab_size),
        stages=(
            joint,
            InteractionConfig(steps=20_000, batch_size=256, optim=optim),
            MemoryPretrainConfig(steps=2_000, batch_size=64, turns=8, optim=optim),
            MemoryAwareConfig(
                phases=(
                    Phase(steps=1_000, turns=4, batch_size=128, trains=("decoder",)),
                    Phase(steps=1_000, turns=4, batch_size=128, trains=("decoder", "memory_attention")),
                    Phase(steps=4_000, turns=8, batch_size=64),
                    Phase(steps=8_000, turns=16, batch_size=32),
                ),
                optim=optim,
                checkpointing=True,
            ),
        ),
        log_every=50,
        validate_every=1_000,
        validation_batches=16,
        checkpoint_every=500,
    )


_OWN: dict[str, Callable[[], RunConfig]] = {
    "pocket": pocket,
    "open": open_world,
    "hybrid": hybrid,
    "phrasings": phrasings,
    "fragments": fragments,
    "mrl": mrl,
    "dmpo": dmpo,
    "dialogue": dialogue,
    "study": study,
    "smoke": smoke,
    "babi": babi,
    "smollm2": on_base.smollm2,
    "smollm2_hybrid": on_base.smollm2_hybrid,
    "adapt": on_base.adapt,
}
_RECIPES = _OWN | {name: partial(published, name) for name in preset_names() if name not in _OWN}
"""Every preset has one, by its own name; those that are not this project's own models, the published curriculum."""
