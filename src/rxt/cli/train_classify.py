"""``rxt train classify``: a classifier of texts out of a model's encoder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from rxt.cli.arguments import parse_arguments
from rxt.cli.device import find_device
from rxt.cli.launch import check_workers, launch
from rxt.cli.process_group import in_process_group
from rxt.errors import UserError


@dataclass(frozen=True)
class Options:
    """Train a classifier of texts on a model's encoder, or go on with a training that was stopped."""

    start: Annotated[str, tyro.conf.arg(name="from", metavar="MODEL")]
    """Whose encoder: a whole model or an encoder; a folder, or owner/name on the Hugging Face Hub."""
    data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE"), tyro.conf.UseAppendAction]
    """Texts with labels, {"text", "label"} (JSON Lines, CSV, Parquet, .gz, or a hub dataset id); repeatable."""
    out: Path = Path("runs/classify")
    """The run's folder. A run found there goes on."""
    validation_data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE"), tyro.conf.UseAppendAction] = ()
    """Texts with labels to judge by; without them a share of --data is held out."""
    held_out: float = 0.1
    """Share of each label's texts that is held out."""
    frozen: bool = False
    """Train the head alone, on an encoder that stays as it is."""
    epochs: int | None = None
    """How often every text is learned from; 10 when not given, 50 with --frozen."""
    batch_size: int = 32
    """Texts in an update."""
    learning_rate: float | None = None
    """At its peak; 3e-4 when not given, 1e-2 with --frozen."""
    tokenizer: str | None = None
    """A tokenizer.json, or a folder with one; by default the one beside MODEL's weights."""
    skip_bad_records: bool = False
    """Count and skip bad records instead of stopping at the first."""
    seed: int = 0
    """Of what is held out and of the order of the texts."""
    device: str | None = None
    """cpu, cuda, cuda:1 …; the first GPU when there is one, of several processes each its own."""
    workers: int = 1
    """Processes on this machine that share every update, started by torchrun's launcher."""
    parallel: Literal["replicate", "shard"] = "replicate"
    """What each of several processes holds: the whole classifier, or a part of it (FSDP2)."""


def run(argv: list[str]) -> int:
    """The recipe ``classify``."""
    options = parse_arguments(Options, "rxt train classify", argv)
    if not options.data:
        raise UserError("rxt train classify: name texts with labels: --data FILE")
    check_workers(options.workers, options.device)
    if "WORLD_SIZE" not in os.environ and options.workers > 1:
        return launch(["train", "classify", *argv], options.workers)
    from rich.console import Console

    from rxt.training.classify.config import ClassifyConfig
    from rxt.training.classify.run import train_classifier
    from rxt.training.freed_memory import keep_freed_memory

    config = ClassifyConfig(
        start=options.start,
        data=options.data,
        validation_data=options.validation_data,
        held_out=options.held_out,
        tokenizer=options.tokenizer,
        frozen=options.frozen,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        on_bad="skip" if options.skip_bad_records else "stop",
        seed=options.seed,
    )
    keep_freed_memory()
    device, console = find_device(options.device), Console(stderr=True)
    return in_process_group(lambda: train_classifier(config, options.out, console, device, options.parallel))
