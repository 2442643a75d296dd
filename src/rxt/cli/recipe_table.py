"""What ``rxt train RECIPE --show`` prints: the model, its data and its stages, as docs/training.md has them."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from rxt.cli.info import short
from rxt.model.parameters import parameter_counts
from rxt.training.config import RunConfig
from rxt.training.config_base import PhaseSummary

WIDEST = 110
"""Columns: lines that are longer read badly."""


def print_recipe(run: RunConfig, console: Console) -> None:
    """The run in a few lines, and a table of its stages.

    Args:
        console: one without markup, since names of files and patterns of parameters may hold brackets.
    """
    console.print(summary(run))
    console.print()
    console.print(stages(run, console.width))


def summary(run: RunConfig) -> Table:
    """What all stages share: model, start, data."""
    layers, slots, size = run.model.memory_shape
    total = short(parameter_counts(run.model).total)
    table = Table(box=None, show_header=False, pad_edge=False, title=run.name, title_justify="left", title_style="bold")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("model", f"{total} parameters; memory: {layers} layers × {slots:,} slots × {size}")
    if run.start is not None:
        table.add_row("goes on from", run.start)
    if run.baseline is not None:
        table.add_row("baseline", f"{run.baseline}, trained in place of the model, without a memory attention")
    if run.copies:
        table.add_row("begins", "able to copy what was told")
    table.add_row("data", "\n".join(run.data.describe()))
    table.add_row("seed", str(run.seed))
    return table


def stages(run: RunConfig, width: int) -> Table:
    """A line for each stage and for each phase of one that has several, by the names that ``--set`` gives them.

    Args:
        width: in columns, that it may have.
    """
    table = Table(box=None, header_style="bold", pad_edge=False, width=min(width, WIDEST))
    table.add_column("stage", no_wrap=True)
    for heading in ("updates", "batch", "turns"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading, longest_word in (("data", "conversations"), ("trains", "attention"), ("loss", "cross-entropy,")):
        table.add_column(heading, overflow="fold", ratio=len(longest_word))  # 80 columns cut no word
    if run.start is None and run.model.base is None:
        table.add_row("tokenizer", "–", "–", "–", "all training texts", "–", "byte-level BPE")
    for stage in run.stages:
        loss, phases = stage.summary()
        if len(phases) == 1:
            table.add_row(stage.kind, *cells(phases[0]), loss)
            continue
        table.add_row(stage.kind, "", "", "", "", "", loss)
        for number, phase in enumerate(phases):
            table.add_row(f"  phases.{number}", *cells(phase))
    return table


def cells(phase: PhaseSummary) -> tuple[str, str, str, str, str]:
    """A phase in the columns between its name and its loss."""
    turns = "–" if phase.turns is None else str(phase.turns)
    return f"{phase.steps:,}", f"{phase.batch_size:,}", turns, phase.data, phase.trains
