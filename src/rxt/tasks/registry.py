"""Every task there is: a new one is a folder or a file of its own, and a line here."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from rxt.config import parse
from rxt.errors import UserError
from rxt.tasks.babi.task import Babi
from rxt.tasks.base import Task
from rxt.tasks.deeds.task import Deeds
from rxt.tasks.everyday.task import Everyday
from rxt.tasks.hybrid.task import Hybrid
from rxt.tasks.open.task import Open
from rxt.tasks.scenes.task import Scenes

TASKS: dict[str, type[Task[Any]]] = {
    "everyday": Everyday,
    "open": Open,
    "hybrid": Hybrid,
    "deeds": Deeds,
    "scenes": Scenes,
    "babi": Babi,
}


def task(name: str, settings: object = None) -> Task[Any]:
    """The task called ``name``. Its settings are typed already, or plain values; the usual ones when not given.

    Raises:
        UserError: there is no such task, or it has no such settings.
    """
    if name not in TASKS:
        raise UserError(f"recipe: there is no task {name!r}; choose one of {', '.join(TASKS)}")
    kind = TASKS[name]
    if isinstance(settings, kind.settings_type):
        return kind(settings)
    return kind(parse(TypeAdapter(kind.settings_type), settings or {}, f"recipe: the settings of the task {name}"))
