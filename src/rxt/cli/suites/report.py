"""``rxt eval report``: one page that shows what is remembered, for how long, and at what cost."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from rxt.cli.arguments import parse_arguments
from rxt.errors import UserError


@dataclass(frozen=True)
class ReportOptions:
    """Measure a model and show it on one page: talks as people type, recall by distance, cost by turn and, with --data,
    perplexity."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder of the page (index.html) and of the JSON files beside it; made where it is missing."""
    model: tyro.conf.Positional[str] = ""
    """A model folder or hub id; the bundled model when not given."""
    data: str = ""
    """Conversations (JSON Lines, .gz, Parquet or a hub dataset id) whose answers are predicted."""
    source: Annotated[Path | None, tyro.conf.arg(name="from", metavar="DIR")] = None
    """Measure nothing: show open.json, retention.json, latency.json, capacity.json and perplexity.json of this folder,
    as many as there are."""
    compare: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=FILE.json: the retention of another model, drawn beside this one's; may be given several times. By default
    the baselines that come with the package, if any."""
    capacity: bool = False
    """Also how many facts are held at once: for models with a pool of fragments."""
    facts: tuple[str, ...] = ("4,3", "16,12", "32,24")
    """FACTS,DISTANCE of --capacity, as the --cells of rxt eval capacity."""
    questions: int = 16
    """At every distance."""
    distances: str = "1,2,3,4,6,8,12,16,24,32,48,64"
    turns: str = "1,2,4,8,16,32,64,128,256"
    """At which turns the cost is measured."""
    query_tokens: int = 32
    """Of every turn whose cost is measured."""
    answer_tokens: int = 32
    repeats: int = 5
    """Timings of every such turn."""
    threads: int = 0
    """Threads of the processor while the cost is measured; PyTorch decides when 0."""
    seed: int = 1


def run(argv: list[str]) -> int:
    """Entry of the suite."""
    return report(parse_arguments(ReportOptions, "rxt eval report", argv))


def report(options: ReportOptions) -> int:
    """Measure what is to be measured into the folder, then write the page."""
    from rxt.evaluation.report.page import page
    from rxt.evaluation.report.plots import PLOT_EXTRA, have_plots
    from rxt.evaluation.report.results import (
        ABOUT_SHIPPED,
        CAPACITY,
        LATENCY,
        OPEN,
        PERPLEXITY,
        RETENTION,
        files_there,
        read_results,
        shipped_baselines,
    )
    from rxt.files import make_folder, read_bytes, write_atomically

    compared = parse_compare(options.compare)
    baselines, about = (compared, "") if compared else (shipped_baselines(), ABOUT_SHIPPED)
    read_results(options.out, (), baselines)  # a mistake in them is told before the measuring
    if options.source is not None and (options.model or options.data):
        raise UserError("--from shows what was measured before: leave out the model and --data")
    if options.source is None:
        out = make_folder(options.out)
        more = ((CAPACITY, options.capacity), (PERPLEXITY, bool(options.data)))
        names = (OPEN, RETENTION, LATENCY, *(name for name, wanted in more if wanted))
        _measure(options, out / OPEN, out / RETENTION, out / LATENCY, out / PERPLEXITY)
        if options.capacity:
            _measure_capacity(options, out / CAPACITY)
        results = read_results(out, names, baselines, about)
    else:
        names = files_there(options.source)
        results = read_results(options.source, names, baselines, about)
        out = make_folder(options.out)
        if options.source.resolve() != out.resolve():
            for name in names:
                write_atomically(out / name, read_bytes(options.source / name))
    for name, path in baselines.items():
        write_atomically(out / f"compare-{re.sub(r'[^A-Za-z0-9]+', '-', name)}.json", read_bytes(path))
    write_atomically(out / "index.html", page(results).encode())
    console = Console(highlight=False)
    if not have_plots():
        console.print(f"without plots: matplotlib is missing ({PLOT_EXTRA})", markup=False)
    console.print(str(out / "index.html"), markup=False, soft_wrap=True)
    return 0


def _measure_capacity(options: ReportOptions, path: Path) -> None:
    from rxt.cli.suites import capacity

    model = [options.model] if options.model else []
    asked = ["--cells", *options.facts, "--questions", str(options.questions), "--seed", str(options.seed)]
    capacity.run([*model, *asked, "--json", str(path)])


def _measure(
    options: ReportOptions, open_path: Path, retention_path: Path, latency_path: Path, perplexity_path: Path
) -> None:
    """Run the suites, each as its own command would; the one that may refuse the model first."""
    from rxt.cli.suites import latency, open_talk, perplexity, retention

    model = [options.model] if options.model else []
    seed = ["--seed", str(options.seed)]
    turns = ["--turns", options.turns, "--repeats", str(options.repeats), "--threads", str(options.threads)]
    turns += ["--query-tokens", str(options.query_tokens), "--answer-tokens", str(options.answer_tokens)]
    latency.run([*model, *turns, *seed, "--json", str(latency_path)])
    if options.data:
        perplexity.run([options.data, *model, *seed, "--json", str(perplexity_path)])
    asked = ["--distances", options.distances, "--questions", str(options.questions)]
    open_talk.run([*model, *asked, *seed, "--json", str(open_path)])
    retention.run([*model, *asked, "--facts", "none", *seed, "--json", str(retention_path)])


def parse_compare(pairs: tuple[str, ...]) -> dict[str, Path]:
    """``NAME=FILE`` … -> the files by name."""
    found: dict[str, Path] = {}
    for pair in pairs:
        name, sign, file = pair.partition("=")
        if not (name.strip() and sign and file):
            raise UserError(f"--compare {pair}: write NAME=FILE.json")
        if name in found:
            raise UserError(f"--compare {pair}: there are two files of the name {name}")
        found[name] = Path(file)
    return found
