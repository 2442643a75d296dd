"""``rxt eval open``: what is remembered of what people type, in talks written by hand, and what is invented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rxt.cli.arguments import parse_arguments
from rxt.cli.chat import check_writable
from rxt.cli.suites.common import progress_bar, write_numbers

if TYPE_CHECKING:
    from rxt.evaluation.open_answers import HeldTalk, Share, Span, TalkScores
    from rxt.evaluation.open_talks import Talk
    from rxt.evaluation.retention import Score


@dataclass(frozen=True)
class OpenOptions:
    """Short talks, written by hand as people type, are held with the model, and its answers to their questions judged:
    how many are right, how many say rightly that something was never told, and how many name what nobody has said. Then
    the same facts in twelve ways of typing."""

    model: tyro.conf.Positional[str] = ""
    """A model folder or hub id; the bundled model when not given."""
    talks: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Your own talks in place of those in the package, whose file (rxt/evaluation/data/open_talks.txt) explains its
    layout at the top."""
    show: bool = False
    """Print every talk with the model's answers, the wrong ones marked, with the words that nobody said."""
    seed: int = 1
    """Of fresh memories, in models that draw them."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the numbers there too."""


def run(argv: list[str]) -> int:
    """Entry of the suite."""
    return open_talk(parse_arguments(OpenOptions, "rxt eval open", argv))


def open_talk(options: OpenOptions) -> int:
    """The talks if asked for, then a table of their questions and one of the ways of typing."""
    from rxt.baselines.subjects import load_any
    from rxt.evaluation.open_answers import hold_talks, score_talks, type_facts
    from rxt.evaluation.open_talks import bundled_talks, load_talks
    from rxt.evaluation.ways_of_typing import typed_facts

    if options.json:
        check_writable(options.json)
    talks = load_talks(options.talks) if options.talks else bundled_talks()
    subject = load_any(options.model or None)
    with progress_bar() as progress:
        bar = progress.add_task("typing", total=len(talks) + len(typed_facts()))
        held = hold_talks(subject, talks, options.seed, lambda done: progress.advance(bar, done))
        ways = type_facts(subject, options.seed, lambda done: progress.advance(bar, done))
    scores = score_talks(held)
    console = Console(highlight=False)
    if options.show:
        for talk in held:
            console.print(transcript(talk), soft_wrap=True)
    console.print(_talk_table(scores, talks))
    console.print(_way_table(ways))
    if options.json:
        write_numbers(options.json, _numbers(options, scores, ways, len(talks)))
    return 0


def transcript(held: HeldTalk) -> str:
    """A talk as it went, in rich's markup: ``✗`` before a wrong answer, and the words that nobody said after it."""
    from rxt.evaluation.open_talks import text_of

    lines = [f"[bold]{escape(held.talk.name)}[/bold]"]
    for place, (message, answer) in enumerate(zip(held.talk.messages, held.answers, strict=True), start=1):
        judged = held.judged.get(place)
        lines.append(f"  > {escape(text_of(message))}")
        said = f"< {escape(answer)}"
        if judged is None:
            lines.append(f"  {said}")
        elif judged.right:
            lines.append(f"[green]✓[/green] {said}")
        else:
            lines.append(f"[red]✗ {said}[/red]")
        if judged is not None and judged.invented:
            lines[-1] += f"  [yellow]nobody said: {escape(', '.join(judged.invented))}[/yellow]"
    return "\n".join(lines) + "\n"


def _talk_table(scores: TalkScores, talks: Sequence[Talk]) -> Table:
    table = Table(
        title=f"{len(talks)} talks as people type",
        caption="denied: told, but the answer says that it is not known; invented: it names what nobody has said",
    )
    for name in ("answers", "count", "of", "share", "95 % interval"):
        table.add_column(name, justify="left" if name == "answers" else "right")

    def row(name: str, share: Share) -> None:
        if share.of:
            interval = f"{share.estimate.low:.3f}-{share.estimate.high:.3f}"
            table.add_row(name, str(share.count), str(share.of), f"{share.estimate.value:.3f}", interval)

    row("right", scores.right)
    row("  told once", scores.told)
    row("  changed", scores.changed)
    for span, share in scores.by_distance.items():
        row(f"  {_span(span)} turn{'s' if span != (1, 1) else ''} ago", share)
    row("denied", scores.denied)
    table.add_section()
    row("never told: it says so", scores.never_told)
    table.add_section()
    row("invented", scores.invented)
    row("  where it was told", scores.invented_told)
    row("  where it was never told", scores.invented_never_told)
    return table


def _way_table(ways: Mapping[str, Score]) -> Table:
    table = Table(title="the same facts, typed in other ways")
    for name in ("way of typing", "right", "of", "share", "95 % interval"):
        table.add_column(name, justify="left" if name == "way of typing" else "right")
    for way, score in ways.items():
        low, high = score.interval
        table.add_row(way, str(score.right), str(score.asked), f"{score.share:.3f}", f"{low:.3f}-{high:.3f}")
    return table


def _numbers(options: OpenOptions, scores: TalkScores, ways: Mapping[str, Score], talks: int) -> dict[str, object]:
    """The JSON of a measurement; a share is None where nothing was asked."""
    shares = {
        "right": scores.right,
        "told": scores.told,
        "changed": scores.changed,
        "never_told": scores.never_told,
        "invented": scores.invented,
        "invented_told": scores.invented_told,
        "invented_never_told": scores.invented_never_told,
        "denied": scores.denied,
    }
    return {
        "model": options.model or "bundled",
        "seed": options.seed,
        "talks": str(options.talks) if options.talks else "bundled",
        "held": talks,
        **{
            name: shares[name].estimate.value if shares[name].of else None
            for name in ("right", "never_told", "invented")
        },
        "shares": {name: _share(share) for name, share in shares.items()},
        "right_by_distance": {_span(span): _share(share) for span, share in scores.by_distance.items()},
        "ways_of_typing": {
            way: {
                "value": score.share,
                "low": score.interval[0],
                "high": score.interval[1],
                "count": score.right,
                "of": score.asked,
            }
            for way, score in ways.items()
        },
    }


def _span(span: Span) -> str:
    """(3, 4) -> "3-4", (1, 1) -> "1"."""
    return "-".join(map(str, sorted(set(span))))


def _share(share: Share) -> dict[str, float] | None:
    if not share.of:
        return None
    estimate = share.estimate
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "count": share.count,
        "of": share.of,
    }
