"""``rxt eval retention``: recall by distance, with its controls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from rxt.cli.arguments import parse_arguments
from rxt.cli.chat import check_writable
from rxt.cli.suites.common import progress_bar, write_numbers
from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.evaluation.retention import Score

BAR = 40


@dataclass(frozen=True)
class RetentionOptions:
    """Recall by distance: how often a fact is recalled, by how many turns ago it was told."""

    model: tyro.conf.Positional[str] = ""
    """A model folder or hub id; the bundled model when not given."""
    split: Literal["test", "test-unseen-phrasings", "validation", "train"] = "test"
    """Of the generator. Training shows neither the value combinations of the test splits nor the phrasings of the second."""
    distances: str = "1-16"
    """In turns: a range as in 1-16, or a list as in 1,2,4,8."""
    questions: int = 64
    """At every distance."""
    seed: int = 1
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the numbers there too."""


def run(argv: list[str]) -> int:
    """Entry of the suite."""
    return retention(parse_arguments(RetentionOptions, "rxt eval retention", argv))


def retention(options: RetentionOptions) -> int:
    """The curve, its controls, and how far the model was trained."""
    from rxt.data.template import Template
    from rxt.evaluation.retention import interval, measure_retention
    from rxt.evaluation.subject import Reactive
    from rxt.generation.conversation import load_model

    distances = parse_distances(options.distances)
    if options.questions < 2:
        raise UserError(f"--questions {options.questions}: ask at least two; the memory of one is the other's control")
    if options.json:
        check_writable(options.json)
    model, tokenizer = load_model(options.model or None)
    subject = Reactive(model, Template.of_model(model.config, tokenizer))
    with progress_bar() as progress:
        task = progress.add_task("asking", total=options.questions * len(distances))
        report: Callable[[int], None] = lambda done: progress.advance(task, done)  # noqa: E731
        result = measure_retention(subject, options.split, distances, options.questions, options.seed, report)

    console = Console()
    table = Table(title=f"recall by distance, split {options.split}, seed {options.seed}")
    for name in ("turns ago", "right", "of", "recall", "95 % interval", ""):
        table.add_column(name, justify="left" if not name else "right")

    def row(name: str, score: Score) -> None:
        if not score.asked:
            return
        low, high = interval(score)
        table.add_row(
            name, str(score.right), str(score.asked), f"{score.share:.3f}", f"{low:.3f}-{high:.3f}", "█" * round(BAR * score.share)
        )

    for distance, score in result.by_distance.items():
        row(str(distance), score)
    table.add_section()
    groups = [(first, last) for first, last in ((1, 8), (9, 16), (17, 32), (33, 64)) if result.between(first, last).asked]
    for first, last in groups:
        row(f"{first}-{last}", result.between(first, last))
    row("changed facts", result.changed)
    row("never told", result.never_told)
    table.add_section()
    row("memory reset", result.reset)
    row("other memory", result.shuffled)
    table.add_row("chance", "", "", f"{result.chance:.3f}", "", "")
    console.print(table)
    if options.json:
        numbers = {
            "model": options.model or "bundled",
            "split": options.split,
            "seed": options.seed,
            "recall_by_distance": {str(distance): share(score) for distance, score in result.by_distance.items()},
            "questions_by_distance": {str(distance): score.asked for distance, score in result.by_distance.items()},
            "recall_by_group": {f"{first}-{last}": share(result.between(first, last)) for first, last in groups},
            "changed": share(result.changed),
            "never_told": share(result.never_told),
            "controls": {"reset": share(result.reset), "shuffled": share(result.shuffled), "chance": result.chance},
        }
        write_numbers(options.json, numbers)
    return 0


def share(score: Score) -> float | None:
    """For JSON, which has no NaN: None where nothing was asked."""
    return score.share if score.asked else None


def parse_distances(text: str) -> list[int]:
    """``1-4`` or ``1,2,8`` -> the distances, rising."""
    try:
        distances: set[int] = set()
        for part in text.split(","):
            first, _, last = part.partition("-")
            distances |= set(range(int(first), int(last or first) + 1))
    except ValueError:
        distances = set()
    if not distances or min(distances) < 1:
        raise UserError(f"--distances {text}: write a range as in 1-16 or a list as in 1,2,4,8; distances are at least 1")
    return sorted(distances)
