"""The recipe of the model that thinks and calls tools: its size, that its data fits, and that it runs end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from rxt.cli.main import main
from rxt.data.encoding import encode_conversation
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.generation.conversation import Conversation
from rxt.model.parameters import parameter_counts
from rxt.pretrained import load_model
from rxt.tasks.registry import task
from rxt.training.corpus import Corpus
from rxt.training.recipes import recipe

RUN = recipe("hybrid")
MOST_BYTES = 12_000_000
TINY = {
    "tokenizer.conversations": 60,
    "retrieval.phases": '[{"steps": 2, "turns": 6, "batch_size": 4, "trains": ["decoder", "encoder"]}]',
    "memory_aware.phases": '[{"steps": 2, "turns": 6, "batch_size": 4}]',
    "validate_every": 2,
    "validation_batches": 1,
}


def test_the_model_is_small_enough_to_ship_and_has_all_parts() -> None:
    assert 4 * parameter_counts(RUN.model).total < MOST_BYTES
    assert RUN.model.template == "beta"
    assert RUN.longest >= 20, "what is told 16 turns ago is trained on"


def test_no_interaction_of_the_recipes_data_is_cut() -> None:
    corpus = Corpus.load(RUN.data, seed=0)
    tokenizer = ChatTokenizer.train(corpus.all_text(300), RUN.tokenizer.vocab_size, "beta")
    template = Template(tokenizer, "beta", RUN.model.max_length)
    for index in range(60):
        told = task("hybrid").source(0).conversations("train", index, 1, 16)[0]
        sequences = encode_conversation(told.conversation, template)
        assert not any(each.cut for each in sequences)
        for interaction in told.conversation.interactions:
            prompt = template.opened(
                interaction.query or interaction.tool_use or "", interaction.tool_use is not None, interaction.internal
            )
            assert len(prompt) <= template.max_length - template.reserve, "it can be asked in a chat, too"


def test_it_trains_end_to_end_is_measured_and_talks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    settings = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
    assert main(["train", "hybrid", "--out", str(out), *settings]) == 0, capsys.readouterr().err
    assert "hybrid conversations from the generator (75% of every batch)" in (out / "model" / "README.md").read_text()
    few = ["--distances", "1", "--questions", "1", "--budget", "4", "--kinds", "steps,call"]
    assert main(["eval", "hybrid", str(out / "model"), *few]) == 0, capsys.readouterr().err
    chat = Conversation(*load_model(out / "model"), max_new_tokens=4)
    chat.ask("I have 12 apples.", mode="thinking", budget=3)
    assert chat.reply is not None
    assert chat.reply.think is not None
