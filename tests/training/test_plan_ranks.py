"""What a plan says that a rank holds, beside what each of two processes does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from held_by_rank import OF_AWARE, OF_JOINT, RANKS, ROWS
from planned import TOKENS, counted

from rxt.training.plan.counting import FLOAT32
from rxt.training.plan.plan import CountedRun, CountedStage, Hardware


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, int]]]:
    """What each process says, by stage."""
    store = tmp_path_factory.mktemp("group") / "store"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    script = str(Path(__file__).with_name("held_by_rank.py"))
    running = [
        subprocess.Popen(
            [sys.executable, script, str(store), str(rank)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    said = [process.communicate() for process in running]
    assert not any(process.returncode for process in running), said[0][1]
    return [json.loads(output) for output, _ in said]


@pytest.mark.slow
@pytest.mark.parametrize("config", [OF_JOINT, OF_AWARE], ids=["joint", "memory_aware"])
def test_two_processes_hold_what_is_planned_for_them(config: Any, ranks: list[dict[str, dict[str, int]]]) -> None:
    updates, states = counted(config)
    stage = CountedStage(config.kind, config.optim.accumulate, updates, states, gathered_in_bfloat16=True)
    none_fits = CountedRun("micro", TOKENS, (stage,)).on(Hardware(RANKS, memory=1.0))
    assert none_fits.stages[0].layout.sharded
    (phase,) = none_fits.stages[0].phases
    for found in (each[config.kind] for each in ranks):
        assert found["weights"] == pytest.approx(phase.held.weights, rel=0.05)
        assert found["gradients"] == pytest.approx(phase.held.gradients, rel=0.05)
        assert found["optimiser"] == pytest.approx(phase.held.optimiser, rel=0.05)
        assert found["activations"] == pytest.approx(ROWS * updates[0].cost.kept(FLOAT32), rel=0.05)
