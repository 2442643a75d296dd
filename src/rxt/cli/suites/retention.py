"""``rxt eval retention``: recall by distance, with its controls."""

from __future__ import annotations

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
    from rxt.evaluation.retention import Retention, Score

BAR = 30
GROUPS = ((1, 4), (5, 16), (17, 32), (33, 64), (65, 128), (129, 256))


@dataclass(frozen=True)
class RetentionOptions:
    """How often a fact is recalled, by how many turns ago it was told; with the memory reset, with another's, and by
    chance."""

    model: tyro.conf.Positional[str] = ""
    """A model folder or hub id; the bundled model when not given."""
    base: str = ""
    """Where the pre-trained model is that MODEL is the memory of, if not where its configuration says."""
    split: Literal["test", "test-unseen-phrasings", "validation", "train"] = "test"
    """Of the task. Training shows neither the value combinations of the test splits nor the phrasings of the second."""
    task: str = "everyday"
    """What the conversations are about: a task that asks for what was told so many turns ago (everyday, open,
    deeds, scenes)."""
    distances: str = "1-16,20,24,28,32,40,48,56,64"
    """In turns: ranges as in 1-16 and single ones as in 64, with commas between."""
    questions: int = 64
    """At every distance, and in every cell of the capacity table."""
    facts: str = "1,2,4,8,16"
    """Rows of the capacity table: facts told in one conversation, as distances are written; none leaves the table
    out."""
    kinds: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KIND"), tyro.conf.UseAppendAction] = ()
    """A kind of fact to ask for, when not the usual ones; repeatable."""
    values: int | None = None
    """Values of each kind that occur, when not as many as usual."""
    history_tokens: int | None = None
    """Of a model that reads its history again (rxt train --baseline history): it reads the last so many tokens only."""
    updates: Literal["float32", "bfloat16", "auto"] = "float32"
    """The type that memory updates multiply in; auto: bfloat16 where that is faster."""
    seed: int = 1
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the numbers there too."""


def run(argv: list[str]) -> int:
    """Entry of the suite."""
    return retention(parse_arguments(RetentionOptions, "rxt eval retention", argv))


def retention(options: RetentionOptions) -> int:
    """The curve, its controls, and how far the model was trained."""
    from rxt.baselines.subjects import load_any
    from rxt.evaluation.retention import Plan, measure_retention
    from rxt.tasks.registry import task as task_called

    if options.questions < 2:
        raise UserError(f"--questions {options.questions}: ask at least two; the memory of one is the other's control")
    facts = () if options.facts == "none" else tuple(parse_numbers("--facts", options.facts))
    settings: dict[str, object] = {"kinds": options.kinds} if options.kinds else {}
    if options.values is not None:
        settings["values"] = options.values
    task = task_called(options.task, settings)
    plan = Plan(tuple(parse_numbers("--distances", options.distances)), options.questions, facts, task=task)
    if options.json:
        check_writable(options.json)
    plan.check(options.split)
    subject = load_any(options.model or None, options.history_tokens, options.base or None, options.updates)
    with progress_bar() as progress:
        bar = progress.add_task("asking", total=plan.total)
        result = measure_retention(subject, options.split, plan, options.seed, lambda done: progress.advance(bar, done))
    console = Console()
    console.print(curve_table(result, f"recall by distance, split {options.split}, seed {options.seed}"))
    if result.capacity:
        console.print(_capacity(result))
    trained = "not known" if subject.trained_turns is None else f"{subject.trained_turns} turns"
    console.print(
        f"longest conversations: in training {trained}, "
        f"tested here {max(plan.distances)} turns and the one to three before"
    )
    if options.json:
        write_numbers(options.json, numbers_of(result, options, subject.trained_turns))
    return 0


def curve_table(result: Retention, title: str) -> Table:
    """Recall by distance and in groups, the harder questions, and the controls."""
    from rxt.evaluation.retention import total

    caption = (
        "distracted: the same kind of fact was told of somebody else too; "
        "changed: the newest value counts; never told: it says so"
    )
    table = Table(title=title, caption=caption)
    for name in ("turns ago", "right", "of", "recall", "95 % interval", ""):
        table.add_column(name, justify="left" if not name else "right")

    def row(name: str, score: Score) -> None:
        if score.asked:
            low, high = score.interval
            bar = "█" * round(BAR * score.share)
            table.add_row(name, str(score.right), str(score.asked), f"{score.share:.3f}", f"{low:.3f}-{high:.3f}", bar)

    for distance, score in result.by_distance.items():
        row(str(distance), score)
    table.add_section()
    for first, last in GROUPS:
        row(f"{first}-{last}", result.between(first, last))
    table.add_section()
    row("distracted", result.distracted)
    for kind, score in result.special.items():
        row(kind.replace("_", " "), score)
    table.add_section()
    row("memory reset", total(result.reset.values()))
    row("another's memory", total(result.shuffled.values()))
    table.add_row("chance", "", "", f"{result.chance:.3f}", "", "")
    return table


def _capacity(result: Retention) -> Table:
    facts, distances = (sorted(set(numbers)) for numbers in zip(*result.capacity, strict=True))
    table = Table(title="recall by facts told in the conversation, one a turn, and distance")
    table.add_column("facts", justify="right")
    for distance in distances:
        table.add_column(f"{distance} turns ago", justify="right")
    for count in facts:
        table.add_row(str(count), *(f"{result.capacity[count, distance].share:.3f}" for distance in distances))
    return table


def numbers_of(result: Retention, options: RetentionOptions, trained_turns: int | None) -> dict[str, object]:
    """The JSON of a measurement."""
    return {
        "model": options.model or "bundled",
        "task": options.task,
        "split": options.split,
        "seed": options.seed,
        "updates": options.updates,
        "trained_turns": trained_turns,
        "tested_turns": max(result.by_distance),
        **curve_numbers(result),
        "distracted": share_of(result.distracted),
        **{kind: share_of(score) for kind, score in result.special.items()},
        "capacity": {
            str(facts): {
                str(distance): share_of(score) for (of, distance), score in result.capacity.items() if of == facts
            }
            for facts, _ in result.capacity
        },
    }


def curve_numbers(result: Retention) -> dict[str, object]:
    """The curve and its controls for JSON; recall is None where nothing was asked."""
    from rxt.evaluation.retention import total

    groups = {f"{first}-{last}": result.between(first, last) for first, last in GROUPS}
    curve = result.by_distance
    return {
        "recall_by_distance": {str(distance): share_of(score) for distance, score in curve.items()},
        "intervals_by_distance": {str(distance): score.interval for distance, score in curve.items()},
        "questions_by_distance": {str(distance): score.asked for distance, score in curve.items()},
        "recall_by_group": {name: share_of(score) for name, score in groups.items() if score.asked},
        "controls": {
            "reset": share_of(total(result.reset.values())),
            "shuffled": share_of(total(result.shuffled.values())),
            "chance": result.chance,
        },
        "controls_by_distance": {
            "reset": {str(distance): share_of(score) for distance, score in result.reset.items()},
            "shuffled": {str(distance): share_of(score) for distance, score in result.shuffled.items()},
        },
    }


def share_of(score: Score) -> float | None:
    """For JSON, which has no NaN: None where nothing was asked."""
    return score.share if score.asked else None


def parse_numbers(option: str, text: str) -> list[int]:
    """``1-4`` or ``1,2,8`` -> the numbers, rising."""
    try:
        numbers: set[int] = set()
        for part in text.split(","):
            first, _, last = part.partition("-")
            numbers |= set(range(int(first), int(last or first) + 1))
    except ValueError:
        numbers = set()
    if not numbers or min(numbers) < 1:
        raise UserError(
            f"{option} {text}: write ranges as in 1-16 and single ones as in 64, with commas between; 1 is the least"
        )
    return sorted(numbers)
