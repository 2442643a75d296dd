"""What every test shares."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
import torch

REFERENCE = Path(__file__).parent / "fixtures" / "reference"


def pytest_configure() -> None:
    torch.set_num_threads(1)  # tiny models: threads cost more than they give
    hypothesis.settings.register_profile("steady", deadline=None)  # a busy machine is no failure
    hypothesis.settings.load_profile("steady")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test draws the same numbers, alone or among others."""
    torch.manual_seed(0)


@pytest.fixture
def reference() -> Path:
    """Folders of tiny checkpoints in the published layout, each with the tensors it must compute."""
    return REFERENCE
