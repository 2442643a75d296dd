"""The plots of a page as SVG whose colours are the page's: one drawing serves a dark and a light scheme."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rxt.errors import UserError
from rxt.evaluation.capacity import TurnCost
from rxt.evaluation.hybrid import By, HybridResult, ProbeKind, total
from rxt.evaluation.latency import LatencyResult
from rxt.evaluation.report.results import PerplexityResult, RetentionResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOT_EXTRA = "pip install 'reactive-transformers[plot]'"
WIDTH, HEIGHT = 4.4, 2.8
"""Of a plot with one pair of axes, in inches, without its legend: as narrow as a phone, so that its words can be read
there."""
LONG_LABEL = 22
"""Letters of a label beside which no second one fits."""
COLOURS = {
    "ink": ("#1b1f24", "#e6e8eb"),
    "muted": ("#6a737d", "#98a2ad"),
    "grid": ("#dfe3e8", "#343a42"),
    "series-0": ("#1f6feb", "#6cb0ff"),
    "series-1": ("#c2510c", "#ff9a5a"),
    "series-2": ("#1a7f4b", "#5ad08d"),
    "series-3": ("#8250df", "#c4a3ff"),
    "series-4": ("#b0307a", "#ff8ac4"),
}
"""By name: in a light and in a dark scheme. The page holds them as ``--name``."""
SERIES = [name for name in COLOURS if name.startswith("series")]
DASHES = ["-", (0, (6, 2)), (0, (4, 1.5, 1, 1.5)), (0, (2, 1.5)), (0, (8, 2, 2, 2))]
"""Lines differ in more than colour."""
_PLACEHOLDERS = {name: f"#fe{index:02x}01" for index, name in enumerate(COLOURS)}
"""What matplotlib draws with, exchanged afterwards: it knows no colour that depends on the reader."""


def have_plots() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def check_plots() -> None:
    """Refuse to draw without matplotlib."""
    if not have_plots():
        raise UserError(f"a plot needs matplotlib: {PLOT_EXTRA}")


def recall_plot(model: RetentionResult, baselines: dict[str, RetentionResult], name: str = "recall") -> str:
    """Recall by distance: the model, others, its controls, and how far it was trained.

    ``name`` tells the plots of a page apart.
    """
    figure, (axes,) = _figure(name, 1)
    for index, (subject, result) in enumerate({"this model": model, **baselines}.items()):
        colour = _PLACEHOLDERS[SERIES[index % len(SERIES)]]
        distances, recalls = list(result.curve), list(result.curve.values())
        style = DASHES[index % len(DASHES)]
        width, marker = (2.6, "o") if not index else (1.8, None)
        axes.plot(
            distances,
            recalls,
            color=colour,
            linestyle=style,
            linewidth=width,
            marker=marker,
            markersize=4,
            label=subject,
            zorder=9 - index,
        )
        bounds = [
            result.intervals_by_distance.get(distance, (recall, recall)) for distance, recall in result.curve.items()
        ]
        if result.intervals_by_distance:
            axes.fill_between(
                distances,
                [low for low, _ in bounds],
                [high for _, high in bounds],
                color=colour,
                alpha=0.16,
                linewidth=0,
            )
    muted = _PLACEHOLDERS["muted"]
    for label, control, curve, style in (
        ("memory erased", model.controls.reset, model.controls_by_distance.reset, (0, (5, 2))),
        ("another's memory", model.controls.shuffled, model.controls_by_distance.shuffled, (0, (1, 1.5))),
        ("guessing", model.controls.chance, {}, "-"),
    ):
        points = {distance: recall for distance, recall in sorted(curve.items()) if recall is not None}
        if points:
            axes.plot(list(points), list(points.values()), color=muted, linestyle=style, linewidth=1.4, label=label)
        elif control is not None:
            axes.axhline(control, color=muted, linestyle=style, linewidth=0.8 if style == "-" else 1.4, label=label)
    if model.trained_turns is not None:
        axes.axvline(model.trained_turns, color=_PLACEHOLDERS["ink"], linewidth=1, linestyle=(0, (1, 3)))
        words = f" longest in training: {model.trained_turns} turns "
        side = "right" if model.trained_turns**2 > max(model.curve) else "left"  # of the middle of the axis
        axes.annotate(
            words, (model.trained_turns, 1.03), fontsize=8, color=muted, ha=side, va="bottom", annotation_clip=False
        )
    axes.set(xlabel="turns since the fact was told", ylabel="answered correctly", ylim=(-0.03, 1.03))
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    _doubling(axes, [distance for result in (model, *baselines.values()) for distance in result.curve])
    _legend(figure, axes)
    return _svg(figure, name, "Recall by distance")


def cost_plot(latency: LatencyResult) -> str:
    """Time to the first token, and bytes kept between turns, by turn."""
    figure, (times, kept) = _figure("cost", 2)
    for index, curve in enumerate(latency.subjects):
        colour, style = _PLACEHOLDERS[SERIES[index % len(SERIES)]], DASHES[index % len(DASHES)]
        turns, costs = list(curve.turns), list(curve.turns.values())
        width = 1.8 if index else 2.6
        seconds = [cost.first_token for cost in costs]
        times.plot(
            turns,
            [1_000 * each.median for each in seconds],
            color=colour,
            linestyle=style,
            linewidth=width,
            label=curve.name,
        )
        low, high = [1_000 * each.fastest for each in seconds], [1_000 * each.slowest for each in seconds]
        times.fill_between(turns, low, high, color=colour, alpha=0.16, linewidth=0)
        kept.plot(turns, [cost.state_bytes / 1_024 for cost in costs], color=colour, linestyle=style, linewidth=width)
    times.set(ylabel="milliseconds to\nthe first word")
    kept.set(xlabel="turn of the conversation", ylabel="kibibytes kept\nbetween turns")
    for axes in (times, kept):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axes.minorticks_off()
        _doubling(axes, [turn for curve in latency.subjects for turn in curve.turns])
    _legend(figure, times)
    return _svg(figure, "cost", "Cost by turn")


def fragments_plot(costs: Sequence[TurnCost]) -> str:
    """What a turn takes by the number of fragments."""
    figure, (axes,) = _figure("fragments", 1)
    counts = [cost.fragments for cost in costs]
    curves = {
        "first token": [cost.first_token or 0.0 for cost in costs],
        "memory update": [cost.update for cost in costs],
        "choosing (a part of the first)": [cost.route for cost in costs],
    }
    for index, (name, seconds) in enumerate(curves.items()):
        axes.plot(
            counts,
            [1_000 * each for each in seconds],
            color=_PLACEHOLDERS[SERIES[index]],
            linestyle=DASHES[index],
            linewidth=2,
            marker="o",
            markersize=3.5,
            label=name,
        )
    axes.set(xlabel="fragments of the memory", ylabel="milliseconds")
    axes.set_ylim(bottom=0)
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.xaxis.minorticks_off()
    _legend(figure, axes)
    return _svg(figure, "fragments", "A turn by the number of fragments")


def perplexity_plot(perplexity: PerplexityResult) -> str:
    """Nats a token by turn, under the three kinds of memory."""
    check_plots()
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = _figure("nats", 1)
    turns = sorted(perplexity.by_turn)
    rows = [perplexity.by_turn[turn] for turn in turns]
    kinds = {
        "memory kept": [row.kept for row in rows],
        "memory erased every turn": [row.reset for row in rows],
        "another's memory": [row.shuffled for row in rows],
    }
    for index, (name, values) in enumerate(kinds.items()):
        axes.plot(
            turns,
            values,
            color=_PLACEHOLDERS[SERIES[index]],
            linestyle=DASHES[index],
            linewidth=1.8 if index else 2.6,
            label=name,
        )
    axes.set(xlabel="turn of the conversation", ylabel="nats a token (less is better)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure, axes)
    return _svg(figure, "nats", "Nats a token by turn")


def hybrid_plot(result: HybridResult) -> str:
    """Right answers by distance: where steps are needed, in every mode, and after a tool's result."""
    figure, (steps, calls) = _figure("hybrid", 2)
    panels: tuple[tuple[Axes, Sequence[ProbeKind]], ...] = ((steps, ("steps",)), (calls, ("call",)))
    for axes, kinds in panels:
        for index, (mode, found) in enumerate(result.modes.items()):
            colour, style = _PLACEHOLDERS[SERIES[index]], DASHES[index]
            axes.plot(*_shares(found, kinds, result.distances), color=colour, linestyle=style, linewidth=2, label=mode)
        label, style = "auto, memory erased", (0, (5, 2))
        points = _shares(result.reset, kinds, result.distances)
        axes.plot(*points, color=_PLACEHOLDERS["muted"], linestyle=style, linewidth=1.4, label=label)
        axes.set_ylim(-0.03, 1.03)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        _doubling(axes, result.distances)
    steps.set(ylabel="right where\nsteps are needed")
    calls.set(xlabel="turns since what is needed was told", ylabel="right after\na tool's result")
    _legend(figure, steps)
    return _svg(figure, "hybrid", "Right answers by distance")


def _shares(found: By, kinds: Sequence[ProbeKind], distances: Sequence[int]) -> tuple[list[int], list[float]]:
    """Where questions of these kinds were asked, and the shares of right answers there."""
    tallies = {distance: total(found, kinds, [distance]) for distance in distances}
    asked = {distance: tally for distance, tally in tallies.items() if tally.asked}
    return list(asked), [tally.right / tally.asked for tally in asked.values()]


def standalone(svg: str) -> str:
    """A plot as a file of its own, in the light scheme."""
    for name, (light, _) in COLOURS.items():
        svg = svg.replace(f"var(--{name})", light)
    return re.sub(r"(<svg[^>]*>)", r'\1<rect width="100%" height="100%" fill="#ffffff"/>', svg, count=1)


def _figure(name: str, rows: int) -> tuple[Figure, list[Axes]]:
    check_plots()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT if rows == 1 else 2 * rows + 0.2), layout="constrained")
    figure.patch.set_alpha(0)
    found = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    for axes in found:
        axes.patch.set_alpha(0)
        axes.grid(color=_PLACEHOLDERS["grid"], linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=_PLACEHOLDERS["muted"], labelsize=9, length=3)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set(color=_PLACEHOLDERS["ink"], fontsize=9.5)
        for side, spine in axes.spines.items():
            spine.set(visible=side in ("left", "bottom"), color=_PLACEHOLDERS["muted"])
    return figure, found


def _doubling(axes: Axes, values: list[int]) -> None:
    """An axis on which every doubling is as long; its ticks are powers of two."""
    axes.set_xscale("log", base=2)
    ticks = [2**power for power in range(max(values).bit_length()) if 2**power >= min(values)]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.minorticks_off()


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    columns = 1 if max(map(len, labels)) > LONG_LABEL else 2
    figure.set_figheight(figure.get_figheight() + 0.18 * -(-len(labels) // columns))
    legend = figure.legend(
        handles, labels, loc="outside lower left", ncols=columns, fontsize=8.5, frameon=False, handlelength=3.2
    )
    for text in legend.get_texts():
        text.set_color(_PLACEHOLDERS["ink"])


def _svg(figure: Figure, name: str, title: str) -> str:
    """The drawing, sized by its frame, words as words, the same bytes every time."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', f'role="img" aria-label="{title}"', svg, count=1)
    svg = re.sub(r"'DejaVu Sans', [^;\"]*", "system-ui, sans-serif", svg)
    svg = _named(svg, name)
    for colour, placeholder in _PLACEHOLDERS.items():
        svg = svg.replace(placeholder, f"var(--{colour})")
    return svg


def _named(svg: str, prefix: str) -> str:
    """Names that nothing refers to left out, the others with a prefix: the plots of a page share none."""
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: f' id="{prefix}-{found[1]}"' if found[1] in used else "", svg)
    return re.sub(r'(url\(|href=")#', rf"\1#{prefix}-", svg)
