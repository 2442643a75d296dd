"""What a run tells: a progress bar, a line of JSON a step, TensorBoard where it is installed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

Metrics = dict[str, float]

ROOMY = 100
"""Columns of a terminal that has room for everything."""


class MetricsLog:
    """``metrics.jsonl`` of one stage, and the same numbers for TensorBoard. A resumed stage drops the lines it will
    write again."""

    def __init__(self, folder: Path, resumed_at: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "metrics.jsonl"
        kept = [line for line in self._lines() if json.loads(line)["step"] <= resumed_at]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        os.replace(temporary, self.path)
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._board = None
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=resumed_at + 1)

    def write(self, step: int, split: str, metrics: Metrics) -> None:
        """Add the numbers of a step."""
        self._file.write(json.dumps({"step": step, "split": split, **metrics}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in metrics.items():
                self._board.add_scalar(f"{split}/{name}", value, step)

    def close(self) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def _lines(self) -> list[str]:
        """Whole lines of an earlier start; a line that a crash cut is dropped."""
        if not self.path.exists():
            return []
        return [line for line in self.path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


class NoLog:
    """What processes other than the main one write: nothing."""

    def write(self, step: int, split: str, metrics: Metrics) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class StageProgress:
    """The bar of one stage: loss, tokens a second, time left."""

    def __init__(self, progress: Progress, name: str, steps: int, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=steps, completed=done, loss="", speed="")
        self._tokens, self._since = 0, time.monotonic()
        self._lap = self._since

    def advance(self, tokens: int) -> None:
        """One more update, of so many tokens."""
        self._tokens += tokens
        speed = self._tokens / max(1e-9, time.monotonic() - self._since)
        self._progress.update(self._task, advance=1, speed=f"{speed:,.0f} tokens/s")

    def lap(self) -> float:
        """Seconds since the last lap, or since the bar began."""
        before, self._lap = self._lap, time.monotonic()
        return self._lap - before

    def show_loss(self, loss: float) -> None:
        self._progress.update(self._task, loss=f"loss {loss:.3f}")

    def tokens_per_second(self) -> float:
        """Since the last call."""
        now = time.monotonic()
        speed = self._tokens / max(1e-9, now - self._since)
        self._tokens, self._since = 0, now
        return speed


def say(console: Console, line: str, style: str | None = None) -> None:
    """Print a line as it is: brackets are no markup, and a long line is not broken. A terminal that is gone ends no
    run: it must still be saved, and the log has the same numbers."""
    with suppress(OSError):
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_display(console: Console) -> Iterator[Progress]:
    """A live display on a terminal; elsewhere nothing is drawn (the log lines tell). On a narrow terminal the bar
    shrinks and the time gone by is left out, for the time left to have room."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[loss]} {task.fields[speed]}"),
        *([TimeElapsedColumn(table_column=Column(no_wrap=True))] if console.width >= ROOMY else []),
        TextColumn("left"),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress
