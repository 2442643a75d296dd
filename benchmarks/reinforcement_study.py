"""The study of stages 5 and 5′: every arm goes on from the same model, several seeds each; the table and plot of
docs/reinforcement.md.

::

    rxt train study --set memory_aware.window=1 --seed 2 --out runs/cut    # the model that all begin with: the
    published rule, gradient cut python benchmarks/reinforcement_study.py run --start runs/cut/model --out
    runs/reinforcement    # what is missing, one after another python benchmarks/reinforcement_study.py run --start
    runs/cut/model --out runs/reinforcement --arms dmpo --seeds 0 python benchmarks/reinforcement_study.py measure
    --start runs/cut/model --out runs/reinforcement python benchmarks/reinforcement_study.py table --out
    runs/reinforcement            # Markdown python benchmarks/reinforcement_study.py plot --out runs/reinforcement
    --picture docs/reinforcement.png

A run that was stopped goes on where it was. Everything is measured on the generator's validation split, with a seed of
its own.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

KINDS = ("name", "city", "job", "dog", "hobby", "colour", "drink")
VALUES = 40
SEED = 101
DISTANCES = tuple(range(1, 17))
CONVERSATIONS = 96
"""Of 16 turns, for perplexity and reward."""
DATA = {"kinds": json.dumps(KINDS), "values": str(VALUES), "paraphrase_rate": "0.0"}
JUDGED = {"recall.questions": "20", "recall.distances": "[1,2,4,5,6,8,10,12,14,16]"}


@dataclass(frozen=True)
class Arm:
    """One way to go on."""

    title: str
    recipe: str
    options: dict[str, str]


def episodes(steps: int, batch_size: int, **more: str) -> dict[str, str]:
    """Options of the recipe ``mrl``: so many updates of so many episodes, in one process."""
    phase = {"steps": steps, "turns": 16, "batch_size": batch_size, "teacher_forcing": True}
    options = {**JUDGED, "recall.every": "25", "phases": json.dumps([phase]), "optim.accumulate": "1", **more}
    return {f"reinforcement.{name}": value for name, value in options.items()}


SUPERVISED = {"memory_aware.phases": json.dumps([{"steps": 900, "turns": 16, "batch_size": 16}])} | {
    f"memory_aware.optim.{name}": value
    for name, value in {
        "kind": "adamw",
        "learning_rate": "2e-4",
        "warmup": "20",
        "weight_decay": "0",
        "rates": json.dumps([{"pattern": "memory_attention.*gate.*", "factor": 0.1}]),
    }.items()
}
ARMS = {
    "group": Arm("MRL, group", "mrl", episodes(300, 16)),
    "impo": Arm("MRL, IMPO", "mrl", episodes(150, 32, algorithm="impo")),
    "dmpo": Arm("DMPO", "dmpo", {f"preference.{name}": value for name, value in JUDGED.items()}),
    "supervised": Arm(
        "stage 4, as many updates as DMPO", "study", {**SUPERVISED, "joint.steps": "0", "interaction.steps": "0"}
    ),
}


def run(start: Path, out: Path, arms: list[str], seeds: list[int]) -> None:
    """Train what is missing."""
    for seed in seeds:
        for name in arms:
            arm = ARMS[name]
            settings = {
                **{f"data.conversations.0.settings.{key}": value for key, value in DATA.items()},
                "validation_batches": "2",
                **arm.options,
            }
            given = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
            argv = [arm.recipe, "--from", str(start), "--out", str(out / f"{name}-{seed}"), "--seed", str(seed), *given]
            print("rxt train", *argv, flush=True)
            subprocess.run([sys.executable, "-m", "rxt", "train", *argv], check=True)


def measure(start: Path, out: Path) -> None:
    """Measure the start and every model that was not measured yet; a JSON file beside each run."""
    for name, model in [("start", start), *((path.parent.name, path) for path in sorted(out.glob("*-*/model")))]:
        path = out / f"{name}.json"
        if not path.exists():
            numbers = numbers_of(model)
            path.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
            print(name, {key: value for key, value in numbers.items() if key != "by_distance"}, flush=True)


def numbers_of(model: Path) -> dict[str, Any]:
    """Recall, perplexity and reward of one model."""
    from rxt.data.template import Template
    from rxt.evaluation.perplexity import measure_perplexity
    from rxt.evaluation.retention import measure_recall
    from rxt.evaluation.reward import score
    from rxt.evaluation.subject import Reactive
    from rxt.evaluation.walk import walk
    from rxt.pretrained import load_model
    from rxt.tasks.everyday import EverydayConfig, generate
    from rxt.tasks.registry import task

    mix = EverydayConfig(kinds=KINDS, values=VALUES)
    loaded, tokenizer = load_model(str(model))
    subject = Reactive(loaded, Template.of_model(loaded.config, tokenizer))
    recall = measure_recall(subject, "validation", DISTANCES, 40, 128, SEED, task("everyday", mix))
    cases = [generate("validation", 16, SEED, index, mix) for index in range(CONVERSATIONS)]
    perplexity = measure_perplexity(loaded, subject.template, [case.conversation for case in cases], SEED)
    rewards = []
    said_by_all = walk(
        subject, [[said.query for said in case.conversation.interactions] for case in cases], SEED
    ).answers
    for case, answers in zip(cases, said_by_all, strict=True):
        said = case.conversation.interactions
        for turn in sorted({question.turn for question in case.questions} - {0}):
            previous = f"{said[turn - 1].query} {answers[turn - 1]}"
            rewards.append(score(answers[turn], said[turn].answer or "", previous, said[turn].query))
    card = model / "README.md"
    minutes = re.search(r"time: ([\d.]+) minutes", card.read_text(encoding="utf-8")) if card.exists() else None
    return {
        "by_distance": {distance: [found.right, found.asked] for distance, found in recall.by_distance.items()},
        "changed": recall.special["changed"].share,
        "never_told": recall.special["never_told"].share,
        "perplexity": perplexity.kept.perplexity,
        "reward": mean(rewards),
        "minutes": float(minutes[1]) if minutes else None,
    }


def measured(out: Path, name: str) -> list[dict[str, Any]]:
    """The numbers of an arm's seeds."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob(f"{name}-*.json"))]


def band(numbers: dict[str, Any], first: int, last: int) -> tuple[int, int]:
    """(right, asked) at distances ``first`` … ``last``."""
    found = [pair for distance, pair in numbers["by_distance"].items() if first <= int(distance) <= last]
    return sum(right for right, _ in found), sum(asked for _, asked in found)


def spread(values: list[float], digits: int = 3) -> str:
    """Mean ± standard deviation."""
    return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


def table(out: Path) -> str:
    """Markdown; the interval is of all seeds' questions at 5 to 16 turns together."""
    from rxt.evaluation.retention import Score

    lines = [
        "| | seeds | minutes | 1–4 | 5–16 | 95 % interval | changed | never told | answer perplexity | reward |",
        "|" + "---|" * 10,
    ]
    start = json.loads((out / "start.json").read_text(encoding="utf-8"))
    for title, found in [
        ("the model they start from", [start]),
        *((arm.title, measured(out, name)) for name, arm in ARMS.items()),
    ]:
        if not found:
            continue
        early, late = ([band(numbers, *ends) for numbers in found] for ends in ((1, 4), (5, 16)))
        low, high = Score(sum(right for right, _ in late), sum(asked for _, asked in late)).interval
        shares = [[right / asked for right, asked in pairs] for pairs in (early, late)]
        others = [spread([numbers[key] for numbers in found]) for key in ("changed", "never_told", "perplexity")]
        minutes = [numbers["minutes"] for numbers in found]
        cost = "" if title.startswith("the model") or None in minutes else f"{mean(minutes):.1f}"
        cells = [title, len(found), cost, *map(spread, shares), f"{low:.3f} to {high:.3f}", *others]
        lines.append("| " + " | ".join(map(str, [*cells, spread([numbers["reward"] for numbers in found], 2)])) + " |")
    return "\n".join(lines)


def plot(out: Path, picture: Path) -> None:
    """Recall by distance, and the curves of training: what the stage measured of itself after so many updates."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    bands = [(1, 2), (3, 4), (5, 8), (9, 12), (13, 16)]
    start = json.loads((out / "start.json").read_text(encoding="utf-8"))
    for title, name, found in [
        ("start", "start", [start]),
        *((arm.title, name, measured(out, name)) for name, arm in ARMS.items()),
    ]:
        if not found:
            continue
        shares = [[rights / asked for rights, asked in (band(numbers, *ends) for numbers in found)] for ends in bands]
        (line,) = left.plot(
            range(len(bands)), [mean(values) for values in shares], "k--" if name == "start" else "-o", label=title
        )
        left.fill_between(
            range(len(bands)), [min(v) for v in shares], [max(v) for v in shares], color=line.get_color(), alpha=0.15
        )
        for log in sorted(out.glob(f"{name}-*/5-*/metrics.jsonl")):
            rows = [
                row for row in map(json.loads, log.read_text(encoding="utf-8").splitlines()) if "recall_5_16" in row
            ]
            last = max(row["step"] for row in rows)
            right.plot(
                [row["step"] / last for row in rows],
                [row["recall_5_16"] for row in rows],
                color=line.get_color(),
                alpha=0.7,
            )
    left.set(
        xticks=range(len(bands)),
        xticklabels=[f"{a}–{b}" for a, b in bands],
        xlabel="turns since the fact was told",
        ylabel="recall",
    )
    left.set_ylim(0, 1)
    left.legend()
    right.set(xlabel="share of the updates", ylabel="recall at 5–16 turns, by the stage's evaluator", ylim=(0, 1))
    figure.savefig(picture, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "measure", "table", "plot"])
    parser.add_argument("--start", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=[name for name in ARMS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    if options.what in ("run", "measure"):
        if options.start is None:
            parser.error("--start MODEL: which model do the arms go on from?")
        (
            run(options.start, options.out, options.arms, options.seeds)
            if options.what == "run"
            else measure(options.start, options.out)
        )
    elif options.what == "table":
        print(table(options.out))
    else:
        plot(options.out, options.picture or parser.error("--picture FILE: where to?"))


if __name__ == "__main__":
    main()
