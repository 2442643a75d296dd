"""What a page says of its numbers, in words: a sentence for each sort first, and the commands that made them."""

from __future__ import annotations

import shlex

from rxt.evaluation.latency import CostCurve, LatencyResult
from rxt.evaluation.report.results import (
    CAPACITY,
    LATENCY,
    OPEN,
    PERPLEXITY,
    RETENTION,
    CapacityResult,
    OpenResult,
    PerplexityResult,
    Results,
    RetentionResult,
)

BUNDLED = "bundled"
WELL = 0.9
"""Recall that counts as remembering well."""


def lead(results: Results) -> list[str]:
    """What is remembered of people's own words, what is remembered at all, for how long, and at what cost: a sentence
    each, as far as it was measured."""
    found: list[str] = [] if results.open is None else [what_of_own_words(results.open)]
    if results.retention is not None:
        found += [what_is_remembered(results.retention), for_how_long(results.retention, results.baselines)]
    if results.latency is not None:
        found.append(at_what_cost(results.latency))
    return found


def what_of_own_words(result: OpenResult) -> str:
    """The answers to people who type as they like."""
    said = shares_in_words(
        ("the share of right answers is", result.right),
        ("what was never told is said to be not known in", result.never_told),
        ("something that nobody said is named in", result.invented),
    )
    return f"In talks as people type them, {'; '.join(said)}."


def what_is_remembered(result: RetentionResult) -> str:
    """The nearest and the farthest recall beside the controls."""
    curve = result.curve
    first, last = min(curve), max(curve)
    told = (
        "Told a fact, the model answers a question about it correctly "
        f"{percent(curve[first])} of the time {turns(first)} later"
    )
    if last != first:
        told += f" and {percent(curve[last])} of the time {turns(last)} later"
    controls = result.controls
    beside = shares_in_words(
        ("with its memory erased it gets", controls.reset),
        ("with another conversation's memory", controls.shuffled),
        ("guessing would get", controls.chance),
    )
    return f"{told}; {', '.join(beside)}." if beside else f"{told}."


def for_how_long(result: RetentionResult, baselines: dict[str, RetentionResult]) -> str:
    """How far recall stays high, next to the longest training and the best model to compare with."""
    last, well, half = max(result.curve), result.lasts(WELL), result.lasts(0.5)
    if well is not None:
        said = f"It stays at {percent(WELL)} or better {_until(well, last)}"
        if well < last and half is not None and half > well:
            said += f" and at half or better {_until(half, last)}"
    elif half is not None:
        said = f"It begins below {percent(WELL)}, and stays at half or better {_until(half, last)}"
    else:
        said = "Already at the shortest distance it answers less than half of the questions"
    if result.trained_turns is not None:
        said += f" (training never showed more than {turns(result.trained_turns)})"
    shared = {name: set(other.curve) & set(result.curve) for name, other in baselines.items()}
    farthest = {name: other.curve[max(shared[name])] for name, other in baselines.items() if shared[name]}
    if farthest:
        best = max(farthest, key=lambda name: farthest[name])
        at = max(shared[best])
        said += (
            f"; the best of the others, {best}, recalls {percent(farthest[best])} after {turns(at)}, "
            f"this model {percent(result.curve[at])}"
        )
    return f"{said}."


def at_what_cost(latency: LatencyResult) -> str:
    """The first turn and the last one: this model, then the others."""
    ours, *others = latency.subjects
    last = max(ours.turns)
    said = f"In turn {last} its first word comes after {_first_word(ours, last)}"
    said += (
        f" (in turn {min(ours.turns)}: {_first_word(ours, min(ours.turns))}), "
        f"and it keeps {_kept(ours, last)} between turns"
    )
    beside = [
        f"{_first_word(curve, last)} ({curve.name}; {_kept(curve, last)} kept)"
        for curve in others
        if last in curve.turns
    ]
    if beside:
        said += f"; a model of the same size without a memory takes {' or '.join(beside)}"
    return f"{said}."


def retention_command(result: RetentionResult) -> str:
    """What measures the curve again."""
    options = ["--task", result.task] if result.task else []
    options += ["--split", result.split] if result.split else []
    options += ["--distances", ",".join(map(str, sorted(result.recall_by_distance)))]
    if result.questions_by_distance:
        options += ["--questions", str(max(result.questions_by_distance.values()))]
    if not result.capacity:
        options += ["--facts", "none"]
    return _command("retention", result.model, options, result.seed, RETENTION)


def open_command(result: OpenResult) -> str:
    """What holds the talks again."""
    options = ["--talks", result.talks] if result.talks != BUNDLED else []
    options += ["--distances", ",".join(map(str, sorted(result.recall_by_distance))) or "none"]
    if result.questions_by_distance:
        options += ["--questions", str(max(result.questions_by_distance.values()))]
    return _command("open", result.model, options, result.seed, OPEN)


def capacity_command(result: CapacityResult) -> str:
    """What asks for the facts again."""
    options = ["--larger", result.larger] if result.larger else []
    options += ["--task", result.task] if result.task else []
    options += ["--split", result.split] if result.split else []
    options += ["--cells", *(f"{cell.facts},{cell.distance}" for cell in result.cells)]
    options += ["--questions", str(max(cell.plain.asked for cell in result.cells))]
    options += ["--fragments", *(str(cost.fragments) for cost in result.turns)] if result.turns else []
    return _command("capacity", result.model, options, result.seed, CAPACITY)


def latency_command(latency: LatencyResult) -> str:
    """What times the turns again."""
    listed = ",".join(map(str, latency.subjects[0].turns))
    options = [
        "--turns",
        listed,
        "--query-tokens",
        str(latency.query_tokens),
        "--answer-tokens",
        str(latency.answer_tokens),
    ]
    options += ["--repeats", str(latency.repeats), "--threads", str(latency.threads)]
    return _command("latency", latency.model, options, None, LATENCY)


def perplexity_command(perplexity: PerplexityResult) -> str:
    """What reads the conversations again."""
    return _command("perplexity", perplexity.model, [], perplexity.seed, PERPLEXITY, perplexity.data)


def shares_in_words(*shares: tuple[str, float | None]) -> list[str]:
    """Each that was measured, after its words."""
    return [f"{words} {percent(share)}" for words, share in shares if share is not None]


def percent(share: float) -> str:
    """0.987 -> "98.7 %", 1.0 -> "100 %", without a line break between number and sign, as in all that follow."""
    return f"{100 * share:.1f}".removesuffix(".0") + "\u00a0%"


def turns(count: int) -> str:
    """ "1 turn", "2 turns"."""
    return f"{count} turn{'' if count == 1 else 's'}"


def milliseconds(seconds: float) -> str:
    """Two digits at least: "4.2 ms", "380 ms", "9.0 s"."""
    thousandths = 1_000 * seconds
    if thousandths >= 1_000:
        return f"{seconds:.1f}\u00a0s"
    return f"{thousandths:.0f}\u00a0ms" if thousandths >= 100 else f"{thousandths:.1f}\u00a0ms"


def size(count: int) -> str:
    """Bytes as people read them: "48 KiB"."""
    value, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB"):
        if value < 1_024:
            break
        value, unit = value / 1_024, larger
    return f"{value:.3g}\u00a0{unit}" if value < 1_000 else f"{value:.0f}\u00a0{unit}"


def _until(distance: int, last: int) -> str:
    return f"over all {turns(last)} measured" if distance == last else f"for {turns(distance)}"


def _first_word(curve: CostCurve, turn: int) -> str:
    return milliseconds(curve.turns[turn].first_token.median)


def _kept(curve: CostCurve, turn: int) -> str:
    return size(curve.turns[turn].state_bytes)


def _command(
    suite: str, model: str | None, options: list[str], seed: int | None, name: str, data: str | None = None
) -> str:
    words = [
        "rxt",
        "eval",
        suite,
        *([data] if data else []),
        *([model] if model and model != BUNDLED else []),
        *options,
    ]
    words += [*(["--seed", str(seed)] if seed is not None else []), "--json", name]
    return shlex.join(words)
