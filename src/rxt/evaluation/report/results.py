"""The JSON files of the suites, read back: what a page shows of them, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from rxt.config import parse, read_json
from rxt.errors import UserError
from rxt.evaluation.bootstrap import Estimate
from rxt.evaluation.capacity import Cell, TurnCost
from rxt.evaluation.latency import LatencyResult
from rxt.evaluation.perplexity import TurnScore


@dataclass(frozen=True)
class Controls:
    """The same questions without the conversation's memory; None where that was not measured."""

    reset: float | None = None
    shuffled: float | None = None
    """Out of another conversation's memory."""
    chance: float | None = None


@dataclass(frozen=True)
class ControlCurves:
    """As :class:`Controls`, by distance."""

    reset: dict[int, float | None] = field(default_factory=dict)
    shuffled: dict[int, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class RetentionResult:
    """``rxt eval retention --json``, of the model on the page or of one to compare with. Shares are None where nothing
    was asked."""

    recall_by_distance: dict[int, float | None]
    controls: Controls = Controls()
    intervals_by_distance: dict[int, tuple[float, float]] = field(default_factory=dict)
    questions_by_distance: dict[int, int] = field(default_factory=dict)
    controls_by_distance: ControlCurves = field(default_factory=ControlCurves)
    trained_turns: int | None = None
    """Of the longest conversations in training."""
    model: str | None = None
    split: str | None = None
    seed: int | None = None
    distracted: float | None = None
    """Where the same kind of fact was told of somebody else too."""
    changed: float | None = None
    never_told: float | None = None
    capacity: dict[int, dict[int, float | None]] = field(default_factory=dict)
    """By facts told in one conversation, then by distance."""
    task: str | None = None
    """What the conversations are about; None in files from before there was a choice."""

    @property
    def curve(self) -> dict[int, float]:
        """Recall at the distances where something was asked, rising."""
        return {distance: recall for distance, recall in sorted(self.recall_by_distance.items()) if recall is not None}

    def lasts(self, least: float) -> int | None:
        """The distance up to which every measured recall is at least so much; None where the first one is less."""
        found = None
        for distance, recall in self.curve.items():
            if recall < least:
                break
            found = distance
        return found


@dataclass(frozen=True)
class CountedShare:
    """So many of so many answers, with the 95 % interval of the share."""

    value: float
    low: float
    high: float
    count: int
    of: int


@dataclass(frozen=True)
class OpenResult:
    """``rxt eval open --json``. Shares are None where nothing was asked."""

    right: float | None
    never_told: float | None
    invented: float | None
    """Answers with something that nobody has said."""
    recall_by_distance: dict[int, float | None] = field(default_factory=dict)
    """Of what training never showed, as in the fields of :class:`RetentionResult` that follow."""
    controls: Controls = Controls()
    intervals_by_distance: dict[int, tuple[float, float]] = field(default_factory=dict)
    questions_by_distance: dict[int, int] = field(default_factory=dict)
    controls_by_distance: ControlCurves = field(default_factory=ControlCurves)
    trained_turns: int | None = None
    model: str | None = None
    seed: int | None = None
    talks: str = "bundled"
    held: int | None = None
    """How many talks."""
    shares: dict[str, CountedShare | None] = field(default_factory=dict)
    """Of the talks, by name."""
    ways_of_typing: dict[str, CountedShare] = field(default_factory=dict)

    @property
    def recall(self) -> RetentionResult | None:
        """The curve and its controls, where something was asked by distance."""
        found = RetentionResult(
            self.recall_by_distance,
            self.controls,
            self.intervals_by_distance,
            self.questions_by_distance,
            self.controls_by_distance,
            self.trained_turns,
        )
        return found if found.curve else None


@dataclass(frozen=True)
class KindOfMemory:
    """One row of ``rxt eval perplexity``."""

    nats: float
    perplexity: float
    accuracy: float
    later_perplexity: float


@dataclass(frozen=True)
class Worth:
    """What memory saves, in nats a token."""

    all: Estimate | None
    later: Estimate | None
    """After the first turn."""


@dataclass(frozen=True)
class PerplexityResult:
    """``rxt eval perplexity --json``."""

    data: str
    tokens: int
    kept: KindOfMemory
    reset: KindOfMemory
    shuffled: KindOfMemory
    model: str | None = None
    seed: int | None = None
    conversations: int | None = None
    by_turn: dict[int, TurnScore] = field(default_factory=dict)
    worth: Worth | None = None


@dataclass(frozen=True)
class CapacityResult:
    """``rxt eval capacity --json``."""

    cells: list[Cell]
    turns: list[TurnCost] = field(default_factory=list)
    """By the number of fragments; none for a model without."""
    model: str | None = None
    larger: str | None = None
    """The model whose plain memory has more slots."""
    task: str | None = None
    split: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Results:
    """All that a page can show; None where it was not measured."""

    retention: RetentionResult | None = None
    latency: LatencyResult | None = None
    perplexity: PerplexityResult | None = None
    baselines: dict[str, RetentionResult] = field(default_factory=dict)
    """Other models' retention, by name."""
    about_baselines: str = ""
    """What a reader has to know to compare them with this model."""
    open: OpenResult | None = None
    capacity: CapacityResult | None = None


OPEN, RETENTION, LATENCY, CAPACITY, PERPLEXITY = FILES = (
    "open.json",
    "retention.json",
    "latency.json",
    "capacity.json",
    "perplexity.json",
)
BASELINES = Path(__file__).parents[1] / "data" / "baselines"
"""Curves that come with the package, a file each; the folder may be missing."""
ABOUT_SHIPPED = (
    "The curves of the study are of models of the same size that were trained alike, and less than the bundled one: "
    "on seven kinds of facts, in conversations of at most eight turns, with 1,400 updates of the whole (3x: 3,800). "
    "They compare with each other."
)


def read_retention(path: Path) -> RetentionResult:
    """A file of ``rxt eval retention --json``."""
    found = _read(path, TypeAdapter(RetentionResult))
    if not found.curve:
        raise UserError(f"{path}: recall_by_distance has no recall in it")
    return found


def read_open(path: Path) -> OpenResult:
    """A file of ``rxt eval open --json``."""
    return _read(path, TypeAdapter(OpenResult))


def read_latency(path: Path) -> LatencyResult:
    """A file of ``rxt eval latency --json``."""
    found = _read(path, TypeAdapter(LatencyResult))
    if not found.subjects or not all(curve.turns for curve in found.subjects):
        raise UserError(f"{path}: subjects has no turns in it")
    return found


def read_perplexity(path: Path) -> PerplexityResult:
    """A file of ``rxt eval perplexity --json``."""
    return _read(path, TypeAdapter(PerplexityResult))


def read_capacity(path: Path) -> CapacityResult:
    """A file of ``rxt eval capacity --json``."""
    found = _read(path, TypeAdapter(CapacityResult))
    if not found.cells:
        raise UserError(f"{path}: cells has nothing in it")
    return found


def files_there(folder: Path) -> tuple[str, ...]:
    """Which of the files a folder has, one at least."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = tuple(name for name in FILES if (folder / name).exists())
    if not found:
        raise UserError(f"{folder}: none of {', '.join(FILES[:-1])} and {FILES[-1]} is there")
    return found


def read_results(folder: Path, names: Sequence[str], baselines: dict[str, Path], about_baselines: str = "") -> Results:
    """Some of the files of a folder, and the baselines."""
    return Results(
        read_retention(folder / RETENTION) if RETENTION in names else None,
        read_latency(folder / LATENCY) if LATENCY in names else None,
        read_perplexity(folder / PERPLEXITY) if PERPLEXITY in names else None,
        {name: read_retention(path) for name, path in baselines.items()},
        about_baselines,
        read_open(folder / OPEN) if OPEN in names else None,
        read_capacity(folder / CAPACITY) if CAPACITY in names else None,
    )


def shipped_baselines() -> dict[str, Path]:
    """The baselines that come with the package, by name: ``no_memory.json`` is "no memory"."""
    if not BASELINES.is_dir():
        return {}
    return {path.stem.replace("_", " "): path for path in sorted(BASELINES.glob("*.json"))}


def _read(path: Path, adapter: TypeAdapter[Any]) -> Any:
    return parse(adapter, read_json(path), str(path))
