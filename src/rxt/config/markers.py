"""The markers of an interaction where each is several tokens: those of a pre-trained model's own chat template."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from rxt.config.checks import STRICT


@dataclass(frozen=True)
class Marker:
    """What stands before the text of a part."""

    ids: tuple[int, ...] = ()
    space: bool = False
    """A space stands between marker and text; it is tokenized with the text."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True)
class Markers:
    """``begin query.ids … answer.ids … end``: a whole interaction.

    ``system.ids … system_end``: a system prompt, which stands alone.
    """

    begin: tuple[int, ...]
    """Before everything: [BOS], or nothing."""
    query: Marker
    answer: Marker
    """Between query and answer, and so the end of a prompt."""
    end: tuple[int, ...]
    """After the answer; its last token is [EOS]."""
    system: Marker | None = None
    """None where the template has no system prompt."""
    system_end: tuple[int, ...] = ()

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def ids(self) -> Iterator[int]:
        """All of them."""
        system = () if self.system is None else self.system.ids
        for part in (self.begin, self.query.ids, self.answer.ids, self.end, system, self.system_end):
            yield from part
