from pathlib import Path

import pytest
import torch

from factories import tiny_config, tiny_model, tiny_tokenizer


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved random model with its tokenizer."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model(tiny_config(max_length=48)).save_pretrained(path)
    tiny_tokenizer().save(path)
    return path
