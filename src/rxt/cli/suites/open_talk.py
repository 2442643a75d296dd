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
from rxt.cli.suites.retention import curve_numbers, curve_table, parse_numbers, share_of
from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.evaluation.open_answers import HeldTalk, Share, Span, TalkScores
    from rxt.evaluation.open_talks import Talk
    from rxt.evaluation.retention import Plan, Retention, Score

TASK, SPLIT = "open", "test"
"""Of the conversations that are asked by distance."""


@dataclass(frozen=True)
class OpenOptions:
    """Short talks, written by hand as people type, are held with the model, and its answers to their questions judged:
    how many are right, how many say rightly that something was never told, and how many name what nobody has said. Then
    the same facts in twelve ways of typing, and recall by distance of names, words and numbers that training never
    showed (rxt eval retention --task open)."""

    model: tyro.conf.Positional[str] = ""
    """A model folder or hub id; the bundled model when not given."""
    base: str = ""
    """Where the pre-trained model is that MODEL is the memory of, if not where its configuration says."""
    talks: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Your own talks in place of those in the package, whose file (rxt/evaluation/data/open_talks.txt) explains its
    layout at the top."""
    show: bool = False
    """Print every talk with the model's answers, the wrong ones marked, with the words that nobody said."""
    distances: str = "1-16,20,24,28,32"
    """Of the recall by distance, in turns: ranges as in 1-16 and single ones as in 32, with commas between; none leaves
    it out."""
    questions: int = 32
    """At every distance."""
    seed: int = 1
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
    from rxt.evaluation.retention import measure_retention
    from rxt.evaluation.ways_of_typing import typed_facts

    if options.json:
        check_writable(options.json)
    plan = _plan(options)
    talks = load_talks(options.talks) if options.talks else bundled_talks()
    subject = load_any(options.model or None, base=options.base or None)
    with progress_bar() as progress:
        total = len(talks) + len(typed_facts()) + (plan.total if plan else 0)
        bar = progress.add_task("asking", total=total)

        def report(done: int) -> None:
            progress.advance(bar, done)

        held = hold_talks(subject, talks, options.seed, report)
        ways = type_facts(subject, options.seed, report)
        recall = measure_retention(subject, SPLIT, plan, options.seed, report) if plan else None
    scores = score_talks(held)
    console = Console(highlight=False)
    if options.show:
        for talk in held:
            console.print(transcript(talk), soft_wrap=True)
    console.print(_talk_table(scores, talks))
    console.print(_way_table(ways))
    if recall:
        console.print(curve_table(recall, f"recall of what training never showed, by distance, seed {options.seed}"))
    if options.json:
        numbers = {
            "model": options.model or "bundled",
            "seed": options.seed,
            "trained_turns": subject.trained_turns,
            "talks": str(options.talks) if options.talks else "bundled",
            "held": len(talks),
            **_talk_numbers(scores, ways),
            **_recall_numbers(recall),
        }
        write_numbers(options.json, numbers)
    return 0


def _plan(options: OpenOptions) -> Plan | None:
    """What is asked at which distances; None where that is left out."""
    from rxt.evaluation.retention import Plan
    from rxt.tasks.registry import task as task_called

    if options.distances == "none":
        return None
    if options.questions < 2:
        raise UserError(f"--questions {options.questions}: ask at least two; the memory of one is the other's control")
    distances = tuple(parse_numbers("--distances", options.distances))
    plan = Plan(distances, options.questions, task=task_called(TASK))
    plan.check(SPLIT)
    return plan


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


def _talk_numbers(scores: TalkScores, ways: Mapping[str, Score]) -> dict[str, object]:
    """The talks and the ways of typing for JSON; a share is None where nothing was asked."""
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


def _recall_numbers(recall: Retention | None) -> dict[str, object]:
    """Recall by distance for JSON; the harder questions stand apart, as the talks have questions of those kinds too."""
    if recall is None:
        return {"recall_by_distance": {}, "controls": {"reset": None, "shuffled": None, "chance": None}}
    harder = {"distracted": recall.distracted, **recall.special}
    return {
        "split": SPLIT,
        **curve_numbers(recall),
        "harder": {name: share_of(score) for name, score in harder.items()},
    }


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
