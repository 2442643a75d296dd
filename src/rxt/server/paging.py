"""Lists, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, TypeVar

from fastapi import Depends, Query

from rxt.server.items import Item
from rxt.server.replies import ItemList

Limit = Annotated[int, Query(ge=1, le=1000)]


class Named(Protocol):
    """Something in a list."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Named)


@dataclass(frozen=True)
class Page:
    """Which part of a list is asked for."""

    limit: int = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    """The last one of the page before."""
    before: str | None = None
    """The first one of the page after."""

    def part(self, found: Sequence[T]) -> tuple[list[T], bool]:
        """The page of a list that is in ascending order, and whether more follow; nothing after or before what is not
        in the list."""
        ordered = list(found if self.order == "asc" else reversed(found))
        names = [each.id for each in ordered]
        start, stop = 0, len(ordered)
        if self.after is not None:
            start = names.index(self.after) + 1 if self.after in names else stop
        if self.before is not None:
            stop = names.index(self.before) if self.before in names else 0
            start = start if self.after is not None else max(0, stop - self.limit)
        part = ordered[start : min(stop, start + self.limit)]
        return part, bool(part) and start + len(part) < stop

    def of(self, found: Sequence[Item]) -> ItemList:
        """The page as it is sent."""
        return items_page(*self.part(found))


def items_page(part: list[Item], more: bool) -> ItemList:
    """Some items, with the names that the next page is asked for with."""
    first, last = (part[0].id, part[-1].id) if part else (None, None)
    return ItemList(data=part, first_id=first, last_id=last, has_more=more)


def page(
    limit: Limit = 20, order: Literal["asc", "desc"] = "desc", after: str | None = None, before: str | None = None
) -> Page:
    """As the query of a request has it."""
    return Page(limit, order, after, before)


Paging = Annotated[Page, Depends(page)]
