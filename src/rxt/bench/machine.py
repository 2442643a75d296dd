"""What this machine can do at best, measured in the same run as everything that is compared with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rxt.bench.cost import Work

PRODUCT, PRODUCT_ON_GPU = 1024, 8192
"""Rows and columns of the matrices that are multiplied: large enough to keep all of the device busy."""
LARGE = (64 * 1024, 512)
"""A matrix that no cache of a processor holds: 128 MiB in float32."""
CALLS = 7


@dataclass(frozen=True)
class Limits:
    """The fastest of several calls each."""

    matmul_gflops: float
    """Product of two square matrices, in 10⁹ operations a second."""
    matvec_gbps: float
    """Product of a large matrix and a vector, in 10⁹ bytes of the matrix a second."""
    read_gbps: float
    """Reading a large matrix once, in 10⁹ bytes a second: the largest of its numbers is looked for."""

    def decode_seconds(self, work: Work, batch_size: int) -> float:
        """At best: one conversation is a matter of matrix–vector products, many are one of reading and of
        multiplying."""
        bandwidth = self.matvec_gbps if batch_size == 1 else self.read_gbps
        return max(work.bytes / (1e9 * bandwidth), work.flops / (1e9 * self.matmul_gflops))

    def product_seconds(self, work: Work) -> float:
        """At best, of matrix products that hide their reading."""
        return max(work.bytes / (1e9 * self.read_gbps), work.flops / (1e9 * self.matmul_gflops))

    def update_seconds(self, work: Work) -> float:
        """At best, of a training step: first products, then the optimiser goes over all parameters."""
        return work.bytes / (1e9 * self.read_gbps) + work.flops / (1e9 * self.matmul_gflops)


@torch.no_grad()
def measure_limits(dtype: torch.dtype, device: torch.device) -> Limits:
    """Measure them, with as many threads as PyTorch has now."""
    size = PRODUCT_ON_GPU if device.type == "cuda" else PRODUCT
    square = torch.randn(size, size, device=device).to(dtype)
    large = torch.randn(LARGE, device=device).to(dtype)
    vector = large[0].clone()
    return Limits(
        2 * size**3 / 1e9 / fastest(lambda: square @ square, device),
        large.nbytes / 1e9 / fastest(lambda: large @ vector, device),
        large.nbytes / 1e9 / fastest(large.amax, device),
    )


def fastest(run: Callable[[], Tensor], device: torch.device) -> float:
    """Seconds of the fastest of some calls."""
    run()
    return min(seconds(run, device) for _ in range(CALLS))


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """How long one call takes, until the device has done it."""
    wait_for(device)
    began = time.perf_counter()
    run()
    wait_for(device)
    return time.perf_counter() - began


def wait_for(device: torch.device) -> None:
    """Until everything that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class MemoryPeak:
    """The most memory in use since this was made: the device's, or the process's where the system tells it (Linux)."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _reset_peak()

    def bytes(self) -> int | None:
        """None where it cannot be known."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        try:
            status = Path("/proc/self/status").read_text(encoding="utf-8")
        except OSError:
            return None
        found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(found[0]) * 1024 if found else None


def _reset_peak() -> None:
    """Let the system forget the process's highest use of memory so far; where it cannot, the peak is that of the whole
    run."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return
