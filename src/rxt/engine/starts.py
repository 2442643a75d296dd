"""What a turn begins with: the memory of all that was said before, whether a client brings it or the store has it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rxt.data.pieces import CHARACTERS, Pieces, in_pieces, opening, parts_in_pieces, room_for_query
from rxt.data.records import Interaction
from rxt.data.template import Template
from rxt.engine.calls import StoreCalls
from rxt.engine.events import NotWaiting, Past, Question, TooLong
from rxt.engine.memories import Memories
from rxt.engine.users import Users
from rxt.errors import UserError
from rxt.generation.ready import Ready
from rxt.store.base import Store
from rxt.store.records import Call, Mode, Turn, UserMemory, chain_prefix, new_id, next_prefix
from rxt.tools.tool import call_text

Lead = tuple[tuple[int, ...], ...]
PartOfTurn = Literal["query", "think", "answer", "call"]


@dataclass(frozen=True)
class Start:
    """What a turn begins with."""

    prepared: Ready
    parent: Turn | None
    prefix: str
    opening: tuple[int, ...] = ()
    """Tokens of the system prompt, where this is the first turn."""
    lead: Lead = ()
    """Interactions that were memorized after the parent, and are no turns."""
    instructions: str | None = None
    """The system prompt of the conversation as it is now."""
    before: int = 0
    """Turns of the conversation before it."""
    memory: UserMemory | None = None
    """That the turn is told to, as it was when this began; None: the conversation keeps its own."""


class Starts:
    """For one event loop."""

    def __init__(
        self,
        template: Template,
        store: Store,
        calls: StoreCalls,
        memories: Memories,
        users: Users,
        fingerprint: str,
        seed: int,
        most_pieces: int,
    ) -> None:
        """``fingerprint``: of the model; ``seed``: of fresh memories; ``most_pieces``: interactions that one message
        may become."""
        self._template, self._store, self._io, self._memories = template, store, calls, memories
        self._users = users
        self._fingerprint, self._seed, self._most_pieces = fingerprint, seed, most_pieces

    async def pieces(self, query: str, answer: str = "", where: str = "", internal: str | None = None) -> Pieces:
        """A message, and its answer where it has one, as the interactions that they become; ``internal``: what is told
        beside it.

        ``TooLong`` if they become more than they may; what is certain to do so is not even tokenized.
        """
        most, characters = self._most_pieces, len(query) + len(answer)
        if internal is not None:
            self._refuse_tools(internal)
        if characters <= CHARACTERS * self._template.max_length * most:
            found = await asyncio.to_thread(in_pieces, self._template, query, answer, internal)
            if len(found.lead) < most:
                return found
        room = self._template.max_length - self._template.reserve
        raise TooLong(
            f"{where or 'the query'} is too long: it has {characters} characters, "
            + (f"at most {room} tokens fit" if most == 1 else f"at most {most} times {room} tokens may come at once")
            + "; shorten it",
            where,
        )

    def refuse_endless(self, text: str, where: str) -> None:
        """``TooLong`` for a text that certainly does not fit into an interaction."""
        most = CHARACTERS * self._template.max_length
        if len(text) > most:
            raise TooLong(
                f"{where or 'the text'} is too long: it has {len(text)} characters, more than {most} never fit into an "
                "interaction; shorten it",
                where,
            )

    def _refuse_tools(self, internal: str) -> None:
        self.refuse_endless(internal, "tools")
        try:
            room_for_query(self._template, internal)
        except UserError as error:
            raise TooLong(f"the tools are too long: {error}; offer fewer, or say less", "tools") from None

    async def _interaction(self, whole: Interaction, where: str) -> Pieces:
        """Any interaction that is given; ``TooLong`` if its parts do not fit."""
        if whole.think is None and whole.tool_call is None and whole.tool_use is None:
            return await self.pieces(whole.query, whole.answer, where, whole.internal)
        for text in (whole.answer, whole.think, whole.tool_call, whole.tool_use):
            self.refuse_endless(text or "", where)
        if whole.query:
            await self.pieces(whole.query, where=where)
        try:
            return await asyncio.to_thread(parts_in_pieces, self._template, whole)
        except UserError as error:
            raise TooLong(f"{where or 'the turn'} is too long: {error}", where) from None

    async def _refuse_results(self, question: Question, parent: Turn | None) -> None:
        """``NotWaiting`` for a tool's result whose call neither the client has brought nor ``parent`` has made."""
        brought = {past.call.id for past in question.history if past.call is not None}
        results = [(past.result_of, past.where) for past in question.history]
        results += [(question.result_of, question.where)]
        asked, where = next(((call, at) for call, at in results if call and call not in brought), ("", ""))
        if not asked or (parent is not None and parent.call is not None and parent.call.id == asked):
            return
        chain = [] if parent is None else await self._io(self._store.chain, parent.id, question.owner)
        called = next((index for index, turn in enumerate(chain) if turn.call and turn.call.id == asked), None)
        newest = next((turn.call.id for turn in reversed(chain) if turn.call is not None), None)
        if called is not None:
            answered = chain[called + 1].result_of == asked
            raise NotWaiting(asked, "it has its result" if answered else "another message came after it", where)
        raise NotWaiting(asked, "no tool was called" if newest is None else f"the newest is {newest}", where)

    async def start(self, question: Question, parent: Turn | None, lead: Lead = ()) -> Start:
        """The memory that the question is answered with, after ``parent``; what the client brought is memorized first.

        ``lead``: the first parts of the question, where it is a long one.

        Raises:
            UserError: TooLong, NotWaiting, OtherModel, OtherScope, NotThere, Damaged, StoreFailed, Moved.
        """
        await self._refuse_results(question, parent)
        user = self._users.user_of(question, parent)
        memory = await self._users.memory(question.owner, user) if user else None
        told = question.instructions
        late: Lead = ()
        if parent is None:
            begins, instructions = self._opening(told), told
            if user:  # a user's memory has begun already, so the instructions come late
                begins, late = (), tuple(filter(None, (begins,)))
            prefixes = [chain_prefix(self._beginning(user), told or "", "")]
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
            turn = await self._brought(question, past, prefix, before, begins if before is None else (), late, user)
            late, instructions = (), turn.instructions
            brought.append(turn)
        if question.store and brought:
            head = None if parent is None else parent.id
            if memory is None:
                await self._io(self._store.add, brought, question.conversation, head)
            else:
                brought, memory = await self._users.add(brought, question.conversation, head, memory)
            parent, brought = brought[-1], []
        if memory is not None:
            prepared = await self._memories.beginning(parent, await self._users.newest(memory), self._seed)
        elif parent is None:
            prepared = await self._memories.begun(self._seed, begins)
        else:
            prepared = await self._memories.after(parent)
        before = len(brought) + (0 if parent is None else parent.number)
        for turn in brought:  # of which nothing is to be kept
            prepared = await self._memories.with_turn(prepared, turn)
        prepared = await self._memories.with_lead(prepared, late + lead)
        return Start(
            prepared, parent, prefixes[-1], begins if parent is None else (), late + lead, instructions, before, memory
        )

    def _beginning(self, user: str) -> str:
        """Stands for the memory of a conversation that has not begun; what one user said, no other one has said."""
        begun = " ".join(filter(None, (str(self._seed), self._memories.knowledge_name)))
        return chain_prefix("user", begun, user) if user else begun

    def _longest_known(self, owner: str, prefixes: list[str]) -> tuple[int, Turn | None]:
        for count in range(len(prefixes) - 1, 0, -1):
            found = self._store.by_prefix(owner, prefixes[count], self._fingerprint)
            if found is not None:
                return count, found
        return 0, None

    async def _brought(
        self,
        question: Question,
        past: Past,
        prefix: str,
        before: Turn | None,
        begins: tuple[int, ...],
        late: Lead,
        user: str,
    ) -> Turn:
        """Something that was said before, as a turn."""
        instructions = question.instructions if before is None or late else before.instructions
        if past.role in ("user", "tool"):
            pieces = await self._interaction(_interaction_of(past), past.where)
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
            knowledge=self._memories.knowledge_name if before is None else "",
            call=past.call,
            result_of=past.result_of,
            user=user,
        )

    async def without(
        self, part: PartOfTurn, turns: Sequence[Turn], before: Turn | None, conversation: str
    ) -> list[Turn]:
        """Turns as they would be if a part of the first of them had not been said, after ``before``."""
        first = turns[0]
        is_told = first.role in ("user", "tool")
        pieces = await self._interaction(_interaction_of(first), "") if is_told else Pieces((), "", ())
        late = first.lead[: len(first.lead) - len(pieces.lead)]
        left = _without(first, part)
        if left.query or left.answer or left.think is not None or left.call is not None:
            pieces = await self._interaction(_interaction_of(left), "")
            mode: Mode = "fast" if left.think is None else "auto"
            changed = replace(left, kind="history", mode=mode, prompt=pieces.prompt, said=pieces.said)
            turns = [replace(changed, lead=late + pieces.lead), *turns[1:]]
        elif len(turns) > 1:
            begun = replace(turns[1], opening=first.opening, knowledge=first.knowledge, lead=late + turns[1].lead)
            turns = [begun, *turns[2:]]
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
                chosen=(),  # the fragments before it are others now
                status="answered",
            )
            made.append(before)
        return made

    def _opening(self, instructions: str | None) -> tuple[int, ...]:
        return () if instructions is None else tuple(opening(self._template, instructions).ids)


def _prefix(before: str, past: Past) -> str:
    """What stands for a history that goes on with this."""
    if past.role in ("user", "tool"):
        return next_prefix(before, past.query, past.answer, past.role == "tool", past.call)
    return chain_prefix("system", before, past.query)


def _interaction_of(said: Past | Turn) -> Interaction:
    """All parts of it, as a template writes them."""
    result, call = said.role == "tool", None if said.call is None else _call_text(said.call)
    query, of_tool = ("", said.query) if result else (said.query, None)
    if isinstance(said, Past):
        return Interaction(query, said.answer, tool_call=call, tool_use=of_tool)
    return Interaction(query, said.answer, said.think, call, of_tool, said.internal)


def _call_text(call: Call) -> str:
    """A call as the model wrote it, or is to write it."""
    try:
        return call_text(call.name, json.loads(call.arguments)) if call.name else call.arguments
    except (ValueError, RecursionError):
        return call.arguments


def _without(turn: Turn, part: PartOfTurn) -> Turn:
    match part:
        case "query":
            return replace(turn, query="", role="user", result_of="")
        case "think":
            return replace(turn, think=None, thinking_tokens=0)
        case "answer":
            return replace(turn, answer="")
        case "call":
            return replace(turn, call=None)
