"""Every stage still follows its recorded curve; ``golden.py`` says how to record another."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import golden
import pytest

from rxt.training.reinforcement.config import Algorithm


@pytest.mark.parametrize("name", golden.NAMES)
def test_a_stage_follows_its_recorded_curve(name: str) -> None:
    recorded = json.loads(golden.FILE.read_text(encoding="utf-8"))["losses"][name]
    found = golden.trajectory(name)
    assert golden.pinned(found) == pytest.approx(recorded, rel=2e-3)
    start = 20 if name == "4-memory-aware" else 0  # where its last phase, of longer conversations, begins
    assert sum(found[-5:]) < sum(found[start : start + 5]), "it learns"


@pytest.mark.parametrize("algorithm", golden.ALGORITHMS)
def test_reinforcement_follows_its_recorded_curve(algorithm: Algorithm) -> None:
    recorded = json.loads(golden.FILE.read_text(encoding="utf-8"))["entropies"][algorithm]
    assert golden.pinned(golden.reinforced(algorithm)) == pytest.approx(recorded, rel=2e-3)


def test_checkpointing_follows_the_same_curve() -> None:
    recorded = json.loads(golden.FILE.read_text(encoding="utf-8"))["losses"]["4-memory-aware"]
    assert golden.pinned(golden.trajectory("4-memory-aware", checkpointing=True)) == pytest.approx(recorded, rel=2e-3)


def test_recording_refuses_code_that_is_not_committed(tmp_path: Path) -> None:
    source = Path(golden.__file__).parent
    folder = tmp_path / "tests" / "training"
    folder.mkdir(parents=True)
    for path in (source / "golden.py", source / "micro.py", source / "reinforcing.py", source.parent / "factories.py"):
        (folder / path.name).write_bytes(path.read_bytes())
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    done = subprocess.run([sys.executable, str(folder / "golden.py"), "--record"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("not recorded: these files have changes that are not committed\n?? tests/training/")
    assert not (folder / "golden.json").exists()
