"""``rxt eval latency``: what a turn costs, early and late in a conversation, beside models that read their history."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.table import Table

from rxt.cli.arguments import check_least, check_one_model, parse_arguments
from rxt.cli.chat import check_writable
from rxt.cli.suites.common import progress_bar, write_numbers
from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.evaluation.latency import CostCurve
    from rxt.pretrained import ReactiveTransformer


@dataclass(frozen=True)
class LatencyOptions:
    """What a turn costs by its number: the Reactive Transformer beside a decoder-only model that keeps no memory, and
    reads the conversation again in every turn, or keeps a cache of it. That is the model's own base where it has one,
    otherwise a model of equal size with random weights: cost does not depend on them."""

    model: tyro.conf.Positional[str] = ""
    """A model folder or hub id; the bundled model when not given."""
    base: str = ""
    """Where the pre-trained model is that MODEL is the memory of, if not where its configuration says."""
    preset: str = ""
    """Instead of a model: a size by name, with random weights."""
    turns: str = "1,2,4,8,16,32,64,128,256"
    """At which turns to measure."""
    query_tokens: int = 32
    """Of every turn, markers included."""
    answer_tokens: int = 32
    repeats: int = 5
    """Of every turn; the median is reported."""
    warm_up: int = 1
    """Timings of every turn that do not count."""
    threads: int = 0
    """Threads of the processor; PyTorch decides when 0."""
    seed: int = 1
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the numbers there too."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Draw them there too, as SVG."""


def run(argv: list[str]) -> int:
    """Entry of the suite."""
    return latency(parse_arguments(LatencyOptions, "rxt eval latency", argv))


def latency(options: LatencyOptions) -> int:
    """One table for each model, and how the last turn compares with the first."""
    import torch

    from rxt.baselines.decoder_only import DecoderOnly, equal_size
    from rxt.baselines.timing import History, KeptCache, ReRead, WithoutMemory
    from rxt.evaluation.latency import LatencyResult, TimedReactive, check_lengths, measure_latency
    from rxt.evaluation.report.plots import check_plots, cost_plot, standalone
    from rxt.files import write_atomically

    turns = parse_turns(options.turns)
    check_least(options, ("repeats", 1), ("warm_up", 0), ("threads", 0))
    check_one_model(options.model, options.preset)
    for path in (options.json, options.plot):
        if path:
            check_writable(path)
    if options.plot:
        check_plots()
    if options.threads:
        torch.set_num_threads(options.threads)
    model = _model(options)
    config = model.config
    check_lengths(options.query_tokens, options.answer_tokens, config.max_length)
    length = turns[-1] * (options.query_tokens + options.answer_tokens)
    stateless: History
    if config.base is None:
        equal = equal_size(config, length).config
        stateless, layers, name = DecoderOnly(equal).eval(), equal.layers, "decoder-only"
    else:
        stateless, layers, name = WithoutMemory(model.decoder), config.decoder.layers, "the base without a memory"
    subjects = [TimedReactive(model, options.seed), ReRead(stateless, name), KeptCache(stateless, length, name)]
    with progress_bar() as progress:
        task = progress.add_task("timing", total=len(subjects) * len(turns) * (options.repeats + options.warm_up))
        curves = measure_latency(
            subjects,
            config.tokens,
            config.decoder.vocab_size,
            turns,
            options.query_tokens,
            options.answer_tokens,
            options.repeats,
            options.warm_up,
            options.seed,
            lambda done: progress.advance(task, done),
        )
    console = Console()
    for curve in curves:
        console.print(_table(curve))
    trained = "not trained" if config.base is None else f"the model's own base, {config.base.name}"
    console.print(f"{name}: {layers} layers of the same kind, {stateless.size:,} parameters, {trained}")
    result = LatencyResult(
        options.model or options.preset or "bundled",
        torch.get_num_threads(),
        options.query_tokens,
        options.answer_tokens,
        options.repeats,
        layers,
        tuple(curves),
        None if config.base is None else config.base.name,
    )
    if options.json:
        write_numbers(options.json, asdict(result))
    if options.plot:
        write_atomically(options.plot, standalone(cost_plot(result)).encode())
    return 0


def parse_turns(text: str) -> list[int]:
    """``1,2,4`` -> the turns, rising."""
    try:
        turns = sorted({int(part) for part in text.split(",")})
    except ValueError:
        turns = []
    if not turns or turns[0] < 1:
        raise UserError(f"--turns {text}: write a list as in 1,2,4,8; turns are counted from 1")
    return turns


def _model(options: LatencyOptions) -> ReactiveTransformer:
    from rxt.config import RxTConfig
    from rxt.pretrained import ReactiveTransformer, load_model

    if options.preset:
        return ReactiveTransformer(RxTConfig.preset(options.preset)).eval()
    return load_model(options.model or None, base=options.base or None)[0]


def _table(curve: CostCurve) -> Table:
    table = Table(title=f"{curve.name}: {curve.parameters:,} parameters", title_justify="left")
    for column in ("turn", "first token", "last token", "memory update", "kept between turns", "tokens processed"):
        table.add_column(column, justify="right")
    for turn, cost in curve.turns.items():
        times = (f"{1_000 * seconds.median:.1f} ms" for seconds in (cost.first_token, cost.last_token, cost.update))
        table.add_row(str(turn), *times, f"{cost.state_bytes:,} B", f"{cost.tokens:,}")
    return table
