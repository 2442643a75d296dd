"""The recall curve in the README (needs matplotlib):

rxt eval retention --facts none --questions 32 --distances 1,2,4,6,8,12,16,24,32,48,64 --seed 1 --json retention.json
python docs/picture_of_recall.py retention.json docs/recall.svg
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot


def main(source: str, picture: str = "docs/recall.svg") -> None:
    found = json.loads(Path(source).read_text(encoding="utf-8"))
    recall = {int(distance): share for distance, share in found["recall_by_distance"].items()}
    controls = found["controls"]
    pyplot.rcParams.update({"svg.hashsalt": "rxt", "font.size": 10})
    figure, axes = pyplot.subplots(figsize=(8, 3.4), layout="constrained")
    axes.plot(list(recall), list(recall.values()), "o-", color="#2563eb", label="own memory")
    for name, label, style in (
        ("shuffled", "another conversation's memory", "--"),
        ("chance", "chance", ":"),
        ("reset", "memory reset", "-"),
    ):
        axes.axhline(controls[name], linestyle=style, color="#64748b", label=f"{label}: {controls[name]:.3f}")
    axes.axvline(found["trained_turns"], linewidth=0.8, color="#cbd5e1")
    axes.text(found["trained_turns"] + 0.5, 0.6, "longest conversation in training", color="#64748b", fontsize=9)
    axes.set(xlabel="turns since the fact was told", ylabel="recall", ylim=(-0.03, 1.05), xlim=(0, max(recall) + 1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(0.4, 0.3), fontsize=9)
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
