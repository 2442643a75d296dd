"""The curves of a run as a picture, where matplotlib is installed."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from rxt.files import write_atomically


def plot_curves(run: Path, curves: Mapping[str, str], picture: Path) -> bool:
    """Draw training and validation of a metric of each stage's (``curves``) into a PNG; False without matplotlib."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3), layout="constrained")
    for axes, (stage, name) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
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
