"""Where a run's data comes from: for every stage a mixture of sources. This file needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Discriminator

from rxt.config import STRICT
from rxt.data.fitting import Long
from rxt.data.prepared.index import is_prepared
from rxt.errors import UserError
from rxt.tasks.base import Task
from rxt.tasks.registry import task
from rxt.training.config_base import require


def require_weight(weight: float) -> None:
    """Refuse a weight that is none."""
    require(0 <= weight < math.inf, "data: weight", f"cannot be negative, found {weight}")


@dataclass(frozen=True)
class TaskSource:
    """Conversations of a task."""

    name: str
    settings: Any = None
    """The task's own; the usual ones when not given."""
    weight: float = 1.0
    """How much of every batch comes from here, compared with the stage's other sources."""
    kind: Literal["task"] = "task"

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require_weight(self.weight)
        object.__setattr__(self, "settings", task(self.name, self.settings).settings)

    def describe(self, share: float) -> list[str]:
        """For the model's card, a line each."""
        return [self.task.describe(share)]

    @property
    def task(self) -> Task[Any]:
        """The task with these settings."""
        return task(self.name, self.settings)


@dataclass(frozen=True)
class FileSource:
    """Files or data sets of the hub, in any of the layouts that can be read as what the stage needs."""

    files: tuple[str, ...]
    """Files (JSON Lines, gzipped or not, Parquet) or hub dataset ids; each record counts alike."""
    validation_files: tuple[str, ...] = ()
    """Without these, one record in 50 is held out of ``files``."""
    weight: float = 1.0
    """As that of a task."""
    kind: Literal["files"] = "files"

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require_weight(self.weight)
        require(bool(self.files), "data: files", "must name one at least")

    def describe(self, share: float) -> list[str]:
        """For the model's card: the names of the files."""
        return [Path(name).name for name in self.files]


@dataclass(frozen=True)
class PreparedSource:
    """Folders of token shards, which ``rxt data prepare`` wrote."""

    folders: tuple[str, ...]
    """Each record of all of them counts alike."""
    validation_folders: tuple[str, ...] = ()
    """Without these, one record in 50 is held out of ``folders``."""
    weight: float = 1.0
    """As that of a task."""
    kind: Literal["prepared"] = "prepared"

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require_weight(self.weight)
        require(bool(self.folders), "data: folders", "must name one at least")

    def describe(self, share: float) -> list[str]:
        """For the model's card: the names of the folders."""
        return [Path(name).name for name in self.folders]


SourceConfig = Annotated[TaskSource | FileSource | PreparedSource, Discriminator("kind")]
EVERYDAY = TaskSource("everyday")


@dataclass(frozen=True)
class DataConfig:
    """A mixture of sources for each kind of stage. A stage whose own is empty takes the next one below.

    Evaluation data is never trained on: its files and its split are apart.
    """

    conversations: tuple[SourceConfig, ...] = (EVERYDAY,)
    """For stages 3 to 5."""
    interactions: tuple[SourceConfig, ...] = ()
    """For stage 2; when empty, the turns of ``conversations``."""
    text: tuple[SourceConfig, ...] = ()
    """For stage 1; when empty, ``conversations`` as text."""
    preferences: tuple[SourceConfig, ...] = ()
    """For stage 5′; when empty, those of ``conversations`` that have rejected answers."""
    on_bad: Literal["stop", "skip"] = "stop"
    """Whether a bad record stops the run or is counted and skipped."""
    long: Long = "split"
    """What becomes of an interaction of files that is longer than the model takes: several turns, cut, or left out."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        require(bool(self.conversations), "data.conversations", "must name one source at least")
        for name in ("conversations", "interactions", "text", "preferences"):
            sources: tuple[TaskSource | FileSource | PreparedSource, ...] = getattr(self, name)
            require(
                not sources or any(source.weight for source in sources),
                f"data.{name}",
                "must have a source whose weight is above 0",
            )

    @property
    def tasks(self) -> list[Task[Any]]:
        """The tasks that conversations come from."""
        return [each.task for each in self.conversations if isinstance(each, TaskSource) and each.weight]

    @property
    def judged(self) -> Task[Any] | None:
        """The task whose questions tell how well is remembered; None where nothing is known of the conversations."""
        return next((each for each in self.tasks if each.probes_in_training), None)

    def describe(self) -> list[str]:
        """What is trained on, for the model's card: the sources of every kind of data."""
        return [
            line
            for sources in (self.conversations, self.interactions, self.text, self.preferences)
            for source in sources
            for line in source.describe(source.weight / sum(each.weight for each in sources))
        ]


def with_files(
    data: DataConfig, files: Sequence[str], validation_files: Sequence[str] = (), task_share: float | None = None
) -> DataConfig:
    """The data with conversations of files beside those of its tasks, or in the task if it is made of files itself.

    Args:
        task_share: of every batch, from the tasks; half when files are beside them, else all.
    """
    tasks = [each for each in data.conversations if isinstance(each, TaskSource)]
    require(len(tasks) == len(data.conversations), "data.conversations", "has files already: name them there")
    first = tasks[0]
    own = first.task.with_data(files, validation_files)
    if own is not None:
        if task_share is not None:
            raise UserError(f"--everyday-share {task_share}: the task {first.name} is trained on alone; leave it out")
        return replace(data, conversations=(replace(first, settings=own.settings), *data.conversations[1:]))
    share = task_share if task_share is not None else 0.5 if files else 1.0
    if not 0 <= share <= 1:
        raise UserError(f"--everyday-share {share}: must lie in [0, 1]")
    if share < 1 and not files:
        raise UserError(f"--everyday-share {share}: name the files for the rest, --data FILE")
    if validation_files and not files:
        raise UserError(f"--validation-data {validation_files[0]}: name the files to train on too, --data FILE")
    if not files:
        return data
    scale = share / sum(each.weight for each in tasks)
    beside = [replace(each, weight=scale * each.weight) for each in tasks if share]
    return replace(data, conversations=(*beside, *of_files(files, validation_files, 1 - share)))


def of_files(
    names: Sequence[str], validation_names: Sequence[str] = (), weight: float = 1.0
) -> tuple[FileSource | PreparedSource, ...]:
    """Files and prepared folders, as they were named, as sources: one for each of the two kinds, which share the
    weight.

    Raises:
        UserError: what is named for validation is of the other kind than what is trained on.
    """
    prepared, files = (tuple(name for name in names if is_prepared(name) is is_folder) for is_folder in (True, False))
    held_prepared, held = (
        tuple(name for name in validation_names if is_prepared(name) is is_folder) for is_folder in (True, False)
    )
    for found, beside in ((held_prepared, prepared), (held, files)):
        if found and not beside:
            raise UserError(
                f"--validation-data {found[0]}: a prepared folder is validated on prepared folders, files on files"
            )
    each = weight / (bool(prepared) + bool(files)) if names else weight
    return (
        *((PreparedSource(prepared, held_prepared, each),) if prepared else ()),
        *((FileSource(files, held, each),) if files else ()),
    )
