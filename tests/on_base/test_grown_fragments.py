"""A pool of fragments for the memory of a pre-trained model: trained, talked to, and read into."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from tiny_grown import Grown

from rxt.cli.main import main
from rxt.model.checkpoint import memory_tensors
from rxt.pretrained import load_model

PHASES = [
    {"steps": 1, "turns": 3, "batch_size": 2, "trains": ["router"], "most_writes": 1},
    {"steps": 1, "turns": 3, "batch_size": 2, "trains": ["decoder", "memory_attention", "router"]},
]


@pytest.mark.parametrize("grown", ["qwen", "tokens"], indirect=True)
def test_trained_then_talked_to(
    grown: Grown,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    out = tmp_path / "run"
    settings = [
        f"fragments.phases={json.dumps(PHASES)}",
        "validate_every=2",
        "validation_batches=1",
        "checkpoint_every=2",
    ]
    sets = [word for setting in settings for word in ("--set", setting)]
    assert main(["train", "fragments", "--from", str(grown.memory), "--out", str(out), *sets]) == 0
    before, (model, _) = grown.model, load_model(out / "model")
    assert model.config.pool is not None
    assert model.config.base == before.config.base
    own = set(memory_tensors(model))
    moved = {
        name
        for name, weight in before.state_dict().items()
        if not torch.equal(weight.cpu(), model.state_dict()[name].cpu())
    }
    assert moved <= own, "the base stays as it is"
    assert any(name.startswith("memory_attention") for name in moved)
    text, knowledge = tmp_path / "manual.txt", tmp_path / "knowledge.mem"
    text.write_text("The key is in the kitchen. The cat is called Tom.", encoding="utf-8")
    assert main(["memory", "build", str(text), "--out", str(knowledge), "--model", str(out / "model")]) == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"What is your name?\nAnd room 17?\n")))
    capfdbinary.readouterr()
    told = ["--knowledge", str(knowledge), "--shared", str(tmp_path / "shared.mem"), "--max-new-tokens", "6"]
    assert main(["chat", str(out / "model"), *told]) == 0
    assert len(capfdbinary.readouterr().out.decode().splitlines()) >= 2
    assert (tmp_path / "shared.mem").exists()
