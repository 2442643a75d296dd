"""Fifty steps of every stage on a tiny model: pinned losses that a change of the code must not move unnoticed.

To record them again, after a change that is meant to move them and is committed::

    PYTHONPATH=tests python tests/training/golden.py --record

It refuses while ``src`` has changes that are not committed, and notes the commit it was recorded at.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import reinforcing
import torch
from micro import INTERACTION, JOINT, OPTIM, PREFERENCE, PRETRAIN, RUN, learner, preference_stage, stages

from rxt.training.loop import update
from rxt.training.optim import make_optimizer
from rxt.training.reinforcement.config import Algorithm
from rxt.training.stages.memory_aware import MemoryAwareConfig, Phase

FILE = Path(__file__).with_name("golden.json")
STEPS = 50
PINNED = (1, 2, 10, 20, 30, 40, 50)
"""The steps whose losses are compared."""
NAMES = ("1-joint", "2-interaction", "3-memory-pretrain", "4-memory-aware", "5-preference")
ALGORITHMS: tuple[Algorithm, ...] = ("group", "ppo", "impo")
"""Of stage 5."""
MEMORY_AWARE = MemoryAwareConfig(
    phases=(
        Phase(steps=10, turns=2, batch_size=4, trains=("decoder",)),
        Phase(steps=10, turns=2, batch_size=4, trains=("decoder", "memory_attention")),
        Phase(steps=30, turns=4, batch_size=4),
    ),
    optim=OPTIM,
)
GOLDEN = RUN.having(
    replace(JOINT, steps=STEPS),
    replace(INTERACTION, steps=STEPS),
    replace(PRETRAIN, steps=STEPS, batch_size=4),
    MEMORY_AWARE,
)


def trajectory(name: str, checkpointing: bool = False) -> list[float]:
    """The losses of a stage's first fifty steps, each stage from the same fresh weights."""
    torch.set_num_threads(1)
    run = GOLDEN.having(replace(MEMORY_AWARE, checkpointing=checkpointing))
    with tempfile.TemporaryDirectory() as folder:
        preference = preference_stage(Path(folder), replace(PREFERENCE, steps=STEPS))
        stage = [*stages(run), preference][NAMES.index(name)]
        subject = learner()
        preference.reference.of(subject)
    optimizer = make_optimizer(subject, stage.optim)
    return [
        float(sum(loss.loss for loss in update(stage, subject, optimizer, run.seed, step))) for step in range(STEPS)
    ]


def reinforced(algorithm: Algorithm) -> list[float]:
    """The entropy of the policy in stage 5's first fifty updates, two for each collection, from the same fresh weights.

    Not the loss, which is near zero whatever the policy does. In double precision: in single, the last bit of another
    processor would now and then have another token sampled, and the curve go its own way from there.
    """
    torch.set_num_threads(1)
    phases = (replace(reinforcing.PHASE, steps=STEPS, trains=("decoder",)), replace(reinforcing.PHASE, steps=STEPS))
    config = replace(
        reinforcing.CONFIG, phases=(replace(phases[0], steps=10), phases[1]), algorithm=algorithm, epochs=2
    )
    stage, subject = reinforcing.stage(config), reinforcing.reinforcement_learner(config, double=True)
    optimizer = make_optimizer(subject, stage.optim)
    found = [update(stage, subject, optimizer, RUN.seed, step) for step in range(STEPS)]
    return [float(sum(loss.metrics["entropy"] for loss in losses)) for losses in found]


def pinned(losses: list[float]) -> dict[str, float]:
    return {str(step): losses[step - 1] for step in PINNED}


def record() -> None:
    """Write ``golden.json`` from the committed code."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=FILE.parent, check=True, capture_output=True, text=True
        ).stdout.strip()

    root = git("rev-parse", "--show-toplevel")
    dirty = git(
        "-C",
        root,
        "status",
        "--porcelain",
        "--",
        "src",
        "tests/training/golden.py",
        "tests/training/micro.py",
        "tests/training/reinforcing.py",
    )
    if dirty:
        sys.exit(f"not recorded: these files have changes that are not committed\n{dirty}")
    values = {
        "recorded_at": git("rev-parse", "HEAD"),
        "losses": {name: pinned(trajectory(name)) for name in NAMES},
        "entropies": {algorithm: pinned(reinforced(algorithm)) for algorithm in ALGORITHMS},
    }
    FILE.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    print(f"recorded {FILE}")


if __name__ == "__main__":
    if sys.argv[1:] != ["--record"]:
        sys.exit(__doc__)
    record()
