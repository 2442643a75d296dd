"""``rxt eval capacity``: recall by the number of facts alive, with a pool of fragments and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from rxt.cli.arguments import check_least, parse_arguments
from rxt.cli.chat import check_writable
from rxt.cli.suites.common import progress_bar, write_numbers
from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.evaluation.capacity import Cell, TurnCost


@dataclass(frozen=True)
class CapacityOptions:
    """How many facts a memory holds at once: one is asked for after so many have been told. With a model that has a
    pool of fragments, also without it, how well questions are routed, and what a turn costs by the number of
    fragments. With --larger, also out of a plain memory of more slots."""

    model: tyro.conf.Positional[str] = ""
    """A model folder or hub id; the bundled model when not given."""
    base: str = ""
    """Where the pre-trained model is that MODEL is the memory of, if not where its configuration says."""
    larger: str = ""
    """A model trained alike whose plain memory has as many slots as the pool has in all: what could be held at most, at
    the cost of reading all of it."""
    cells: tuple[str, ...] = ("4,3", "16,12", "32,24")
    """FACTS,DISTANCE: told in one conversation, one a turn, and turns since that one was told which is asked for; up to
    1024,1000 with --task open."""
    questions: int = 64
    """In every cell."""
    split: Literal["test", "test-unseen-phrasings", "validation", "train"] = "test"
    """Of the task."""
    task: str = "everyday"
    """What the conversations are about: everyday, which has some 300 facts to tell, or open, which has a thousand."""
    fragments: tuple[int, ...] = (1, 10, 100, 1_000, 10_000)
    """Of pools whose turns are timed; as many as a turn sees at least."""
    seed: int = 1
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the numbers there too."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Draw what a turn takes by the number of fragments there, as SVG."""


def run(argv: list[str]) -> int:
    """Entry of the suite."""
    from rxt.data.template import Template
    from rxt.evaluation.capacity import measure_capacity, measure_turn_cost
    from rxt.evaluation.report.plots import check_plots, fragments_plot, standalone
    from rxt.evaluation.subject import Reactive
    from rxt.files import write_atomically
    from rxt.pretrained import load_model
    from rxt.tasks.registry import task as task_called

    options = parse_arguments(CapacityOptions, "rxt eval capacity", argv)
    check_least(options, ("questions", 1))
    cells, task = [cell_of(text) for text in options.cells], task_called(options.task)
    for facts, distance in cells:
        task.crowded_probe(options.split, facts, distance, options.seed, 0)  # what it cannot do is said at once
    for path in filter(None, (options.json, options.plot)):
        check_writable(path)
    if options.plot:
        check_plots()
    model, tokenizer = load_model(options.model or None, base=options.base or None)
    pool = model.config.pool
    if options.plot and pool is None:
        raise UserError("--plot draws the cost of a turn by the number of fragments, and this model keeps none")
    template = Template.of_model(model.config, tokenizer)
    larger = None
    if options.larger:
        other, words = load_model(options.larger)
        larger = Reactive(other, Template.of_model(other.config, words))
    with progress_bar() as progress:
        bar = progress.add_task("asking", total=len(cells) * options.questions)
        found = measure_capacity(
            model,
            template,
            task,
            cells,
            options.questions,
            options.split,
            options.seed,
            lambda done: progress.advance(bar, done),
            larger,
        )
    counts = () if pool is None else sorted({max(count, pool.chosen) for count in options.fragments})
    costs = measure_turn_cost(model, template, counts) if counts else []
    console = Console()
    console.print(cells_table(found, f"recall by facts told, split {options.split}, seed {options.seed}"))
    if costs:
        console.print(costs_table(costs))
    if options.plot:
        write_atomically(options.plot, standalone(fragments_plot(costs)).encode())
    if options.json:
        write_numbers(options.json, numbers_of(options, found, costs))
    return 0


def cell_of(text: str) -> tuple[int, int]:
    """``FACTS,DISTANCE``."""
    numbers = text.split(",")
    if len(numbers) != 2 or not all(number.strip().isdigit() and int(number) for number in numbers):
        raise UserError(f"--cells {text}: a cell is FACTS,DISTANCE, both at least 1, such as 16,12")
    return int(numbers[0]), int(numbers[1])


def cells_table(cells: Sequence[Cell], title: str) -> Table:
    """A row for every cell."""
    table = Table(
        title=title,
        caption=(
            "routed: the question saw a fragment that was written when the fact was told; "
            "all: out of all fragments at once, nothing chosen"
        ),
    )
    for name in (
        "facts",
        "turns ago",
        "plain memory",
        "95 % interval",
        "pool",
        "95 % interval",
        "routed",
        "fragments",
        "all",
    ):
        table.add_column(name, justify="right")
    for name in ("larger memory", "95 % interval") if any(cell.larger for cell in cells) else ():
        table.add_column(name, justify="right")
    for cell in cells:
        low, high = cell.plain.interval
        row = [str(cell.facts), str(cell.distance), f"{cell.plain.share:.3f}", f"{low:.3f}-{high:.3f}"]
        if cell.pooled is not None and cell.routed is not None:
            low, high = cell.pooled.interval
            row += [f"{cell.pooled.share:.3f}", f"{low:.3f}-{high:.3f}"]
            row += [
                f"{cell.routed.share:.3f}",
                f"{cell.fragments:.1f}",
                "" if cell.whole is None else f"{cell.whole.share:.3f}",
            ]
        if cell.larger is not None:
            low, high = cell.larger.interval
            row += [""] * (9 - len(row)) + [f"{cell.larger.share:.3f}", f"{low:.3f}-{high:.3f}"]
        table.add_row(*row)
    return table


def costs_table(costs: Sequence[TurnCost]) -> Table:
    """A row for every number of fragments."""
    table = Table(title="a turn by the number of fragments, milliseconds")
    for name in ("fragments", "routed", "first token", "memorized"):
        table.add_column(name, justify="right")
    for cost in costs:
        seconds = (cost.route, cost.first_token or 0.0, cost.update)
        table.add_row(f"{cost.fragments:,}", *(f"{each * 1000:.2f}" for each in seconds))
    return table


def numbers_of(options: CapacityOptions, cells: Sequence[Cell], costs: Sequence[TurnCost]) -> dict[str, object]:
    """For JSON."""
    return {
        "model": options.model or "bundled",
        "larger": options.larger or None,
        "task": options.task,
        "split": options.split,
        "seed": options.seed,
        "cells": [asdict(cell) for cell in cells],
        "turns": [asdict(cost) for cost in costs],
    }
