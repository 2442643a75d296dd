"""What a turn begins with: the memory of all that was said before, whether a client brings it or the store has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rxt.data.pieces import CHARACTERS, Pieces, in_pieces, opening
from rxt.data.template import Template
from rxt.engine.calls import StoreCalls
from rxt.engine.events import Past, Question, TooLong
from rxt.engine.memories import Memories
from rxt.generation.turn import Prepared
from rxt.store.base import Store
from rxt.store.records import Turn, chain_prefix, new_id

Lead = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Start:
    """What a turn begins with."""

    prepared: Prepared
    parent: Turn | None
    prefix: str
    opening: tuple[int, ...] = ()
    """Tokens of the system prompt, where this is the first turn."""
    lead: Lead = ()
    """Interactions that were memorized after the parent, and are no turns."""
    instructions: str | None = None
    """The system prompt of the conversation as it is now."""


class Starts:
    """For one event loop."""

    def __init__(
        self,
        template: Template,
        store: Store,
        calls: StoreCalls,
        memories: Memories,
        fingerprint: str,
        seed: int,
        most_pieces: int,
    ) -> None:
        """``fingerprint``: of the model; ``seed``: of fresh memories; ``most_pieces``: interactions that one message
        may become."""
        self._template, self._store, self._io, self._memories = template, store, calls, memories
        self._fingerprint, self._seed, self._most_pieces = fingerprint, seed, most_pieces

    async def pieces(self, query: str, answer: str = "", where: str = "") -> Pieces:
        """A message, and its answer where it has one, as the interactions that they become.

        ``TooLong`` if they become more than they may; what is certain to do so is not even tokenized.
        """
        most, characters = self._most_pieces, len(query) + len(answer)
        if characters <= CHARACTERS * self._template.max_length * most:
            found = await asyncio.to_thread(in_pieces, self._template, query, answer)
            if len(found.lead) < most:
                return found
        room = self._template.max_length - self._template.reserve
        raise TooLong(
            f"{where or 'the query'} is too long: it has {characters} characters, "
            + (f"at most {room} tokens fit" if most == 1 else f"at most {most} times {room} tokens may come at once")
            + "; shorten it",
            where,
        )

    async def start(self, question: Question, parent: Turn | None, lead: Lead = ()) -> Start:
        """The memory that the question is answered with, after ``parent``; what the client brought is memorized first.

        ``lead``: the first parts of the question, where it is a long one.

        Raises:
            UserError: TooLong, OtherModel, Damaged, StoreFailed, Moved.
        """
        told = question.instructions
        late: Lead = ()
        if parent is None:
            begins, instructions = self._opening(told), told
            prefixes = [chain_prefix(str(self._seed), told or "", "")]
        else:
            self._memories.check_model(parent)
            begins, instructions = (), parent.instructions if told is None else told
            prefixes = [parent.prefix]
            if told is not None and told != parent.instructions:
                late = (self._opening(told),)
                prefixes = [chain_prefix("system", parent.prefix, told)]
        for past in question.history:
            prefixes.append(_prefix(prefixes[-1], past))
        known = 0
        if question.history and question.conversation is None:
            known, found = await self._io(self._longest_known, question.owner, prefixes)
            if found is not None:
                parent, late = found, ()
        brought: list[Turn] = []
        for past, prefix in list(zip(question.history, prefixes[1:], strict=True))[known:]:
            before = brought[-1] if brought else parent
            turn = await self._brought(question, past, prefix, before, begins if before is None else (), late)
            late, instructions = (), turn.instructions
            brought.append(turn)
        if question.store and brought:
            head = None if parent is None else parent.id
            await self._io(self._store.add, brought, question.conversation, head)
            parent, brought = brought[-1], []
        prepared = await (self._memories.begun(self._seed, begins) if parent is None else self._memories.after(parent))
        for turn in brought:  # of which nothing is to be kept
            prepared = await self._memories.with_turn(prepared, turn)
        prepared = await self._memories.with_lead(prepared, late + lead)
        return Start(prepared, parent, prefixes[-1], begins if parent is None else (), late + lead, instructions)

    def _longest_known(self, owner: str, prefixes: list[str]) -> tuple[int, Turn | None]:
        for count in range(len(prefixes) - 1, 0, -1):
            found = self._store.by_prefix(owner, prefixes[count], self._fingerprint)
            if found is not None:
                return count, found
        return 0, None

    async def _brought(
        self, question: Question, past: Past, prefix: str, before: Turn | None, begins: tuple[int, ...], late: Lead
    ) -> Turn:
        """Something that was said before, as a turn."""
        instructions = question.instructions if before is None or late else before.instructions
        if past.role == "user":
            pieces = await self.pieces(past.query, past.answer, past.where)
            lead, prompt, said = pieces.lead, pieces.prompt, pieces.said
        else:
            lead, prompt, said = (), self._opening(past.query)[:-1], ()  # [EOS] comes with the end
            instructions = past.query if before is None and instructions is None else instructions
        return Turn(
            new_id("resp"),
            question.owner,
            time.time(),
            self._fingerprint,
            None if before is None else before.id,
            question.conversation,
            "history",
            self._seed,
            instructions,
            begins,
            late + lead,
            past.role,
            query=past.query,
            answer=past.answer,
            prompt=prompt,
            said=said,
            number=1 if before is None else before.number + 1,
            prefix=prefix,
        )

    async def without(
        self, part: Literal["query", "answer"], turns: Sequence[Turn], before: Turn | None, conversation: str
    ) -> list[Turn]:
        """Turns as they would be if a message of the first of them had not been said, after ``before``."""
        first = turns[0]
        pieces = await self.pieces(first.query, first.answer) if first.role == "user" else Pieces((), "", ())
        late = first.lead[: len(first.lead) - len(pieces.lead)]
        query, answer = ("", first.answer) if part == "query" else (first.query, "")
        if query or answer:
            pieces = await self.pieces(query, answer)
            changed = replace(first, kind="history", query=query, answer=answer, prompt=pieces.prompt, said=pieces.said)
            turns = [replace(changed, lead=late + pieces.lead), *turns[1:]]
        elif len(turns) > 1:
            turns = [replace(turns[1], opening=first.opening, lead=late + turns[1].lead), *turns[2:]]
        else:
            turns = []
        made: list[Turn] = []
        for turn in turns:
            name = new_id("resp")
            before = replace(
                turn,
                id=name,
                name=turn.name or turn.id.removeprefix("resp_"),
                parent=None if before is None else before.id,
                conversation=conversation,
                number=1 if before is None else before.number + 1,
                prefix=chain_prefix("changed", name, ""),  # no history that a client sends is this one
                status="answered",
            )
            made.append(before)
        return made

    def _opening(self, instructions: str | None) -> tuple[int, ...]:
        return () if instructions is None else tuple(opening(self._template, instructions).ids)


def _prefix(before: str, past: Past) -> str:
    """What stands for a history that goes on with this."""
    if past.role == "user":
        return chain_prefix(before, past.query, past.answer)
    return chain_prefix("system", before, past.query)
