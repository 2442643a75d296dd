"""The model that ships: it loads, it is small, and it remembers at least what the README shows."""

from __future__ import annotations

import rxt
from rxt.folders import BUNDLED


def test_the_weights_are_at_most_twelve_megabytes() -> None:
    assert (BUNDLED / "model.safetensors").stat().st_size <= 12_000_000


def test_it_remembers_the_dog_past_small_talk_and_only_by_its_memory() -> None:
    chat = rxt.load_chat()
    chat.ask("My dog is called Rex.")
    chat.ask("Hello there!")
    assert "Rex" in chat.ask("What is my dog called?")
    assert "Rex" not in rxt.load_chat().ask("What is my dog called?")
