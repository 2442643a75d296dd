"""From a question to the turn that answers it: its prompt, and what its reply may be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rxt.data.template import Template
from rxt.engine.events import Question, TooLong
from rxt.engine.starts import Lead, Starts
from rxt.errors import UserError
from rxt.generation.constraint import Constraint
from rxt.generation.reply_constraint import reply_constraint
from rxt.generation.turn import OpenTurn
from rxt.tools.tool import tools_text


@dataclass(frozen=True)
class Opened:
    """A turn that can begin as soon as its memory is there."""

    turn: OpenTurn
    lead: Lead
    """Interactions before it, the first parts of a long question."""
    constraint: Constraint | None


class Openings:
    """For one event loop."""

    def __init__(self, template: Template, starts: Starts, vocab_size: int) -> None:
        """``vocab_size``: V of the model."""
        self._template, self._starts, self._vocab_size = template, starts, vocab_size

    async def open(self, question: Question) -> Opened:
        """Check what can be checked before it is the question's turn.

        Raises:
            TooLong: the question is, or a tool's result, or what the model is told of the tools.
            UserError: it is empty; the template has not the parts for it; a schema is wrong.
        """
        question.manner.check(self._template)
        turn, lead = await (self._of_result(question) if question.result_of else self._of_query(question))
        # Compiling a grammar takes a while.
        constraint = await asyncio.to_thread(reply_constraint, turn, self._vocab_size, question.schema, apart=True)
        return Opened(turn, lead, constraint)

    async def _of_query(self, question: Question) -> tuple[OpenTurn, Lead]:
        manner = question.manner
        internal = tools_text(manner.told) if manner.told else None
        pieces = await self._starts.pieces(question.query, where=question.where, internal=internal)
        return OpenTurn(self._template, pieces.text, question.most, question.stop, manner), pieces.lead

    async def _of_result(self, question: Question) -> tuple[OpenTurn, Lead]:
        self._template.require("tool_use")
        self._starts.refuse_endless(question.query, question.where)
        text, most, stop, manner = question.query, question.most, question.stop, question.manner
        try:
            return await asyncio.to_thread(OpenTurn, self._template, text, most, stop, manner, True), ()
        except UserError as error:
            raise TooLong(str(error), question.where) from None
