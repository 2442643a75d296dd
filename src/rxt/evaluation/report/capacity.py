"""The section of a page on how many facts are held at once, in a pool of fragments and in plain memories."""

from __future__ import annotations

from html import escape

from rxt.evaluation.capacity import growth
from rxt.evaluation.report.parts import command, table
from rxt.evaluation.report.results import CapacityResult
from rxt.evaluation.report.sentences import capacity_command, milliseconds, percent
from rxt.evaluation.retention import Score


def capacity_section(result: CapacityResult) -> list[str]:
    """Recall by facts and distance for each kind of memory, then what a turn costs by the number of fragments."""
    pooled = any(cell.pooled is not None for cell in result.cells)
    larger = any(cell.larger is not None for cell in result.cells)
    head = [
        "facts",
        "turns ago",
        "plain memory",
        *(["fragments", "routed rightly", "number", "all at once"] if pooled else []),
    ]
    head += [f"plain memory of {result.larger}"] if larger else []
    rows = list[list[str]]()
    for cell in result.cells:
        row = [str(cell.facts), str(cell.distance), _share(cell.plain)]
        row += [_share(cell.pooled), _share(cell.routed), f"{cell.fragments:.1f}", _share(cell.whole)] if pooled else []
        rows.append([*row, *([_share(cell.larger)] if larger else [])])
    said = "So many facts were told in one conversation, one a turn; one of them is asked for so many turns later."
    if pooled:
        said += " A turn sees as many slots of fragments as of the plain memory: those that its question is routed to."
    found = ["<h2>How many facts are held at once?</h2>", f"<p>{said}</p>", table("", head, rows)]
    if result.turns:
        found += _costs(result)
    return [*found, command(capacity_command(result))]


def _costs(result: CapacityResult) -> list[str]:
    rows = [
        [
            f"{cost.fragments:,}",
            "" if cost.first_token is None else milliseconds(cost.first_token),
            milliseconds(cost.route),
            milliseconds(cost.update),
        ]
        for cost in result.turns
    ]
    found = [table("A turn by the number of fragments", ["fragments", "first token", "routing", "update"], rows)]
    if len(rows) > 1 and (times := growth(result.turns)) is not None:
        most = max(cost.fragments for cost in result.turns)
        said = f"With {most:,} fragments the first token takes {times[0]:.2f} times as long, an update {times[1]:.2f}."
        found.append(f"<p>{escape(said)}</p>")
    return found


def _share(score: Score | None) -> str:
    if score is None:
        return ""
    low, high = score.interval
    return f"{percent(score.share)} ({percent(low)} to {percent(high)})"
