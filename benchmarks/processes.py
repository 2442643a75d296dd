"""How far the losses of several processes lie from those of one, over fifty updates of each of stages 1 to 4.

    python benchmarks/processes.py --out /tmp/processes

trains the recipe smoke on conversations of one to five turns: in one process, then in two and in four, with the whole
model in each process and with a part of it. It prints the largest relative difference of each stage's losses.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from rxt.cli.main import main as rxt

STAGES = ("joint", "interaction", "memory_pretrain", "memory_aware")
PHASES = [{"steps": 25, "turns": 5, "batch_size": 4}, {"steps": 25, "turns": 3, "batch_size": 4}]
MOST = 4
"""Processes."""


@dataclass(frozen=True)
class Options:
    """Where the runs go."""

    out: Path


def uneven_talks(path: Path) -> Path:
    """Conversations of one to five turns."""
    talks = [
        [{"query": f"{name} asks {turn}", "answer": f"{turn} says {name}"} for turn in range(1 + name % 5)]
        for name in range(100)
    ]
    path.write_text("".join(json.dumps({"interactions": talk}) + "\n" for talk in talks), encoding="utf-8")
    return path


def losses(run: Path, data: Path, workers: int, parallel: str) -> dict[str, list[float]]:
    """Of every update, by stage."""
    settings = [f"{stage}.optim.accumulate={MOST}" for stage in STAGES]
    settings += [f"{stage}.steps=50" for stage in STAGES[:3]] + [f"memory_aware.phases={json.dumps(PHASES)}"]
    settings += ["tokenizer.conversations=40", "log_every=1"]
    words = ["train", "smoke", "--out", str(run), "--workers", str(workers), "--parallel", parallel]
    words += ["--data", str(data), "--everyday-share", "0"]
    assert rxt([*words, *(word for setting in settings for word in ("--set", setting))]) == 0
    found = dict[str, list[float]]()
    for log in sorted(run.glob("*/metrics.jsonl")):
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        found[log.parent.name] = [line["loss"] for line in lines if line["split"] == "train"]
    return found


def main() -> None:
    out = tyro.cli(Options).out
    out.mkdir(parents=True)
    data = uneven_talks(out / "talks.jsonl")
    one = losses(out / "one", data, 1, "replicate")
    for workers in (2, MOST):
        for parallel in ("replicate", "shard"):
            several = losses(out / f"{workers}-{parallel}", data, workers, parallel)
            for stage, expected in one.items():
                pairs = zip(several[stage], expected, strict=True)
                furthest = max(abs(found - wanted) / abs(wanted) for found, wanted in pairs)
                print(f"{workers} processes, {parallel}, {stage}: {furthest:.1e}", flush=True)


if __name__ == "__main__":
    main()
