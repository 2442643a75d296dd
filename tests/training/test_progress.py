"""What a run shows at a terminal, and that nothing it says can end it."""

from __future__ import annotations

import errno
import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from rxt.training.metrics import StageProgress, progress_display, say


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_time_left_is_shown_on_any_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 8.0])
    monkeypatch.setattr("rxt.training.metrics.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None, legacy_windows=False)
    with progress_display(console) as progress:
        bar = StageProgress(progress, "memory_supervised", 100_000, 99_998)
        bar.advance(1_000_000)  # 125,000 a second
        bar.show_loss(12.345)
        progress.refresh()
    lines = re.sub(r"\x1b\[[?\d]*\w", "", out.getvalue()).replace("\r", "\n").split("\n")
    last = [line for line in lines if line.strip()][-1]
    assert re.search(r"left +[-\d]+:[-\d]+:[-\d]+ *$", last)
    for shown in ("memory_supervised", "99999/100000", "loss 12.345", "125,000 tokens/s"):
        assert shown in last
    assert len(last) <= width


def test_a_terminal_that_is_gone_ends_no_run() -> None:
    class Gone(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(errno.EIO, "Input/output error")

    say(Console(file=Gone(), force_terminal=True), "step 3")
