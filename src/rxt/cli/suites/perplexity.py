"""``rxt eval perplexity``: how well the answers of real conversations are predicted, and what memory is worth there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from rxt.cli.arguments import parse_arguments
from rxt.cli.chat import check_writable
from rxt.cli.suites.common import progress_bar, write_numbers


@dataclass(frozen=True)
class PerplexityOptions:
    """Perplexity of the answers in a conversation file, with three memories: kept, reset every turn, another conversation's."""

    data: tyro.conf.Positional[str]
    """Conversations (JSON Lines, .gz, Parquet or a hub dataset id)."""
    model: tyro.conf.Positional[str] = ""
    """A model folder or hub id; the bundled model when not given."""
    seed: int = 1
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the numbers there too."""


def run(argv: list[str]) -> int:
    """Entry of the suite."""
    return perplexity(parse_arguments(PerplexityOptions, "rxt eval perplexity", argv))


def perplexity(options: PerplexityOptions) -> int:
    """What the memory is worth on real conversations."""
    from rxt.data.records import read_conversations
    from rxt.data.template import Template
    from rxt.evaluation.perplexity import measure_perplexity
    from rxt.generation.conversation import load_model

    if options.json:
        check_writable(options.json)
    conversations = read_conversations(options.data)
    model, tokenizer = load_model(options.model or None)
    template = Template.of_model(model.config, tokenizer)
    with progress_bar() as progress:
        task = progress.add_task("reading", total=len(conversations))
        results = measure_perplexity(model, template, list(conversations), options.seed, lambda done: progress.advance(task, done))
    table = Table(title=f"answers of {len(conversations)} conversations, {results.kept.tokens:,} tokens")
    for name in ("memory", "nats per token", "perplexity", "accuracy", "after the first turn"):
        table.add_column(name, justify="left" if name == "memory" else "right")
    rows = {"kept": results.kept, "reset every turn": results.reset, "another's": results.shuffled}
    for name, score in rows.items():
        table.add_row(name, f"{score.nats:.4f}", f"{score.perplexity:.2f}", f"{score.accuracy:.4f}", f"{score.later_perplexity:.2f}")
    Console().print(table)
    if options.json:
        numbers = {
            key: {
                "nats": score.nats,
                "perplexity": score.perplexity,
                "accuracy": score.accuracy,
                "later_perplexity": score.later_perplexity,
            }
            for key, score in (("kept", results.kept), ("reset", results.reset), ("shuffled", results.shuffled))
        }
        write_numbers(options.json, {"data": options.data, "tokens": results.kept.tokens, **numbers})
    return 0
