"""What training frees stays with the process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from rxt.training.freed_memory import OWN_SETTINGS

FAULTS = """
import resource
import torch
from rxt.training.freed_memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20)  # 64 MiB, and freed
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
plain = faults()
kept = keep_freed_memory()
torch.ones(20 * 2**20)  # leaves room that is more than enough, whatever small things have taken of it since
print(plain, faults(), kept)
"""


def measured(environment: dict[str, str]) -> tuple[int, int, bool]:
    """Faults of one large tensor before and after, and what the process was told."""
    run = subprocess.run([sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True)
    plain, kept, said = run.stdout.split()
    return int(plain), int(kept), said == "True"


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """The environment without settings of malloc."""
    return {name: value for name, value in os.environ.items() if name not in OWN_SETTINGS}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps memory as it likes")
def test_a_large_tensor_gets_pages_that_were_there_before(clean_environment: dict[str, str]) -> None:
    plain, kept, said = measured(clean_environment)
    assert said
    assert plain >= 32  # pages of 2 MiB, where the system gives those by itself
    assert kept <= 4


def test_who_has_settings_of_their_own_keeps_them(clean_environment: dict[str, str]) -> None:
    plain, kept, said = measured({**clean_environment, "MALLOC_MMAP_THRESHOLD_": "131072"})
    assert not said
    if sys.platform == "linux":
        assert kept == pytest.approx(plain, rel=0.5)
