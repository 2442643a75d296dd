"""Every relation there is: a file for each part of life."""

from __future__ import annotations

from rxt.tasks.open.relation import Relation
from rxt.tasks.open.relations import (
    animals,
    belongings,
    body,
    community,
    errands,
    family,
    home,
    life,
    likes,
    media,
    numbers,
    plans,
    self_,
    work,
)

RELATIONS: tuple[Relation, ...] = (
    *self_.RELATIONS,
    *family.RELATIONS,
    *animals.RELATIONS,
    *likes.RELATIONS,
    *body.RELATIONS,
    *belongings.RELATIONS,
    *home.RELATIONS,
    *plans.RELATIONS,
    *numbers.RELATIONS,
    *errands.RELATIONS,
    *work.RELATIONS,
    *media.RELATIONS,
    *life.RELATIONS,
    *community.RELATIONS,
)
BY_NAME = {relation.name: relation for relation in RELATIONS}
