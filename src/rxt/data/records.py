"""What training reads: texts, interactions, conversations, preferences; ``readers`` reads them out of files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, overload

OnBad = Literal["stop", "skip"]
Format = Literal["text", "interactions", "conversations", "preferences"]
T = TypeVar("T")

REASONS_KEPT = 100


@dataclass(frozen=True)
class TextRecord:
    """A plain text."""

    text: str


@dataclass(frozen=True)
class Interaction:
    """One query and its answer. With ``tool_use`` a tool's result takes the query's place and ``query`` is empty."""

    query: str
    answer: str
    think: str | None = None
    tool_call: str | None = None
    tool_use: str | None = None
    internal: str | None = None


@dataclass(frozen=True)
class Conversation:
    """Interactions in order, one at least, and the system prompt that is memorized before them."""

    interactions: tuple[Interaction, ...]
    system: str | None = None
    unlearned: frozenset[int] = frozenset()
    """Interactions, counted from 0, whose answers are memorized like the others, but are nothing to learn from."""
    prompted: frozenset[int] = field(default=frozenset(), repr=False)
    """Interactions, counted from 0, whose prompt has the model's first marker, [T] or [A]: it was told whether to
    think, so that marker is nothing to learn. No file has these, and a digest is of what files have."""


@dataclass(frozen=True)
class PreferenceTurn:
    """The same query answered in an accepted, a rejected and perhaps a neutral way; each is a whole interaction.

    A turn without a rejected way is only memorized.
    """

    accepted: Interaction
    rejected: Interaction | None = None
    neutral: Interaction | None = None

    @property
    def query(self) -> str:
        return self.accepted.query


@dataclass(frozen=True)
class PreferenceConversation:
    """Preference turns in order, of which one at least has a pair; only the accepted interaction of each is
    memorized."""

    turns: tuple[PreferenceTurn, ...]
    system: str | None = None

    @property
    def accepted(self) -> Conversation:
        """The conversation as it should have gone."""
        return Conversation(tuple(turn.accepted for turn in self.turns), self.system)


@dataclass(frozen=True)
class Records(Sequence[T], Generic[T]):
    """What a reader found: the good records, and what became of the others."""

    source: str
    items: tuple[T, ...]
    skipped: int = 0
    reasons: tuple[str, ...] = ()
    """Place and problem of the first ``REASONS_KEPT`` skipped records."""
    ignored_keys: Mapping[str, int] = field(default_factory=dict)
    """How many records held a key that is not read, by key; inside messages as ``messages[].tool_calls``."""

    @property
    def read(self) -> int:
        """Records found, good and bad; blank lines are not records."""
        return len(self.items) + self.skipped

    @property
    def summary(self) -> str:
        """One line: ``chat.jsonl: 100 records, 2 skipped (first: chat.jsonl:17: answer: missing)``."""
        skipped = f", {self.skipped} skipped (first: {self.reasons[0]})" if self.skipped else ""
        return f"{self.source}: {self.read} records{skipped}"

    @property
    def digest(self) -> str:
        """Of the items: what changes any of them, or their order, changes it."""
        found = hashlib.sha256()
        for item in self.items:
            found.update(repr(item).encode())
        return found.hexdigest()

    def map(self, change: Callable[[T], Iterable[Any]]) -> Records[Any]:
        """The records that ``change`` makes of each item; the counts of what was skipped stay."""
        changed = tuple(new for item in self.items for new in change(item))
        return Records(self.source, changed, self.skipped, self.reasons, self.ignored_keys)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self.items[index]


def conversation_interactions(conversation: Conversation) -> tuple[Interaction, ...]:
    """The turns alone, for stages that know no memory; left out are the system prompt, which is only ever memorized,
    and what is nothing to learn from."""
    return tuple(
        interaction for turn, interaction in enumerate(conversation.interactions) if turn not in conversation.unlearned
    )


def interaction_text(interaction: Interaction) -> TextRecord:
    """All that is said in an interaction as plain text, one part a line, in the order of the template."""
    opening = interaction.query if interaction.tool_use is None else interaction.tool_use
    parts = (interaction.internal, opening, interaction.think, interaction.answer, interaction.tool_call)
    return TextRecord("\n".join(part for part in parts if part))
