"""What ``rxt train RECIPE --plan`` is told, and what it prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.table import Table

from rxt.cli.chat import check_writable
from rxt.cli.info import short
from rxt.cli.suites.common import write_numbers
from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.training.config import RunConfig
    from rxt.training.plan.plan import Plan, StagePlan

WIDEST = 105
"""Columns of the widest table: a narrower terminal breaks its lines, but loses no number."""


@dataclass(frozen=True)
class PlanOptions:
    """For --plan alone."""

    gpus: int = 1
    """GPUs that train together."""
    gpu_memory: float = 80.0
    """Of one, in GB (10⁹ bytes)."""
    flops_per_gpu: float = 989e12
    """Operations a second that one makes at best, in bfloat16; an H100's when not given."""
    utilisation: float = 0.4
    """The share of them that training makes."""
    tokens: int | None = None
    """Of every interaction; the longest that the model takes when not given."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the numbers there too, in bytes and seconds."""

    def check(self) -> None:
        """Refuse numbers that cannot be."""
        if self.gpus < 1:
            raise UserError(f"--gpus {self.gpus}: must be at least 1")
        for name in ("gpu_memory", "flops_per_gpu"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be positive")
        if not 0 < self.utilisation <= 1:
            raise UserError(f"--utilisation {self.utilisation}: must be above 0 and at most 1")


def show_plan(run: RunConfig, options: PlanOptions, console: Console) -> None:
    """Plan a run and print it: a line for each stage or phase, what it holds and how long it takes, and what that comes
    to."""
    from rxt.training.plan.plan import Hardware, count_run

    options.check()
    if options.json is not None:
        check_writable(options.json)
    hardware = Hardware(options.gpus, options.gpu_memory * 1e9, options.flops_per_gpu, options.utilisation)
    plan = count_run(run, options.tokens).on(hardware)
    console.print(held(plan), width=max(console.width, WIDEST), crop=False)
    console.print()
    console.print(work(plan), width=max(console.width, WIDEST), crop=False)
    console.print()
    for line in notes(plan):
        console.print(line, style="dim", soft_wrap=True)
    console.print(verdict(plan), soft_wrap=True)
    if options.json is not None:
        write_numbers(options.json, {"fits": plan.fits, "seconds": plan.seconds, **asdict(plan)})


def held(plan: Plan) -> Table:
    """What one GPU holds."""
    hardware = plan.hardware
    gpus = "one GPU" if hardware.gpus == 1 else f"{hardware.gpus} GPUs"
    table = _table(f"{plan.name} on {gpus} of {in_bytes(hardware.memory)}: what one holds")
    headings = ("turns", "at once", "weights", "gradients", "optimiser", "bfloat16", "activations", "together")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for stage in plan.stages:
        for phase in stage.phases:
            of = phase.held
            numbers = (of.weights, of.gradients, of.optimiser, of.gathered, of.activations, of.together)
            over = of.together > hardware.usable
            turns = "–" if phase.turns is None else str(phase.turns)
            cells = (phase.name, turns, f"{phase.micro_batch:,}", *map(in_bytes, numbers))
            table.add_row(*cells, style="red" if over else None)
    return table


def work(plan: Plan) -> Table:
    """What is computed, and how long that takes."""
    table = _table("what it computes")
    for heading in ("updates", "batch", "tokens", "operations", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    phases = [phase for stage in plan.stages for phase in stage.phases]
    for phase in phases:
        counts = f"{phase.steps:,}", f"{phase.batch_size:,}", short(phase.tokens), f"{phase.flops:.2e}"
        table.add_row(phase.name, *counts, in_time(phase.seconds))
    tokens, flops = sum(phase.tokens for phase in phases), sum(phase.flops for phase in phases)
    table.add_row("all", "", "", short(tokens), f"{flops:.2e}", in_time(plan.seconds), style="bold")
    return table


def notes(plan: Plan) -> list[str]:
    """What the numbers mean."""
    hardware = plan.hardware
    return [
        f"Every interaction has {plan.tokens:,} tokens, every conversation all its turns (--tokens N for fewer).",
        f"Time is that of the operations at {hardware.utilisation:.0%} of {hardware.flops / 1e12:,.4g} TFLOP/s a GPU.",
    ]


def verdict(plan: Plan) -> str:
    """Whether it fits and what to do, in a line."""
    hardware = plan.hardware
    settings = " ".join(f"--set {setting}" for stage in plan.stages for setting in stage.settings if stage.fits)
    if not plan.fits:
        problems = [_problem(stage) for stage in plan.stages if not stage.fits]
        rest = f"; the other stages: {settings}" if settings else ""
        return f"does not fit: {'; '.join(problems)}{rest}"
    stage = max(plan.stages, key=lambda each: each.largest.held.together)
    most, usable = in_bytes(stage.largest.held.together), in_bytes(hardware.usable)
    sharded = [each.kind for each in plan.stages if each.layout.sharded]
    how = ""
    if sharded:
        which = "" if len(sharded) == len(plan.stages) else f" (for {', '.join(sharded)})"
        how = f", with --parallel shard over {hardware.gpus} GPUs{which}"
    return f"fits{f' with {settings}' if settings else ''}{how}: at most {most} of {usable} ({stage.largest.name})"


def _problem(stage: StagePlan) -> str:
    phase = stage.largest
    return f"{phase.name} needs {in_bytes(phase.held.together)} even at {phase.micro_batch} at once; {stage.trouble}"


def in_bytes(count: float) -> str:
    """A size in decimal units, as memory of GPUs is sold: 80 GB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            digits = f"{count / size:.0f}" if count >= 100 * size else f"{count / size:.3g}"
            return f"{digits} {unit}"
    return f"{count:.0f} B"


def in_time(seconds: float) -> str:
    """A duration in the unit that suits it."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.1f} s"


def _table(title: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, title=title, title_justify="left", title_style="bold")
    table.add_column("stage", no_wrap=True)
    return table
