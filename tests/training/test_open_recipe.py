"""The recipe of the small model for an open world: its size, and that it runs end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from rxt.cli.main import main
from rxt.generation.conversation import Conversation
from rxt.model.parameters import parameter_counts
from rxt.pretrained import load_model
from rxt.training.recipes import recipe

RUN = recipe("open")
MOST_BYTES = 24_000_000
TINY = {
    "tokenizer.conversations": 60,
    "retrieval.phases": '[{"steps": 2, "turns": 4, "batch_size": 4, "random_pieces": 6, "random_share": 0.5, '
    '"within_share": 0.5, "trains": ["decoder", "encoder"]}]',
    "memory_aware.phases": '[{"steps": 2, "turns": 4, "batch_size": 4}]',
    "validate_every": 2,
    "validation_batches": 1,
}


def test_the_model_is_small_enough_to_ship_in_float16() -> None:
    assert 2 * parameter_counts(RUN.model).total < MOST_BYTES
    assert RUN.copies
    assert RUN.longest >= 20


def test_it_trains_end_to_end_and_talks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    settings = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
    assert main(["train", "open", "--out", str(out), *settings]) == 0, capsys.readouterr().err
    assert "open conversations from the generator" in (out / "model" / "README.md").read_text()
    chat = Conversation(*load_model(out / "model"), max_new_tokens=4)
    chat.ask("we have a llama, her name is Plumeria")
    assert chat.turns == 1
