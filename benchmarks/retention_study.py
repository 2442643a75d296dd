"""The retention study: every arm trained and measured alike, several seeds each, and the tables and plots of
docs/retention.md.

::

    python benchmarks/retention_study.py run --out runs/study              # trains and measures what is missing, one
    run after another python benchmarks/retention_study.py run --out runs/study --arms reactive recurrent --seeds 0
    python benchmarks/retention_study.py table --out runs/study            # Markdown python
    benchmarks/retention_study.py plot --out runs/study --picture docs/retention.png

A run that was stopped goes on where it was. Everything is the ``study`` recipe of ``rxt train`` with the arm's options,
and ``rxt eval retention`` on the validation or test split.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

DISTANCES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
KINDS = ("name", "city", "job", "dog", "hobby", "colour", "drink")
VALUES = 40
TRAINED = 8
"""Turns of the longest conversations that the study recipe trains on."""
GROUPS = ((1, 8), (12, 16), (24, 32), (48, 64))


@dataclass(frozen=True)
class Arm:
    """One way to train, and what it is called in the tables."""

    title: str
    options: tuple[str, ...] = ()
    """Of ``rxt train study``."""
    evaluation: tuple[str, ...] = ()
    """Of ``rxt eval retention``."""
    trained_as: str | None = None
    """Another arm whose models are measured in another way."""
    constant: bool = True
    """Whether a turn costs the same however many came before."""


def changed(**fields: str) -> tuple[str, ...]:
    """``--set`` options; two underscores stand for a dot."""
    return tuple(part for name, value in fields.items() for part in ("--set", f"{name.replace('__', '.')}={value}"))


LONGER = changed(memory_aware__phases__4__steps="1500", memory_aware__phases__5__steps="2100")
SLOW_GATES = json.dumps([{"pattern": "memory_attention.*gate.*", "factor": 0.1}])
ONE_LENGTH = json.dumps([{"steps": 1_400, "turns": 8, "batch_size": 8}])
ARMS = {
    "reactive": Arm("Reactive Transformer"),
    "history": Arm("full history, read again", ("--baseline", "history"), constant=False),
    "history-cut": Arm("the last 192 tokens of history", evaluation=("--history-tokens", "192"), trained_as="history"),
    "recurrent": Arm("recurrent memory tokens", ("--baseline", "recurrent")),
    "cut-gradient": Arm("Reactive, gradient cut after every turn", changed(memory_aware__window="1")),
    "no-memory": Arm("no memory", ("--baseline", "no-memory")),
    "reactive-longer": Arm("Reactive Transformer, three times the updates", LONGER),
    "history-longer": Arm("full history, three times the updates", ("--baseline", "history", *LONGER), constant=False),
    "window-2": Arm("gradient through 2 turns", changed(memory_aware__window="2")),
    "window-4": Arm("gradient through 4 turns", changed(memory_aware__window="4")),
    "self-interlayer": Arm(
        "self-interlayer memory attention", changed(model__memory_attention__variant="self-interlayer")
    ),
    "plain-gates": Arm(
        "gates as published: mean status, all alike at the start",
        changed(
            model__memory_attention__gate__status="mean",
            model__memory_attention__gate__longest="null",
            model__memory_attention__gate__own_status="null",
        ),
    ),
    "slots-16": Arm("16 slots", changed(model__memory_attention__slots="16")),
    "no-stage-3": Arm("without stage 3", changed(memory_pretrain__steps="0")),
    "no-stages-1-to-3": Arm(
        "without stages 1 to 3", changed(joint__steps="0", interaction__steps="0", memory_pretrain__steps="0")
    ),
    "no-curriculum": Arm("eight turns from the start, no echo", changed(memory_aware__phases=ONE_LENGTH)),
    "slow-gates": Arm("gates by AdamW at a tenth of the rate", changed(memory_aware__optim__rates=SLOW_GATES)),
    "adamw": Arm("AdamW instead of Muon", changed(memory_aware__optim__kind="adamw")),
}
MAIN = (
    "reactive",
    "history",
    "history-cut",
    "recurrent",
    "cut-gradient",
    "no-memory",
    "reactive-longer",
    "history-longer",
)


def run(out: Path, arms: list[str], seeds: list[int], questions: int) -> None:
    """Train and measure what is missing."""
    for seed in seeds:
        for name in arms:
            arm = ARMS[name]
            folder = out / f"{arm.trained_as or name}-{seed}"
            numbers = numbers_of(out, name, seed)
            if not (folder / "model" / "config.json").exists():
                rxt("train", "study", "--out", str(folder), "--seed", str(seed), *ARMS[arm.trained_as or name].options)
            if not numbers.exists():
                facts = [part for kind in KINDS for part in ("--kinds", kind)]
                asked = ["--questions", str(questions), "--distances", ",".join(map(str, DISTANCES)), "--facts", "none"]
                same = ["--values", str(VALUES), "--json", str(numbers)]
                rxt("eval", "retention", str(folder / "model"), *asked, *facts, *same, *arm.evaluation)


def rxt(*argv: str) -> None:
    """One command, in one thread unless the environment says otherwise."""
    print("rxt", *argv, file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "rxt", *argv], check=True, env={"OMP_NUM_THREADS": "1", **os.environ})


def numbers_of(out: Path, name: str, seed: int) -> Path:
    return out / f"{name}-{seed}.json"


def measured(out: Path, name: str) -> list[dict]:
    """The JSON of every seed there is."""
    return [json.loads(path.read_text()) for path in sorted(out.glob(f"{name}-[0-9]*.json"))]


def grouped(numbers: dict, first: int, last: int) -> float:
    """Recall at the distances of a group together: all have as many questions."""
    return mean(recall for distance, recall in numbers["recall_by_distance"].items() if first <= int(distance) <= last)


def spread(values: list[float]) -> str:
    """Mean and sample standard deviation over seeds."""
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def table(out: Path) -> str:
    """Markdown: the arms by groups of distances; changed and never told."""
    head = ["arm", "seeds", *(f"{first}–{last}" for first, last in GROUPS), "changed", "never told"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, arm in ARMS.items():
        runs = measured(out, name)
        if runs:
            cells = [spread([grouped(numbers, *group) for numbers in runs]) for group in GROUPS]
            cells += [spread([numbers[key] for numbers in runs]) for key in ("changed", "never_told")]
            lines.append("| " + " | ".join([arm.title, str(len(runs)), *cells]) + " |")
    return "\n".join(lines)


def plot(out: Path, picture: Path) -> None:
    """Recall by distance: the baselines, and beside them the ingredients that were measured; bands from the lowest to
    the highest seed."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    dark_and_light = [colormaps["tab20"](index) for index in (*range(0, 20, 2), *range(1, 20, 2))]
    parts: dict[str, tuple[str, ...]] = {"baselines of equal size, data and updates": MAIN}
    ingredients = [name for name in ARMS if name not in MAIN and measured(out, name)]
    if ingredients:
        parts["ingredients"] = ("reactive", *ingredients)
    figure = Figure(figsize=(7.5 * len(parts), 6), layout="constrained")
    for axes, (title, names) in zip(
        figure.subplots(1, len(parts), sharey=True, squeeze=False)[0], parts.items(), strict=True
    ):
        axes.set_prop_cycle(color=dark_and_light)
        for name in names:
            runs = measured(out, name)
            if not runs:
                continue
            curves = [[numbers["recall_by_distance"][str(distance)] for distance in DISTANCES] for numbers in runs]
            points = list(zip(*curves, strict=True))
            style = (
                {"linewidth": 2.5}
                if name == "reactive"
                else {"linewidth": 1.3, "linestyle": "-" if ARMS[name].constant else "--"}
            )
            (line,) = axes.plot(
                DISTANCES, [mean(point) for point in points], marker="o", markersize=3, label=ARMS[name].title, **style
            )
            axes.fill_between(
                DISTANCES, list(map(min, points)), list(map(max, points)), alpha=0.15, color=line.get_color()
            )
        axes.axvline(TRAINED, color="grey", linewidth=0.8, linestyle=":")
        axes.text(TRAINED * 1.05, 1.03, "trained length", fontsize=8, color="grey")
        axes.set(title=title, xlabel="told … turns ago", ylabel="recall", xscale="log", ylim=(-0.02, 1.08))
        axes.set_xticks(DISTANCES, [str(distance) for distance in DISTANCES])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    figure.savefig(picture, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "table", "plot"))
    parser.add_argument("--out", type=Path, default=Path("runs/study"))
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--picture", type=Path, default=Path("docs/retention.png"))
    options = parser.parse_args()
    match options.command:
        case "run":
            run(options.out, options.arms, options.seeds, options.questions)
        case "table":
            print(table(options.out))
        case "plot":
            plot(options.out, options.picture)


if __name__ == "__main__":
    main()
