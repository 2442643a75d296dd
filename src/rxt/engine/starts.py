"""What a turn begins with: the memory of all that was said before, whether a client brings it or the store has it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rxt.data.template import Template
from rxt.engine.calls import StoreCalls
from rxt.engine.events import Question
from rxt.engine.memories import Memories
from rxt.errors import UserError
from rxt.generation.turn import Prepared
from rxt.store.base import Store
from rxt.store.records import Turn, chain_prefix, new_id


@dataclass(frozen=True)
class Start:
    """What a turn begins with."""

    prepared: Prepared
    parent: Turn | None
    prefix: str
    opening: tuple[int, ...] = ()
    """Tokens of the system prompt, where this is the first turn."""


class Starts:
    """For one event loop."""

    def __init__(
        self, template: Template, store: Store, calls: StoreCalls, memories: Memories, fingerprint: str, seed: int
    ) -> None:
        """``fingerprint``: of the model; ``seed``: of fresh memories."""
        self._template, self._store, self._io, self._memories = template, store, calls, memories
        self._fingerprint, self._seed = fingerprint, seed

    async def start(self, question: Question, parent: Turn | None) -> Start:
        """The memory that the question is answered with, after ``parent``; turns that the client brought are memorized
        first.

        Raises:
            UserError: the question brings instructions where they cannot be memorized any more; and its kinds
            OtherModel, Damaged, StoreFailed, Moved.
        """
        if parent is not None:
            self._memories.check_model(parent)
            if question.instructions is not None and question.instructions != parent.instructions:
                raise UserError(
                    "instructions are memorized once, at the start, and this conversation began "
                    + ("with others" if parent.instructions else "without")
                    + "; leave them out or begin a new one"
                )
        opening = self._opening(question) if parent is None else ()
        prefixes = [self._first_prefix(question) if parent is None else parent.prefix]
        for query, answer in question.history:
            prefixes.append(chain_prefix(prefixes[-1], query, answer))
        known = 0
        if question.history and question.conversation is None:
            known, found = await self._io(self._longest_known, question.owner, prefixes)
            parent = found or parent
        brought: list[Turn] = []
        for (query, answer), prefix in list(zip(question.history, prefixes[1:], strict=True))[known:]:
            before = brought[-1] if brought else parent
            brought.append(self._brought(question, query, answer, prefix, before, opening if before is None else ()))
        if question.store and brought:
            head = None if parent is None else parent.id
            await self._io(self._store.add, brought, question.conversation, head)
            parent, brought = brought[-1], []
        prepared = await (self._memories.begun(self._seed, opening) if parent is None else self._memories.after(parent))
        for turn in brought:  # of which nothing is to be kept
            ids = self._template.complete(turn.prompt, turn.said)
            prepared = await self._memories.with_one_more(prepared, ids, True)
        return Start(prepared, parent, prefixes[-1], opening if parent is None else ())

    def _longest_known(self, owner: str, prefixes: list[str]) -> tuple[int, Turn | None]:
        for count in range(len(prefixes) - 1, 0, -1):
            found = self._store.by_prefix(owner, prefixes[count], self._fingerprint)
            if found is not None:
                return count, found
        return 0, None

    def _brought(
        self, question: Question, query: str, answer: str, prefix: str, before: Turn | None, opening: tuple[int, ...]
    ) -> Turn:
        prompt = self._template.prompt(query)
        return Turn(
            new_id("resp"),
            question.owner,
            time.time(),
            self._fingerprint,
            None if before is None else before.id,
            question.conversation,
            "history",
            self._seed,
            question.instructions if before is None else before.instructions,
            opening,
            query,
            answer,
            tuple(prompt),
            tuple(self._template.tokenizer.encode(answer)),
            number=1 if before is None else before.number + 1,
            prefix=prefix,
        )

    def _opening(self, question: Question) -> tuple[int, ...]:
        return () if question.instructions is None else tuple(self._template.system(question.instructions).ids)

    def _first_prefix(self, question: Question) -> str:
        return chain_prefix(str(self._seed), question.instructions or "", "")
