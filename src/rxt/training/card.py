"""The model card: the facts of a run, from its own files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from rxt.config import read_json
from rxt.interop.on_base import described
from rxt.model.reactive import ReactiveTransformer
from rxt.training.config import RunConfig
from rxt.training.run_folder import STAGE


def model_card(
    run: RunConfig, folder: Path, model: ReactiveTransformer, ends: Mapping[str, int], began: str | None
) -> str:
    """Markdown: what the model is, what it was trained on, how it ended.

    Args:
        ends: its stages, and whose step's weights each kept.
        began: the fingerprint of the trained model that the run went on from.
    """
    layers, slots, width = run.model.memory_shape
    parameters = sum(parameter.numel() for parameter in model.parameters())
    sources, base = run.data.describe(), run.model.base
    rounded = [stage for stage in ends if read_json(folder / stage / STAGE).get("products") == "bfloat16"]
    lines = [
        "---",
        *([] if base is not None else ["license: apache-2.0"]),  # reads begin as copies of the base's weights
        "library_name: reactive-transformers",
        "pipeline_tag: text-generation",
        "---",
        "",
        f"# {run.name}",
        "",
        "A Reactive Transformer: it reads only the newest message and remembers earlier ones "
        "in a memory of fixed size.",
        "",
        f"- parameters: {parameters:,}; memory: {layers} layers × {slots} slots × {width}",
        f"- longest interaction: {run.model.max_length} tokens; vocabulary: {run.model.decoder.vocab_size:,}",
        f"- data: {'; '.join(sources)}",
        *([] if base is None else [f"- base: {described(base)}"]),
        f"- recipe: {run.name}, seed {run.seed}",
        *([f"- went on from: the weights of fingerprint {began}"] if began else []),
        *([f"- products in bfloat16, weights in float32: {', '.join(rounded)}"] if rounded else []),
        f"- time: {training_minutes(folder, ends):.1f} minutes of training",
        f"- fingerprint of the weights: {model.fingerprint()}",
        "",
        "| stage | updates | validation |",
        "|---|---|---|",
    ]
    for stage, end in ends.items():
        step, numbers = last_validation(folder / stage / "metrics.jsonl", end)
        if numbers:  # not a stage that the run left out
            lines.append(
                f"| {stage} | {step} | {', '.join(f'{name} {value:.4f}' for name, value in numbers.items())} |"
            )
    return "\n".join(lines) + "\n"


def training_minutes(folder: Path, stages: Iterable[str]) -> float:
    """Of all stages together, validation included, without what was lost to crashes."""
    lines = [
        line for stage in stages for line in (folder / stage / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return sum(json.loads(line).get("seconds", 0.0) for line in lines) / 60


def last_validation(path: Path, end: int) -> tuple[int, dict[str, float]]:
    """The step and the numbers of the last validation line of a stage's metrics that is not after the step ``end``."""
    step, numbers = 0, {}
    for line in path.read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        if values.pop("split") == "validation" and values["step"] <= end:
            step, numbers = int(values.pop("step")), values
    return step, numbers
