"""A run so small that every stage of it takes a moment, and what tests need to look inside."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Literal

import torch
from rich.console import Console
from torch import Tensor, nn

from factories import tiny_config
from rxt.config import (
    MoEConfig,
    RxTConfig,
)
from rxt.data.collate import Conversations, collate_conversations
from rxt.data.records import Conversation
from rxt.data.template import Encoded, Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.pretrained import ReactiveTransformer
from rxt.tasks.everyday import EverydayConfig
from rxt.training.config import RunConfig, TokenizerConfig
from rxt.training.config_base import OptimConfig
from rxt.training.corpus import Corpus, Split
from rxt.training.data_config import DataConfig, TaskSource, with_files
from rxt.training.file_sources import FileConversations
from rxt.training.learner import ReactiveLearner
from rxt.training.preference.config import PreferenceConfig
from rxt.training.preference.corpus import PreferenceCorpus
from rxt.training.preference.reference import Reference
from rxt.training.preference.stage import PreferenceStage
from rxt.training.stages.base import StageContext
from rxt.training.stages.interaction import InteractionConfig
from rxt.training.stages.joint import JointConfig
from rxt.training.stages.memory_aware import MemoryAwareConfig, Phase
from rxt.training.stages.memory_pretrain import MemoryPretrainConfig
from rxt.training.stages.registry import build_stage

MODEL = tiny_config(400, width=16, slots=4, max_length=48, hidden=24)
MOE_MODEL = replace(MODEL, decoder=replace(MODEL.decoder, feed_forward=MoEConfig(8, experts=4, top_k=2)))
OPTIM = OptimConfig(learning_rate=2e-3, warmup=3)
RUN = RunConfig(
    name="micro",
    model=MODEL,
    tokenizer=TokenizerConfig(vocab_size=400, conversations=30),
    stages=(
        JointConfig(steps=6, batch_size=2, optim=OPTIM),
        InteractionConfig(steps=6, batch_size=8, optim=OPTIM),
        MemoryPretrainConfig(steps=6, batch_size=3, turns=3, optim=OPTIM),
        MemoryAwareConfig(
            phases=(
                Phase(steps=2, turns=2, batch_size=3, trains=("decoder",)),
                Phase(steps=2, turns=2, batch_size=3, trains=("decoder", "memory_attention")),
                Phase(steps=4, turns=4, batch_size=3, shortest=2),
            ),
            optim=OPTIM,
        ),
    ),
    log_every=1,
    validate_every=3,
    validation_batches=1,
    checkpoint_every=2,
)
JOINT, INTERACTION, PRETRAIN, AWARE = (
    RUN.stage(JointConfig),
    RUN.stage(InteractionConfig),
    RUN.stage(MemoryPretrainConfig),
    RUN.stage(MemoryAwareConfig),
)


@cache
def tokenizer() -> ChatTokenizer:
    """Trained on generated conversations, as stage 0 does it."""
    return ChatTokenizer.train(Corpus.load(DataConfig(), seed=0).all_text(30), RUN.tokenizer.vocab_size)


def template() -> Template:
    return Template(tokenizer(), "alpha", MODEL.max_length)


def learner(model: RxTConfig = MODEL, seed: int = 0, double: bool = False) -> ReactiveLearner:
    torch.manual_seed(seed)
    made = ReactiveLearner(ReactiveTransformer(model.with_vocabulary(tokenizer().vocab_size, tokenizer().tokens)))
    return made.double() if double else made


def mixed_data(
    everyday_share: float = 1.0,
    files: tuple[str, ...] = (),
    validation_files: tuple[str, ...] = (),
    on_bad: Literal["stop", "skip"] = "stop",
    everyday: EverydayConfig | None = None,
) -> DataConfig:
    """Everyday conversations, and files for the rest of every batch."""
    data = DataConfig((TaskSource("everyday", everyday),), on_bad=on_bad)
    return with_files(data, files, validation_files, everyday_share)


def read_of(corpus: Corpus) -> Mapping[Split, tuple[Conversation, ...]]:
    """What a corpus read from its one source of files."""
    (found,) = (source for source in corpus.told if isinstance(source, FileConversations))
    return found.read.records


def stages(run: RunConfig = RUN) -> list[Any]:
    """The stages of a run, without a folder."""
    context = StageContext(Corpus.load(run.data, run.seed), template(), run.data, run.seed, Path(), print)
    return [build_stage(config, context) for config in run.stages]


PREFERENCE = PreferenceConfig(steps=6, turns=4, batch_size=4, beta=1.0, optim=OPTIM)


def preference_stage(
    folder: Path, config: PreferenceConfig = PREFERENCE, data: DataConfig = RUN.data
) -> PreferenceStage:
    """Stage 5′ without an evaluator; its reference goes into ``folder``."""
    corpus, _ = PreferenceCorpus.load(data, config.rejected, RUN.seed).differing(template())
    return PreferenceStage(corpus, template(), config, Reference(folder / "reference"))


def quiet() -> Console:
    """A console that keeps what is printed to itself: ``console.file.getvalue()``."""
    return Console(file=io.StringIO(), width=80)


def random_conversations(
    turns: list[int], vocabulary: int = 13, longest: int = 9, seed: int = 0, aside: bool = False
) -> list[list[Encoded]]:
    """Conversations of these many turns, whose interactions have random lengths, tokens and targets; ``aside``: of some
    not all is memorized."""
    rng = Random(seed)

    def interaction() -> Encoded:
        length = rng.randint(3, longest)
        loss = [False] + [rng.random() < 0.5 for _ in range(length - 2)] + [True]
        stop = rng.randint(1, length - 1) if aside and rng.random() < 0.6 else 0
        return Encoded([rng.randrange(vocabulary) for _ in range(length)], loss, aside=(stop // 2, stop))

    return [[interaction() for _ in range(count)] for count in turns]


def random_batch(turns: list[int], vocabulary: int = 13) -> Conversations:
    return collate_conversations(random_conversations(turns, vocabulary), pad=0)


def gradients(loss: Tensor, module: nn.Module) -> dict[str, Tensor]:
    """Of every parameter, by name; zeros where the loss does not depend on it."""
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    found = torch.autograd.grad(loss, [parameter for _, parameter in named], allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for (name, parameter), gradient in zip(named, found, strict=True)
    }


def assert_same_gradients(found: dict[str, Tensor], expected: dict[str, Tensor], atol: float = 1e-11) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(
            found[name], expected[name], rtol=1e-9, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )
