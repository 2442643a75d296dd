"""The model that ships: it loads, it is small, and it remembers at least what the README shows."""

from __future__ import annotations

import rxt
from rxt.data.template import Template
from rxt.evaluation.capacity import measure_capacity
from rxt.folders import BUNDLED, BUNDLED_BABI
from rxt.pretrained import load_model
from rxt.tasks.registry import task


def test_the_weights_are_at_most_twelve_megabytes() -> None:
    assert (BUNDLED / "model.safetensors").stat().st_size <= 12_000_000


def test_it_remembers_the_dog_past_small_talk_and_only_by_its_memory() -> None:
    chat = rxt.load_chat()
    chat.ask("My dog is called Rex.")
    chat.ask("Hello there!")
    assert "Rex" in chat.ask("What is my dog called?")
    assert "Rex" not in rxt.load_chat().ask("What is my dog called?")


def test_the_babi_model_answers_from_what_it_was_told() -> None:
    for place in ("kitchen", "garden"):
        chat = rxt.load_chat("babi")  # the name of its folder
        assert chat.ask(f"Mary went to the {place}.") == "Okay."
        assert chat.ask("Where is Mary?") == place
    assert (BUNDLED_BABI / "model.safetensors").stat().st_size <= 12_000_000
    assert "CC BY 3.0" in (BUNDLED_BABI / "README.md").read_text(encoding="utf-8")


def test_the_model_with_fragments_recalls_what_its_plain_memory_has_lost() -> None:
    model, tokenizer = load_model("fragments")
    template = Template.of_model(model.config, tokenizer)
    (cell,) = measure_capacity(model, template, task("everyday"), [(40, 30)], 8, "test", seed=2)
    assert cell.pooled is not None
    assert cell.pooled.share >= 7 / 8
    assert cell.plain.share <= 3 / 8
    assert (BUNDLED / "fragments" / "model.safetensors").stat().st_size <= 12_000_000
