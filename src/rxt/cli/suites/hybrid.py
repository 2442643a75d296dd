"""``rxt eval hybrid``: thinking and tools, over what was told turns ago."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from rxt.cli.arguments import check_least, parse_arguments
from rxt.cli.chat import check_writable
from rxt.cli.suites.common import progress_bar, write_numbers
from rxt.cli.suites.retention import parse_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rxt.evaluation.hybrid import By, HybridResult, ProbeKind, Tally


@dataclass(frozen=True)
class HybridOptions:
    """How well a model of the Beta template thinks and calls tools over what was told turns ago: answers at once, after
    thinking, and as it decides itself; calls that are valid, with right arguments, and right answers after them; and
    the same with the memory emptied."""

    model: tyro.conf.Positional[str]
    """A model folder or hub id."""
    base: str = ""
    """Where the pre-trained model is that MODEL is the memory of, if not where its configuration says."""
    split: Literal["test", "validation"] = "test"
    """Of the task: combinations of values, and tools, that training does not show."""
    distances: str = "1,4,16"
    """Turns since the last of what is needed was told: ranges as in 1-4 and single ones as in 16, with commas
    between."""
    questions: int = 32
    """Of every kind, at every distance."""
    kinds: str = "recall,steps,call,new_tool,no_tool"
    """What is asked: for what was told, for what follows from it in steps, for what a tool gives, for what one gives
    that training never shows, and for what none gives."""
    budget: int | None = None
    """Tokens of thinking at most."""
    calls: Literal["free", "strict"] = "free"
    """Calls as the model writes them, or held to their tool's schema while they are decoded (needs llguidance)."""
    seed: int = 1
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the numbers there too."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Draw them there too, as SVG."""


def run(argv: list[str]) -> int:
    """Entry of the suite."""
    from rxt.evaluation.hybrid import HybridPlan, comparison, kinds_of, measure_hybrid, numbers_of
    from rxt.evaluation.in_parts import load_in_parts
    from rxt.evaluation.report.plots import check_plots, hybrid_plot, standalone
    from rxt.files import write_atomically
    from rxt.generation.reply_constraint import require_grammars

    options = parse_arguments(HybridOptions, "rxt eval hybrid", argv)
    check_least(options, ("questions", 1))
    if options.budget is not None:
        check_least(options, ("budget", 0))
    for path in (options.json, options.plot):
        if path:
            check_writable(path)
    if options.plot:
        check_plots()
    distances = tuple(parse_numbers("--distances", options.distances))
    strict = options.calls == "strict"
    if strict:
        require_grammars()
    plan = HybridPlan(
        distances, options.questions, kinds_of(options.kinds), options.split, options.budget, strict_calls=strict
    )
    subject = load_in_parts(options.model, options.base or None)
    with progress_bar() as progress:
        bar = progress.add_task("asking", total=plan.total)
        result = measure_hybrid(subject, plan, options.seed, lambda done: progress.advance(bar, done))
    console = Console()
    for table in tables(result, f"split {options.split}, seed {options.seed}, {options.calls} calls"):
        console.print(table)
    for name, found in comparison(result).items():
        if found is not None:
            console.print(f"{name.replace('_', ' ')}: {found:.3f}")
    if options.json:
        about = {"model": options.model, "split": options.split, "seed": options.seed, "budget": options.budget}
        trained = {"calls": options.calls, "trained_turns": subject.trained_turns}
        write_numbers(options.json, about | trained | numbers_of(result))
    if options.plot:
        write_atomically(options.plot, standalone(hybrid_plot(result)).encode())
    return 0


def tables(result: HybridResult, title: str) -> list[Table]:
    """Answers by kind and mode, and calls."""
    from rxt.evaluation.hybrid import CALLED, total

    answers = Table(
        title=f"right answers, {title}",
        caption="reset: auto, out of an emptied memory; tokens: said for an answer; needless: calls that nobody needs",
    )
    calls = Table(title=f"calls, {title}", caption="final: right answers after what came of the call")
    for name in (
        "asked for",
        "mode",
        *(f"{at} turns ago" for at in result.distances),
        "all",
        "thought",
        "tokens",
        "needless",
    ):
        answers.add_column(name, justify="left" if name in ("asked for", "mode") else "right")
    for name in ("asked for", "mode", "turns ago", "valid", "arguments", "final", "tokens"):
        calls.add_column(name, justify="left" if name in ("asked for", "mode") else "right")
    by_mode: dict[str, By] = {**result.modes, "reset": result.reset}
    for kind in result.kinds():
        for mode, found in by_mode.items():
            whole = total(found, [kind])
            if kind in CALLED:
                for at in result.distances:
                    _call_row(calls, kind, mode, str(at), total(found, [kind], [at]))
                continue
            shares = [_share(tally, tally.right) for tally in _at(found, kind, result.distances)]
            costs = _share(whole, whole.thought), f"{whole.tokens / whole.asked:.1f}", _share(whole, whole.called)
            answers.add_row(kind.replace("_", " "), mode, *shares, _share(whole, whole.right), *costs)
        if kind not in CALLED:
            chance = f"{result.chance[kind]:.3f}"
            answers.add_row(kind.replace("_", " "), "chance", *("" for _ in result.distances), chance, "", "", "")
        (calls if kind in CALLED else answers).add_section()
    return [table for table in (answers, calls) if table.row_count]


def _at(found: By, kind: ProbeKind, distances: Sequence[int]) -> list[Tally]:
    from rxt.evaluation.hybrid import total

    return [total(found, [kind], [distance]) for distance in distances]


def _call_row(table: Table, kind: ProbeKind, mode: str, distance: str, tally: Tally) -> None:
    shares = (_share(tally, count) for count in (tally.valid, tally.arguments, tally.right))
    table.add_row(kind.replace("_", " "), mode, distance, *shares, f"{tally.tokens / tally.asked:.1f}")


def _share(tally: Tally, count: int) -> str:
    return f"{count / tally.asked:.3f}"
