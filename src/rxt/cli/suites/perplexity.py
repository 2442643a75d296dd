"""``rxt eval perplexity``: how well the answers of real conversations are predicted, and what memory is worth there."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from rxt.cli.arguments import parse_arguments
from rxt.cli.chat import check_writable
from rxt.cli.suites.common import progress_bar, write_numbers

if TYPE_CHECKING:
    from rxt.evaluation.bootstrap import Estimate
    from rxt.evaluation.perplexity import Perplexity

MOST_ROWS = 16


@dataclass(frozen=True)
class PerplexityOptions:
    """Perplexity of the answers in a conversation file, with three memories: kept, reset every turn, another
    conversation's."""

    data: tyro.conf.Positional[str]
    """Conversations (JSON Lines, .gz, Parquet or a hub dataset id)."""
    model: tyro.conf.Positional[str] = ""
    """A model folder or hub id; the bundled model when not given."""
    base: str = ""
    """Where the pre-trained model is that MODEL is the memory of, if not where its configuration says."""
    updates: Literal["float32", "bfloat16", "auto"] = "float32"
    """The type that memory updates multiply in; auto: bfloat16 where that is faster."""
    seed: int = 1
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the numbers there too."""


def run(argv: list[str]) -> int:
    """Entry of the suite."""
    return perplexity(parse_arguments(PerplexityOptions, "rxt eval perplexity", argv))


def perplexity(options: PerplexityOptions) -> int:
    """What the memory is worth on real conversations."""
    from rxt.data.fitting import lengths_of
    from rxt.data.readers import read_conversations
    from rxt.data.template import Template
    from rxt.evaluation.perplexity import measure_perplexity
    from rxt.model.rounded_updates import with_updates
    from rxt.pretrained import load_model

    if options.json:
        check_writable(options.json)
    conversations = read_conversations(options.data)
    model, tokenizer = load_model(options.model or None, base=options.base or None)
    model = with_updates(model, options.updates)
    template = Template.of_model(model.config, tokenizer)
    with progress_bar() as progress:
        task = progress.add_task("reading", total=len(conversations))
        lengths = lengths_of(conversations, template)
        if lengths.longer:
            longer = f"{lengths.longer:,} of {lengths.sequences:,} interactions"
            progress.console.print(f"{longer} are longer than {template.max_length} tokens and read as several turns")
        results = measure_perplexity(
            model, template, list(conversations), options.seed, lambda done: progress.advance(task, done)
        )
    table = Table(title=f"answers of {len(conversations)} conversations, {results.kept.tokens:,} tokens")
    for name in ("memory", "nats per token", "perplexity", "accuracy", "after the first turn"):
        table.add_column(name, justify="left" if name == "memory" else "right")
    rows = {"kept": results.kept, "reset every turn": results.reset, "another's": results.shuffled}
    for name, score in rows.items():
        table.add_row(
            name,
            f"{score.nats:.4f}",
            f"{score.perplexity:.2f}",
            f"{score.accuracy:.4f}",
            f"{score.later_perplexity:.2f}",
        )
    console = Console()
    console.print(table)
    console.print(_turns(results))
    for name, worth in (("in all", results.worth), ("after the first turn", results.later_worth)):
        if not math.isnan(worth.value):
            console.print(
                f"what memory is worth, {name}: {worth.value:.4f} nats a token "
                f"(95 % interval {worth.low:.4f} to {worth.high:.4f})"
            )
    if options.json:
        write_numbers(options.json, _numbers(options, results, len(conversations)))
    return 0


def _turns(results: Perplexity) -> Table:
    table = Table(title="nats per token by turn")
    for name in ("turn", "tokens", "kept", "reset", "another's"):
        table.add_column(name, justify="right")
    for turn, score in list(results.by_turn.items())[:MOST_ROWS]:
        table.add_row(
            str(turn), f"{score.tokens:,}", f"{score.kept:.4f}", f"{score.reset:.4f}", f"{score.shuffled:.4f}"
        )
    if len(results.by_turn) > MOST_ROWS:
        table.caption = f"{len(results.by_turn) - MOST_ROWS} more turns stand in the JSON"
    return table


def _numbers(options: PerplexityOptions, results: Perplexity, conversations: int) -> dict[str, object]:
    """The JSON of a measurement."""
    kinds = {
        key: {
            "nats": score.nats,
            "perplexity": score.perplexity,
            "accuracy": score.accuracy,
            "later_perplexity": score.later_perplexity,
        }
        for key, score in (("kept", results.kept), ("reset", results.reset), ("shuffled", results.shuffled))
    }
    return {
        "model": options.model or "bundled",
        "data": options.data,
        "seed": options.seed,
        "updates": options.updates,
        "conversations": conversations,
        "tokens": results.kept.tokens,
        **kinds,
        "by_turn": {str(turn): asdict(score) for turn, score in results.by_turn.items()},
        "worth": {"all": _finite(results.worth), "later": _finite(results.later_worth)},
    }


def _finite(estimate: Estimate) -> dict[str, float] | None:
    """For JSON, which has no NaN: None where nothing was measured."""
    return None if math.isnan(estimate.value) else asdict(estimate)
