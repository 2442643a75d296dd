"""What every store can do. SQLite is the default; Redis lets several server processes share conversations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, Self

from rxt.errors import UserError
from rxt.store.records import (
    Damaged,
    Dialogue,
    Retention,
    Stats,
    Status,
    StoredFragment,
    Turn,
    UserMemory,
    memory_checksum,
)


class StoreFailed(UserError):
    """The store could not do it: full disk, lost connection."""


class Moved(UserError):
    """The conversation went on elsewhere in the meantime, or is gone."""


class Outrun(Moved):
    """Another turn was told to the user's memory in the meantime, or it was deleted."""

    def __init__(self, user: str) -> None:
        super().__init__(f"the memory of the user {user!r:.80} went on in the meantime, or was deleted")


class StillHead(UserError):
    """What is to be forgotten has the newest turn of a user's memory, which would go with it."""

    def __init__(self, memory: UserMemory) -> None:
        super().__init__(f"{memory.head} is the newest turn of the memory of the user {memory.user!r:.80}")
        self.memory = memory


class Lacking(UserError):
    """Fragments that a memory is made of are not in the store, and were not given either."""

    def __init__(self, turn: str) -> None:
        super().__init__(f"{turn}: a fragment of its memory is not in the store")


class Store(ABC):
    """Turns, memories and conversations. Every call is whole or not at all, and durable when it returns.

    Calls may come from several threads. What one owner made does not exist for another, where an owner is asked for.
    """

    shared: ClassVar[bool] = False
    """Whether any number of servers, on several machines too, may use it at once."""

    @classmethod
    @abstractmethod
    def open(cls, address: str, create: bool) -> Self:
        """The store at an address; ``create``: make it where it is missing. ``UserError`` if there is none."""

    # Turns and memories.

    @abstractmethod
    def add(
        self,
        turns: Sequence[Turn],
        conversation: str | None = None,
        expected: str | None = None,
        memory: UserMemory | None = None,
    ) -> None:
        """Add turns, and make the last one the conversation's head, which must have been ``expected``: else
        ``Moved``.

        ``memory``: of the user whose turns they are, as it was found. The last turn becomes its head, which must still
        be the same: else ``Outrun``.
        """

    @abstractmethod
    def memorize(
        self, turn: str, memory: bytes, fragments: Sequence[str] = (), new: Sequence[StoredFragment] = ()
    ) -> None:
        """Add the memory after a turn. Nothing happens for a turn that is gone.

        Of a pool ``memory`` is what is no fragment, and ``fragments`` are the names of these in their order; ``new``
        are those that the store may not have yet. A fragment is kept as long as any turn's memory has it.

        Raises:
            Lacking: a fragment is neither in the store nor among ``new``.
        """

    @abstractmethod
    def turn(self, turn: str, owner: str | None = None) -> Turn | None:
        """A turn by name; ``Damaged`` if it is not what was written."""

    @abstractmethod
    def memory(self, turn: str) -> bytes | None:
        """The memory after a turn, of a pool what is no fragment; None if it has none. ``Damaged`` if it is not what
        was written."""

    @abstractmethod
    def fragments(self, turn: str) -> list[StoredFragment]:
        """The fragments of the memory after a turn, in their order. ``Damaged`` if one is not what was written."""

    @abstractmethod
    def by_prefix(self, owner: str, prefix: str, fingerprint: str) -> Turn | None:
        """A turn at the end of this very history."""

    @abstractmethod
    def children(self, turn: str) -> list[Turn]:
        """Unfinished turns that need the memory of this one, in a conversation or in a user's memory."""

    @abstractmethod
    def unfinished(self) -> list[Turn]:
        """Turns without memory, the oldest first."""

    @abstractmethod
    def delete_turn(self, turn: str, owner: str) -> bool:
        """Forget a turn and its memory. A conversation that it was the head of falls back to the turn before it; where
        that one is gone already, the conversation goes too. ``StillHead`` if it is that of a user's memory."""

    @abstractmethod
    def scan(self) -> Iterator[str]:
        """The names of all turns, the oldest first."""

    # Conversations.

    @abstractmethod
    def put(self, dialogue: Dialogue) -> None:
        """Add or change a conversation."""

    @abstractmethod
    def dialogue(self, dialogue: str, owner: str | None = None) -> Dialogue | None:
        """A conversation by name."""

    @abstractmethod
    def dialogues(self, owner: str | None = None, limit: int = 100) -> list[Dialogue]:
        """Conversations, the one that was used last first."""

    @abstractmethod
    def delete_dialogue(self, dialogue: str, owner: str) -> bool:
        """Forget a conversation and every turn that was said in it, but for those that a turn or a conversation
        outside it goes on from. ``StillHead`` if one of them is that of a user's memory."""

    @abstractmethod
    def lock(self, dialogue: str, holder: str, seconds: float) -> bool:
        """Take, or keep, the right to the conversation's next turn for some time; False while another one has it."""

    @abstractmethod
    def holder(self, dialogue: str) -> str | None:
        """Who took it last and has not given it back; None if nobody."""

    @abstractmethod
    def unlock(self, dialogue: str, holder: str) -> None:
        """Give it back."""

    # Memories of users.

    @abstractmethod
    def user_memory(self, owner: str, user: str, fingerprint: str) -> UserMemory | None:
        """The memory of a user under one owner's key; None if it has not begun."""

    @abstractmethod
    def user_memories(self) -> list[UserMemory]:
        """All of them."""

    @abstractmethod
    def put_user_memory(self, memory: UserMemory) -> None:
        """Add one, which has a head, or change it."""

    @abstractmethod
    def delete_user_memory(self, owner: str, user: str) -> list[str]:
        """Forget all that was told to a user's memory, whichever weights made it: turns, fragments, conversations that
        went on from there -> the names of the turns."""

    # The whole.

    @abstractmethod
    def stats(self) -> Stats:
        """How much there is."""

    @abstractmethod
    def prune(self, retention: Retention, now: float) -> int:
        """Forget the oldest turns beyond the limits -> how many. Unfinished turns and what they need stay. A user's
        memory goes with its newest turn."""

    @abstractmethod
    def verify(self) -> list[str]:
        """What is wrong with it, one line each: checks every turn and memory."""

    @abstractmethod
    def close(self) -> None:
        """Nothing can be asked any more."""

    def check(self) -> None:
        """Have it answer at all; ``StoreFailed`` if it does not."""
        self.dialogue("")

    def chain(self, turn: str | None, owner: str, limit: int = 1000) -> list[Turn]:
        """A turn and those before it, the oldest first; it begins where one is gone."""
        found: list[Turn] = []
        while turn is not None and len(found) < limit:
            one = self.turn(turn, owner)
            if one is None:
                break
            found.append(one)
            turn = one.parent
        return found[::-1]


def read_turn(name: str, body: str, digest: str, status: Status) -> Turn:
    """A turn out of what a store holds; ``Damaged`` if that is not what was written."""
    turn = Turn.from_json(body)
    if turn.id != name or turn.digest() != digest:
        raise Damaged(f"{name}: this turn in the store is damaged (its checksum is another)")
    return replace(turn, status=status)


def read_fragment(turn: str, name: str, content: bytes | None) -> StoredFragment:
    """A fragment out of what a store holds for a turn; ``Damaged`` if that is not what was written."""
    if content is None:
        raise Damaged(f"{turn}: a fragment of its memory is gone from the store")
    if memory_checksum(content) != name:
        raise damaged_fragment(turn)
    return StoredFragment(name, content)


def damaged_fragment(turn: str) -> Damaged:
    """Of a turn whose memory has a fragment that is not what was written."""
    return Damaged(f"{turn}: a fragment of its memory in the store is damaged (its checksum is another)")
