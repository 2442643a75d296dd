"""All kinds of facts by name."""

from __future__ import annotations

from rxt.errors import UserError
from rxt.tasks.everyday.phrase_types import Kind
from rxt.tasks.everyday.phrases_activities import ACTIVITY_KINDS
from rxt.tasks.everyday.phrases_favourites import FAVOURITE_KINDS
from rxt.tasks.everyday.phrases_life import LIFE_KINDS
from rxt.tasks.everyday.phrases_people import PEOPLE_KINDS
from rxt.tasks.everyday.phrases_pets import PET_KINDS

ALL_KINDS: tuple[Kind, ...] = PEOPLE_KINDS + LIFE_KINDS + PET_KINDS + ACTIVITY_KINDS + FAVOURITE_KINDS
THEIR_KINDS: tuple[Kind, ...] = tuple(kind for kind in ALL_KINDS if kind.theirs is not None)

_BY_NAME = {kind.name: kind for kind in ALL_KINDS}


def kinds() -> tuple[str, ...]:
    """The names of all kinds of facts."""
    return tuple(_BY_NAME)


def kind_of(name: str) -> Kind:
    """The kind called ``name``; raises UserError for a name that is not one of :func:`kinds`."""
    if name not in _BY_NAME:
        raise UserError(f"there is no kind of fact called {name!r}; choose one of {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def values_of(kind: str) -> tuple[str, ...]:
    """All values that facts of ``kind`` take."""
    return kind_of(kind).values
