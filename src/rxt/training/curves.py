"""The curves of a run as a picture, where matplotlib is installed."""

from __future__ import annotations

import io
import json
from importlib.util import find_spec
from pathlib import Path

from rxt.files import write_atomically

PLOTTED = {
    "1-joint": "next_token",
    "2-interaction": "next_token",
    "3-memory-pretrain": "cosine",
    "4-memory-aware": "answer",
    "5-reinforcement": "recall",
    "5-preference": "recall",
}
"""What is drawn of each stage."""


def plot_curves(run: Path, picture: Path) -> bool:
    """Draw every stage's training and validation curve into a PNG; False where matplotlib is missing."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    plotted = {stage: name for stage, name in PLOTTED.items() if (run / stage).is_dir()}
    figure = Figure(figsize=(12, 3), layout="constrained")
    for axes, (stage, name) in zip(figure.subplots(1, len(plotted)), plotted.items(), strict=True):
        for split, style in (("train", {"alpha": 0.5}), ("validation", {"marker": "o", "markersize": 3})):
            steps, values = series(run / stage / "metrics.jsonl", split, name)
            axes.plot(steps, values, label=split, **style)
        axes.set(title=stage, xlabel="update", ylabel=name.replace("_", " "))
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(picture, buffer.getvalue())
    return True


def series(path: Path, split: str, name: str) -> tuple[list[int], list[float]]:
    """The steps and values of one number of one split in a stage's ``metrics.jsonl``."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    points = [(line["step"], line[name]) for line in lines if line["split"] == split and name in line]
    return [step for step, _ in points], [value for _, value in points]
