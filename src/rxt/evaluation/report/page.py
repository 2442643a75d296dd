"""One HTML page that needs nothing else: no script, no font, no picture from elsewhere; dark or light as the reader has
it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rxt.evaluation.latency import CostCurve, LatencyResult
from rxt.evaluation.report.capacity import capacity_section
from rxt.evaluation.report.parts import command, folded, table
from rxt.evaluation.report.plots import COLOURS, PLOT_EXTRA, cost_plot, have_plots, perplexity_plot, recall_plot
from rxt.evaluation.report.results import CountedShare, OpenResult, PerplexityResult, Results, RetentionResult
from rxt.evaluation.report.sentences import (
    BUNDLED,
    latency_command,
    lead,
    milliseconds,
    open_command,
    percent,
    perplexity_command,
    retention_command,
    size,
)

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --raised: #f5f7f9; LIGHT }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --raised: #1d2127; DARK } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 46rem; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem } h2 { font-size: 1.15rem; margin: 2.5rem 0 .25rem }
p { margin: .5rem 0 } .quiet { color: var(--muted); font-size: .9rem }
.lead { font-size: 1.08rem; padding: .25rem 1rem; margin: 1rem 0; background: var(--raised);
  border-left: 4px solid var(--series-0) }
svg { display: block; width: 100%; max-width: 36rem; height: auto; margin: .5rem auto }
pre { background: var(--raised); padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere;
  font-size: .8rem; margin: .5rem 0 }
.table { overflow-x: auto }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; min-width: 60% }
caption { text-align: left; font-weight: 600; padding: .6rem 0 .2rem }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--grid); white-space: nowrap }
th { font-weight: 600 } th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal }
details { margin: .5rem 0 } summary { cursor: pointer; color: var(--muted) }
"""


def page(results: Results) -> str:
    """The whole page. Sections of what was not measured are left out."""
    model = _model(results)
    title = f"What {model} remembers, for how long, and at what cost"
    parts = [
        f"<h1>{escape(title)}</h1>",
        '<p class="quiet">A Reactive Transformer is a chat model that reads only the newest message; '
        "what it knows of the earlier ones is in a memory of fixed size inside the network, updated after every "
        "answer. A turn is one message and its answer.</p>",
        '<div class="lead">' + "".join(f"<p>{escape(sentence)}</p>" for sentence in lead(results)) + "</div>",
    ]
    if not have_plots():
        parts.append(f'<p class="quiet">The plots are missing: {escape(PLOT_EXTRA)} brings what draws them.</p>')
    if results.open is not None:
        parts += _open(results.open)
    if results.retention is not None:
        parts += _retention(results.retention, results.baselines, results.about_baselines)
    if results.latency is not None:
        parts += _latency(results.latency)
    if results.retention is not None:
        parts += _more_retention(results.retention)
    if results.capacity is not None:
        parts += capacity_section(results.capacity)
    if results.perplexity is not None:
        parts += _perplexity(results.perplexity)
    parts.append('<p class="quiet">The numbers stand in the JSON files beside this page.</p>')
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_style()}</style>\n</head>\n<body>\n"
    )
    return head + "\n".join(parts) + "\n</body>\n</html>\n"


def _model(results: Results) -> str:
    measured = (results.open, results.retention, results.latency, results.capacity, results.perplexity)
    names = [result.model for result in measured if result is not None]
    name = next((name for name in names if name), BUNDLED)
    return "the bundled model" if name == BUNDLED else name


def _style() -> str:
    light, dark = (" ".join(f"--{name}: {colours[scheme]};" for name, colours in COLOURS.items()) for scheme in (0, 1))
    return STYLE.replace("LIGHT", light).replace("DARK", dark)


def _open(result: OpenResult) -> list[str]:
    rows = [
        [name, *_counted(share)]
        for name, key in (
            ("right, of what was told", "right"),
            ("told once", "told"),
            ("changed: the newest value is given", "changed"),
            ("told, but said to be not known", "denied"),
            ("never told: the model says so", "never_told"),
            ("something is named that nobody said", "invented"),
        )
        if (share := result.shares.get(key)) is not None
    ]
    ways = [[way, *_counted(share)] for way, share in result.ways_of_typing.items()]
    head = ["share", "95\u00a0% interval", "answers"]
    talks = f"{result.held} short talks" if result.held else "Short talks"
    found = [
        "<h2>Is it remembered as people say it?</h2>",
        f"<p>{talks} were written by hand, in fragments, with typos and several facts in one breath, and never trained "
        "on; the model's answers to their questions are judged by what must and must not be in them.</p>",
        table("", ["", *head], rows),
        "<p>The same facts about ten people, told and asked as people and their telephones type:</p>",
        table("", ["way of typing", *head], ways),
    ]
    if (recall := result.recall) is not None:
        found.append(
            "<p>Names, words, numbers and codes that training never showed, by how many turns ago they were told:</p>"
        )
        if have_plots():
            found.append(recall_plot(recall, {}, "open"))
        shares = [["this model", *_shares(recall, list(recall.curve))]]
        found.append(folded("As a table", table("", ["turns ago", *map(str, recall.curve)], shares)))
    return [*found, command(open_command(result))]


def _retention(result: RetentionResult, baselines: dict[str, RetentionResult], about_baselines: str) -> list[str]:
    asked = sum(result.questions_by_distance.values())
    how = f" ({asked:,} questions in generated conversations; the band is the 95\u00a0% interval)" if asked else ""
    found = [
        "<h2>How often is a fact recalled?</h2>",
        "<p>A fact is told once, other turns follow, then it is asked for: "
        f"the share of right answers by the turns between{how}.</p>",
    ]
    if have_plots():
        found.append(recall_plot(result, baselines))
    if baselines and about_baselines:
        found.append(f'<p class="quiet">{escape(about_baselines)}</p>')
    distances = list(result.curve)
    rows = [
        ["this model", *_shares(result, distances)],
        *([name, *_shares(other, distances)] for name, other in baselines.items()),
    ]
    found.append(folded("As a table", table("", ["turns ago", *map(str, distances)], rows)))
    return [*found, command(retention_command(result))]


def _latency(latency: LatencyResult) -> list[str]:
    ours, other = latency.subjects[0], latency.subjects[-1]
    threads = f"{latency.threads} processor thread{'' if latency.threads == 1 else 's'}"
    compared = "as large" if latency.base is None else f"its base, {escape(latency.base)},"
    found = [
        "<h2>What does a turn cost?</h2>",
        f"<p>Each turn has {latency.query_tokens} tokens of question and {latency.answer_tokens} of answer; medians of "
        f"{latency.repeats} on {threads}, the band from the fastest to the slowest. The models to compare with are "
        f"{compared} ({other.parameters:,} parameters, this model {ours.parameters:,}) and keep no memory: they read "
        "the conversation, in every turn again or out of a cache that grows with it.</p>",
    ]
    if have_plots():
        found.append(cost_plot(latency))
    found.append(folded("As tables", "".join(_costs(curve) for curve in latency.subjects)))
    return [*found, command(latency_command(latency))]


def _more_retention(result: RetentionResult) -> list[str]:
    rows = [
        [name, percent(share)]
        for name, share in (
            ("the same kind of fact was told of somebody else too", result.distracted),
            ("a fact that changed: the newest value is given", result.changed),
            ("a fact that was never told: the model says so", result.never_told),
        )
        if share is not None
    ]
    found = []
    if rows:
        found += [
            "<h2>Facts that are easily confused</h2>",
            "<p>Remembering is also to keep people apart, to forget what is no longer so, "
            "and not to make up what nobody said.</p>",
            table("", ["", "right"], rows),
        ]
    if result.capacity:
        distances = sorted({distance for row in result.capacity.values() for distance in row})
        cells = [
            [
                str(facts),
                *("" if row.get(distance) is None else percent(row[distance] or 0.0) for distance in distances),
            ]
            for facts, row in sorted(result.capacity.items())
        ]
        found += [
            "<h2>How many facts at once?</h2>",
            "<p>The share of right answers by how many facts the conversation told and "
            "how many turns ago the one asked for was told.</p>",
            table("", ["facts", *(f"{distance} ago" for distance in distances)], cells),
        ]
    return [*found, command(retention_command(result))] if found else []


def _perplexity(perplexity: PerplexityResult) -> list[str]:
    worth = perplexity.worth.later if perplexity.worth else None
    said = (
        "How well the answers of real conversations are predicted, "
        "with the memory kept, erased every turn, and another's."
    )
    if worth is not None:
        said += (
            f" After the first turn memory saves {worth.value:.3f} nats a token "
            f"(95\u00a0% interval {worth.low:.3f} to {worth.high:.3f})."
        )
    kinds = {
        "kept": perplexity.kept,
        "erased every turn": perplexity.reset,
        "another conversation's": perplexity.shuffled,
    }
    rows = [
        [name, f"{kind.nats:.4f}", f"{kind.perplexity:.2f}", percent(kind.accuracy), f"{kind.later_perplexity:.2f}"]
        for name, kind in kinds.items()
    ]
    found = ["<h2>What is memory worth in other people's conversations?</h2>", f"<p>{escape(said)}</p>"]
    if have_plots() and len(perplexity.by_turn) > 1:
        found.append(perplexity_plot(perplexity))
    head = ["memory", "nats a token", "perplexity", "next token right", "perplexity after turn 1"]
    return [*found, table("", head, rows), command(perplexity_command(perplexity))]


def _shares(result: RetentionResult, distances: Sequence[int]) -> list[str]:
    return [percent(result.curve[distance]) if distance in result.curve else "" for distance in distances]


def _counted(share: CountedShare) -> list[str]:
    interval = f"{percent(share.low)} to {percent(share.high)}"
    return [percent(share.value), interval, f"{share.count} of {share.of}"]


def _costs(curve: CostCurve) -> str:
    rows = [
        [
            str(turn),
            milliseconds(cost.first_token.median),
            milliseconds(cost.last_token.median),
            milliseconds(cost.update.median),
            size(cost.state_bytes),
            f"{cost.tokens:,}",
        ]
        for turn, cost in curve.turns.items()
    ]
    return table(curve.name, ["turn", "first token", "last token", "memory update", "kept", "tokens read"], rows)
