"""What a run trains: a Reactive Transformer or a baseline of its size, by which stages, and how the result is saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from rxt.baselines.config import BaselineKind
from rxt.baselines.model import Baseline, baseline_like
from rxt.config import RxTConfig
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.files import write_atomically
from rxt.folders import model_folder
from rxt.interop.layouts import load_pretrained
from rxt.interop.on_base import load_base
from rxt.model.checkpoint import save_model
from rxt.model.copying_start import start_copying
from rxt.model.grow import grow
from rxt.model.mixture_of_memory import with_pool
from rxt.model.reactive import ReactiveTransformer
from rxt.training.card import model_card
from rxt.training.config import RunConfig
from rxt.training.config_base import StageConfig
from rxt.training.encoder_alone import encoder_saver
from rxt.training.learner import BaselineLearner, GrownLearner, Learner, ReactiveLearner
from rxt.training.run_folder import first_difference
from rxt.training.stages.base import CurriculumStage, Stage

Ends = Mapping[str, int]
"""By stage, the step whose weights it ended with."""


@dataclass(frozen=True)
class StageWork:
    """One stage of a run."""

    config: StageConfig
    stage: Stage[Any, Any]
    learner_for: Callable[[Learner], Learner]
    """What the stage trains, of the run's learner."""
    curve: str
    """The metric that is plotted when the run is over."""
    save_encoder: Callable[[Path], None] | None = None
    """Writes the encoder and its MLM head, after a stage that trains both."""


@dataclass(frozen=True)
class Work:
    """What a run trains: by which stages, and how the result is written into a folder."""

    learner: Learner
    stages: list[StageWork]
    save: Callable[[Path, Ends], None]


def reactive_work(run: RunConfig, stages: list[CurriculumStage]) -> Work:
    """A Reactive Transformer by its whole curriculum."""
    model = new_model(run) if run.start is None else started_model(run, run.start)
    began = model.fingerprint() if run.start else None
    learner = GrownLearner(model) if run.adapts else ReactiveLearner(model)

    def save(folder: Path, ends: Ends) -> None:
        save_model(learner.model, folder)
        # the base may have been rounded in training; what is loaded has it as it is
        saved = load_pretrained(folder) if run.adapts else learner.model
        write_atomically(folder / "README.md", model_card(run, folder.parent, saved, ends, began).encode())

    save_encoder = encoder_saver(learner) if isinstance(learner, ReactiveLearner) else None
    return Work(
        learner,
        [
            StageWork(
                config, stage, stage.learner_for, stage.curve(), save_encoder if stage.trains_mlm_head() else None
            )
            for config, stage in zip(run.stages, stages, strict=True)
        ],
        save,
    )


def baseline_work(run: RunConfig, kind: BaselineKind, stages: list[CurriculumStage]) -> Work:
    """A baseline of the run's model's size, on the same data in the same order; it has no stage 3."""
    learner = BaselineLearner(Baseline(baseline_like(run.model, kind, max(1, run.longest))))
    twins = [(config, stage.baseline(), stage.curve()) for config, stage in zip(run.stages, stages, strict=True)]
    return Work(
        learner,
        [StageWork(config, twin, lambda learner: learner, curve) for config, twin, curve in twins if twin is not None],
        lambda folder, _: learner.model.save_pretrained(folder),
    )


def run_model(run: RunConfig, tokenizer: ChatTokenizer) -> RxTConfig:
    """The configuration of the run's model, which takes the tokenizer's vocabulary unless it has its weights
    already, or its base has."""
    if run.start is not None or run.model.base is not None:
        return replace(run.model, trained_turns=max(run.longest, run.model.trained_turns or 0) or None)
    return replace(run.model.with_vocabulary(tokenizer.vocab_size, tokenizer.tokens), trained_turns=run.longest or None)


def new_model(run: RunConfig) -> ReactiveTransformer:
    """An untrained model, on its base where it has one."""
    if run.model.base is not None:
        return grow(load_base(run.model.base, "the run").decoder, run.model, ReactiveTransformer)
    model = ReactiveTransformer(run.model)
    if run.copies:
        start_copying(model)
    return model


def started_model(run: RunConfig, start: str) -> ReactiveTransformer:
    """The model that the run goes on with; its weights must be of the run's configuration. A pool of fragments may be
    new, with a router that is still to be trained, and so may the parts of interactions with a pre-trained base."""
    folder = model_folder(start)
    model = load_pretrained(folder)
    if model.config.pool is None and run.model.pool is not None:
        torch.manual_seed(run.seed)
        model = with_pool(model, run.model.pool)
    if model.config.gains_parts(run.model):
        model.config = replace(model.config, template="beta", tokens=run.model.tokens)
    adapter = TypeAdapter(RxTConfig)
    found, wanted = (
        adapter.dump_python(replace(config, trained_turns=None), mode="json") for config in (model.config, run.model)
    )
    different = first_difference(found, wanted, "model")
    if different:
        raise UserError(
            f"{folder}: another model than the run's: {different}; leave the model as it is to go on from its weights"
        )
    model.config = run.model
    return model
