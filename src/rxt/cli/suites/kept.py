"""``rxt eval kept``: what a pre-trained model has kept of its abilities, now that it has a memory."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from rxt.cli.arguments import check_least, parse_arguments
from rxt.cli.chat import check_writable
from rxt.cli.suites.common import progress_bar, write_numbers


@dataclass(frozen=True)
class KeptOptions:
    """Perplexity of a base's own answers to questions that it makes up: by the base itself, out of a fresh memory, and
    out of the memory of something else."""

    model: tyro.conf.Positional[str]
    """The folder or hub id of a model with a memory on a pre-trained base."""
    count: int = 64
    """Questions."""
    seed: int = 1
    """Of the questions; training draws others."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the numbers there too."""


def run(argv: list[str]) -> int:
    """Entry of the suite."""
    from rxt.data.template import Template
    from rxt.evaluation.kept import measure_kept
    from rxt.pretrained import load_model

    options = parse_arguments(KeptOptions, "rxt eval kept", argv)
    check_least(options, ("count", 2))
    if options.json:
        check_writable(options.json)
    model, tokenizer = load_model(options.model)
    with progress_bar() as progress:
        task = progress.add_task("answering", total=options.count)
        found = measure_kept(
            model,
            Template.of_model(model.config, tokenizer),
            options.count,
            options.seed,
            lambda done: progress.advance(task, done),
        )
    table = Table(title=f"the base's own answers to {found.interactions} questions, {found.tokens:,} tokens")
    for name in ("memory", "nats per token", "perplexity", "rise"):
        table.add_column(name, justify="left" if name == "memory" else "right")
    table.add_row("none: the base itself", f"{found.base:.4f}", f"{math.exp(found.base):.3f}", "–")
    for name, nats, rise in (
        ("fresh", found.fresh, found.rise),
        ("of something else", found.remembering, found.rise_remembering),
    ):
        table.add_row(name, f"{nats:.4f}", f"{math.exp(nats):.3f}", f"{rise:+.1%}")
    Console().print(table)
    if options.json:
        rises = {"rise": found.rise, "rise_remembering": found.rise_remembering}
        write_numbers(options.json, {"model": options.model, "seed": options.seed, **asdict(found), **rises})
    return 0
