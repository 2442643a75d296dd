"""What every test shares."""

from __future__ import annotations

import gzip
from pathlib import Path

import hypothesis
import pytest
import torch

from watched_exit import tell_what_is_alive, watch_exit

REFERENCE = Path(__file__).parent / "fixtures" / "reference"


def pytest_configure() -> None:
    torch.set_num_threads(1)  # tiny models: threads cost more than they give
    hypothesis.settings.register_profile("steady", deadline=None)  # a busy machine is no failure
    hypothesis.settings.load_profile("steady")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes do not name a test: what is packed holds the time at which it was, and two processes that run one suite
    must find the same tests."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # one of pytest-xdist's processes: it waits for the others, and is ended then
        tell_what_is_alive()
    else:
        watch_exit()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test draws the same numbers, alone or among others."""
    torch.manual_seed(0)


@pytest.fixture
def reference() -> Path:
    """Folders of tiny checkpoints in the published layout, each with the tensors it must compute."""
    return REFERENCE


@pytest.fixture
def babi(tmp_path: Path) -> Path:
    """A folder in the format of the bAbI tasks, written for these tests: task 1 (two test stories) and task 8
    (gzipped)."""
    folder = tmp_path / "babi"
    folder.mkdir()
    rooms = "".join(
        f"1 Anna walked to room {room}.\n2 Tom ran to the attic.\n"
        f"3 Where is Anna? \troom {room}\t1\n4 Where is Tom?\tattic\t2\n"
        for room in range(41)
    )
    told = (
        "1 Anna walked to the attic.\n2 Where is Anna? \tattic\t1\n"
        "1 Tom ran to room 3.\n2 Anna sat.\n3 Where is Tom? \troom 3\t1\n"
    )
    lists = "1 Anna took the lamp.\n2 Anna took the rope.\n3 What does Anna hold?\tlamp,rope\t1 2\n" * 21
    (folder / "qa1_where_train.txt").write_text(rooms)
    (folder / "qa1_where_test.txt").write_text(told)
    (folder / "qa8_lists_train.txt.gz").write_bytes(gzip.compress(lists.encode()))
    (folder / "README").write_text("made up")
    return folder
