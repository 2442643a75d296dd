"""``rxt eval babi``: the bAbI tasks, told line by line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from rxt.cli.arguments import parse_arguments
from rxt.cli.chat import check_writable
from rxt.cli.suites.common import progress_bar, write_numbers
from rxt.errors import UserError


@dataclass(frozen=True)
class BabiOptions:
    """Accuracy on the bAbI tasks of a folder: each line of a story is a message, and a question is answered from
    memory."""

    data: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder of the tasks' files: qa1_…_test.txt and so on, gzipped or not."""
    model: tyro.conf.Positional[str] = ""
    """A model folder or hub id; the bundled bAbI model when not given."""
    split: Literal["test", "validation"] | None = None
    """test: the test files. validation: the part of the training files that training leaves out. By default the test
    files, or the validation part where there are none."""
    seed: int = 1
    """Of fresh memories, in models that draw them."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the numbers there too."""


def run(argv: list[str]) -> int:
    """Entry of the suite."""
    return babi(parse_arguments(BabiOptions, "rxt eval babi", argv))


def babi(options: BabiOptions) -> int:
    """A table by task, with the control without memory."""
    from rxt.evaluation.groups import measure_groups
    from rxt.evaluation.pooled import load_subject
    from rxt.folders import BUNDLED_BABI
    from rxt.tasks.registry import task as task_called

    if options.json:
        check_writable(options.json)
    task = task_called("babi", {"folder": str(options.data)})
    tested = task.groups("test")
    split = options.split or ("test" if tested else "validation")
    tasks = tested if split == "test" else task.groups(split)
    if not tasks:
        missing = (
            "test files, called qa1_…_test.txt; --split validation measures a part of the training files"
            if split == "test"
            else ("stories for validation: training files are called qa1_…_train.txt")
        )
        raise UserError(f"{options.data}: holds no {missing}")
    if not options.model and not BUNDLED_BABI.is_dir():
        raise UserError("this installation has no bundled bAbI model; name a model folder")
    subject = load_subject(options.model or BUNDLED_BABI)
    stories = sum(map(len, tasks.values()))
    with progress_bar() as progress:
        bar = progress.add_task(f"telling {stories:,} stories", total=stories)
        results = measure_groups(
            subject, tasks, options.seed, task.longest_answer, lambda told: progress.advance(bar, told)
        )

    what = "the test files" if split == "test" else "the validation part of the training files"
    console = Console()
    if split == "validation" and options.split is None:
        console.print(f"{options.data} has no test files: what is measured is {what}, which training does not see.")
    table = Table(title=f"bAbI, {what}: {stories:,} stories")
    for name in ("task", "stories", "right", "of", "accuracy", "95 % interval", "memory reset"):
        table.add_column(name, justify="right")
    for name, result in results.items():
        low, high = result.score.interval
        share = f"{result.score.share:.3f}", f"{low:.3f}-{high:.3f}", f"{result.reset.share:.3f}"
        table.add_row(name, str(result.conversations), str(result.score.right), str(result.score.asked), *share)
    mean = sum(result.score.share for result in results.values()) / len(results)
    table.add_section()
    table.add_row("mean", "", "", "", f"{mean:.3f}", "", "")
    console.print(table)
    if subject.trained_turns:
        longest = max(len(story.queries) for told in tasks.values() for story in told)
        console.print(f"Trained on stories of up to {subject.trained_turns} lines; the longest here has {longest}.")
    if options.json:
        numbers = {
            "model": options.model or "bundled babi",
            "data": str(options.data),
            "split": split,
            "seed": options.seed,
            "accuracy": {name: result.score.share for name, result in results.items()},
            "questions": {name: result.score.asked for name, result in results.items()},
            "stories": {name: result.conversations for name, result in results.items()},
            "controls": {"reset": {name: result.reset.share for name, result in results.items()}},
            "mean": mean,
        }
        write_numbers(options.json, numbers)
    return 0
