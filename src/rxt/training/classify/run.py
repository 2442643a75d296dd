"""A run that makes a classifier.

::

    runs/classify/
      run.json            the configuration, and what the data and the encoder were
      classify/           checkpoints, metrics.jsonl
      scores.json         accuracy, macro-F1 and the scores of every class on the held-out texts
      curves.png          the loss, where matplotlib is installed
      model/              the result: config.json, model.safetensors, tokenizer.json, README.md
"""

from __future__ import annotations

import errno
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from rich.console import Console

from rxt.errors import UserError
from rxt.files import write_atomically
from rxt.folders import MODEL
from rxt.model.classifier import SequenceClassifier
from rxt.model.encoder import SharedEncoder
from rxt.model.fingerprint import digest
from rxt.training.classify.config import ClassifyConfig
from rxt.training.classify.examples import Examples
from rxt.training.classify.scores import Scores
from rxt.training.classify.stage import (
    ClassifierLearner,
    ClassifyStage,
    HeldOut,
    evaluation_batches,
    pooled,
    with_pooled,
)
from rxt.training.curves import plot_curves
from rxt.training.interrupt import interruptible
from rxt.training.loop import LoopContext, run_stage
from rxt.training.metrics import progress_display, say
from rxt.training.process_group import ProcessGroup, join_process_group, own_device
from rxt.training.run_folder import CURVES, RUN, check_same, found_run, locked, write_json
from rxt.training.together import Parallel
from rxt.understanding.text_classifier import TextClassifier
from rxt.understanding.text_encoder import load_text_encoder

SCORES = "scores.json"
SAMPLE = 1_024
"""Texts that tell how the encoder's means over tokens are spread."""


@dataclass(frozen=True)
class _Loop:
    """What the loop is told."""

    config: ClassifyConfig
    validate_every: int
    validation_batches: int = 1
    """It holds all held-out texts."""

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def log_every(self) -> int:
        return self.config.log_every

    @property
    def checkpoint_every(self) -> int:
        return self.config.checkpoint_every

    @property
    def keep_checkpoints(self) -> int:
        return self.config.keep_checkpoints


def train_classifier(
    config: ClassifyConfig, out: Path, console: Console, device: torch.device, parallel: Parallel = "replicate"
) -> Path:
    """Train to the end, from the last checkpoint where there is one; return the classifier's folder.

    ``parallel``: what each of several processes holds; like their number, it is no part of the run.

    Raises:
        UserError: data or model cannot be used, or the folder holds another run.
    """
    device = own_device(device)
    try:
        with join_process_group(device) as process_group:
            if not process_group.is_main_process:
                return _train(config, out, Console(quiet=True), device, process_group, parallel)
            with locked(out):
                return _train(config, out, console, device, process_group, parallel)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
        raise UserError(
            f"{out}: {reason}; what was checkpointed is whole, and the same command goes on from there"
        ) from None


def _train(
    config: ClassifyConfig,
    out: Path,
    console: Console,
    device: torch.device,
    process_group: ProcessGroup,
    parallel: Parallel,
) -> Path:
    parts = process_group.world_size
    if config.batch_size < parts:
        raise UserError(f"--batch-size {config.batch_size}: each of {parts} workers needs a text of every update")
    found = found_run(out) if process_group.is_main_process else None
    examples = Examples.load(config)
    reader = load_text_encoder(config.start, config.tokenizer)
    if isinstance(reader.encoder, SharedEncoder):
        raise UserError(
            f"{config.start}: its encoder is its decoder's own layers; a classifier needs a model with an encoder"
        )
    claimed: dict[str, Any] = {
        "classify": TypeAdapter(ClassifyConfig).dump_python(config, mode="json"),
        "examples": examples.digest(),
        "encoder": digest(reader.encoder),
    }
    if found is not None:
        check_same(out, found, claimed)
    cut = examples.count_cut(reader)
    too_long = [f"{cut} texts are longer than {reader.max_length} tokens and are cut"] if cut else []
    for warning in (*examples.warnings, *too_long):
        say(console, f"warning: {warning}", "yellow")
    if process_group.is_main_process:
        write_json(out / RUN, claimed)

    torch.manual_seed(config.seed)
    classifier = SequenceClassifier(reader.encoder, examples.classes).to(device)
    train, held = (examples.encoded(part, reader) for part in (examples.train, examples.held))
    if config.frozen:
        train, held = (with_pooled(classifier, part, reader) for part in (train, held))
    sample = random.Random(config.seed).sample(train, min(SAMPLE, len(train)))
    learner = ClassifierLearner(classifier, config.frozen, pooled(classifier, sample, reader)).to(device)
    pad = reader.tokenizer.tokens.pad
    epoch = -(-len(train) // config.batch_size)
    steps = epoch * config.passes
    evaluator = HeldOut(evaluation_batches(held, pad), epoch)
    stage = ClassifyStage(train, evaluator, config.optim(steps), steps, config.batch_size, pad, config.seed, parts)
    with interruptible() as interrupt, progress_display(console) as progress:
        loop = _Loop(config, epoch)
        run_stage(stage, learner, LoopContext(loop, out, console, progress, interrupt, process_group, parallel))
    if not process_group.is_main_process:
        return out / MODEL

    scores = evaluator.scores(learner)
    write_json(out / SCORES, numbers(scores, examples))
    plot_curves(out, {stage.name: "loss"}, out / CURVES)
    TextClassifier(learner.result(), reader.tokenizer).save_pretrained(out / MODEL)
    write_atomically(out / MODEL / "README.md", card(config, scores, examples).encode())
    say(
        console,
        f"The classifier is in {out / MODEL}: accuracy {scores.accuracy:.3f}, macro-F1 {scores.macro_f1:.3f} on "
        f"{len(held)} held-out texts (always the most frequent label: accuracy {scores.most_frequent:.3f}); "
        f"use it with  rxt classify {out / MODEL} TEXT",
    )
    return out / MODEL


def numbers(scores: Scores, examples: Examples) -> dict[str, object]:
    """The JSON of ``scores.json``."""
    by_class = zip(
        examples.classes,
        scores.f1.nan_to_num(0).tolist(),
        scores.actual.tolist(),
        scores.predicted.tolist(),
        strict=True,
    )
    return {
        "accuracy": scores.accuracy,
        "macro_f1": scores.macro_f1,
        "most_frequent": scores.most_frequent,
        "texts": {"train": len(examples.train), "held_out": len(examples.held)},
        "classes": {name: {"f1": f1, "texts": texts, "predicted": told} for name, f1, texts, told in by_class},
    }


def card(config: ClassifyConfig, scores: Scores, examples: Examples) -> str:
    """The model card: what was trained on what, and how good it is."""
    how = "the head alone, on a frozen encoder" if config.frozen else "encoder and head"
    return f"""---
library_name: reactive-transformers
pipeline_tag: text-classification
---

# A classifier of texts

- classes: {", ".join(examples.classes)}
- made of: the encoder of {config.start}; trained: {how}
- data: {", ".join(config.data)}, {len(examples.train)} texts, {config.passes} times
- on {len(examples.held)} held-out texts: accuracy {scores.accuracy:.3f}, macro-F1 {scores.macro_f1:.3f}
- always naming the most frequent label: accuracy {scores.most_frequent:.3f}
"""
