"""The events of a streamed response, in OpenAI's order."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel

from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.events import Event, Finished, Memorized
from rxt.generation.text_stream import PartStream
from rxt.generation.turn import Token
from rxt.server.errors import refusal
from rxt.server.items import CallItem, Item, MessageItem, OutputText, SummaryText, answer_item, reasoning_item
from rxt.server.likely import ToldToken, told_tokens
from rxt.server.replies import Failure, response_of
from rxt.store.records import Turn

Value = BaseModel | Sequence[BaseModel] | str | int | float | Sequence[float]
Place = dict[str, str | int]
"""Where a piece of an item belongs."""


class Teller:
    """Tells of one turn; every event has its number, from 0 on."""

    def __init__(self, draft: Turn, model: str, tokenizer: ChatTokenizer, tells_memory: bool = False) -> None:
        """``tells_memory``: also of the memory's update, which OpenAI's clients do not know."""
        self._draft, self._model, self._tokenizer, self._tells_memory = draft, model, tokenizer, tells_memory
        self._number = self._index = -1
        self._thought = ""
        """What was told of the thinking."""
        self._open: Literal["reasoning", "message"] | None = None
        """The item that is being told."""
        self._untold: list[ToldToken] = []
        """Of tokens whose text is not certain yet."""
        self._told: list[ToldToken] = []
        self.over = False
        """No more events are expected."""

    def beginning(self) -> Iterator[str]:
        """Before the first token."""
        begun = response_of(self._draft, self._model, "in_progress")
        yield self._event("response.created", response=begun)
        yield self._event("response.in_progress", response=begun)

    def news(self, news: Event) -> Iterator[str]:
        """Of something that happened."""
        match news:
            case Token():
                self._untold += told_tokens(self._tokenizer, news)
                if news.thinking:
                    yield from self._thinks(news.thinking)
                if news.text:
                    yield from self._answers(news.text)
            case Finished(turn):
                yield from self._finishes(turn)
                self.over = not self._tells_memory
            case Memorized(turn, update):
                told: dict[str, Value] = {"turn": turn.number, "seconds": update.seconds, "change": update.change}
                if update.written:
                    told |= {"fragments_seen": update.seen, "fragments_written": update.written}
                yield self._event("rxt.memory.updated", response_id=turn.id, **told)
                self.over = True

    def _thinks(self, text: str) -> Iterator[str]:
        if self._open is None:
            yield from self._begins("reasoning", reasoning_item(self._draft, "in_progress"))
            yield self._event("response.reasoning_summary_part.added", **self._summary(), part=SummaryText(text=""))
        self._thought += text
        yield self._event("response.reasoning_summary_text.delta", **self._summary(), delta=text)

    def _answers(self, text: str) -> Iterator[str]:
        yield from self._begins_answer()
        likely, self._untold = self._untold, []
        self._told += likely
        yield self._event("response.output_text.delta", **self._content(), delta=text, logprobs=likely)

    def _begins_answer(self) -> Iterator[str]:
        if self._open == "reasoning":
            yield from self._ends_thinking()
        if self._open is None:
            yield from self._begins("message", answer_item(self._draft, "in_progress"))
            yield self._event("response.content_part.added", **self._content(), part=OutputText(text=""))

    def _ends_thinking(self) -> Iterator[str]:
        yield self._event("response.reasoning_summary_text.done", **self._summary(), text=self._thought)
        yield self._event(
            "response.reasoning_summary_part.done", **self._summary(), part=SummaryText(text=self._thought)
        )
        yield from self._ends(reasoning_item(replace(self._draft, think=self._thought), "completed"))

    def _finishes(self, turn: Turn) -> Iterator[str]:
        likely = [*self._told, *self._untold]
        reply = response_of(turn, self._model, logprobs=likely)
        for item in reply.output:
            match item:
                case MessageItem():
                    yield from self._begins_answer()
                    part = OutputText(text=turn.answer, logprobs=likely)
                    yield self._event("response.output_text.done", **self._content(), text=turn.answer, logprobs=likely)
                    yield self._event("response.content_part.done", **self._content(), part=part)
                    yield from self._ends(item)
                case CallItem():
                    if self._open == "reasoning":
                        yield from self._ends_thinking()
                    yield from self._calls(item)
        if self._open == "reasoning":
            yield from self._ends_thinking()
        yield self._event(f"response.{reply.status}", response=reply)

    def _calls(self, item: CallItem) -> Iterator[str]:
        """A call comes whole: it is one only when it has been read to its end."""
        yield self._event("response.output_item.added", output_index=self._next(), item=_begun(item))
        place = {"item_id": item.id, "output_index": self._index}
        yield self._event("response.function_call_arguments.delta", **place, delta=item.arguments)
        yield self._event("response.function_call_arguments.done", **place, arguments=item.arguments, name=item.name)
        yield self._event("response.output_item.done", output_index=self._index, item=item)

    def _begins(self, kind: Literal["reasoning", "message"], item: Item) -> Iterator[str]:
        self._open = kind
        yield self._event("response.output_item.added", output_index=self._next(), item=item)

    def _ends(self, item: Item) -> Iterator[str]:
        self._open = None
        yield self._event("response.output_item.done", output_index=self._index, item=item)

    def _next(self) -> int:
        self._index += 1
        return self._index

    def _summary(self) -> Place:
        return {
            "item_id": reasoning_item(self._draft, "in_progress").id,
            "output_index": self._index,
            "summary_index": 0,
        }

    def _content(self) -> Place:
        return {"item_id": answer_item(self._draft, "in_progress").id, "output_index": self._index, "content_index": 0}

    def failed(self, error: Exception) -> str:
        """Of an error, after which there is nothing more."""
        failure = Failure(code="server_error", message=refusal(error).message)
        draft = replace(self._draft, created=time.time())
        return self._event("response.failed", response=response_of(draft, self._model, "failed", failure))

    def _event(self, kind: str, **values: Value) -> str:
        self._number += 1
        plain = {name: _plain(value) for name, value in values.items()}
        return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': self._number, **plain})}\n\n"


def _plain(value: Value) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump()
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


async def streamed(teller: Teller, happened: AsyncIterator[Event], after: int = -1) -> AsyncGenerator[str, None]:
    """The events of a turn, those after the number ``after``."""
    left = after + 1
    for event in teller.beginning():
        left -= 1
        if left < 0:
            yield event
    try:
        async for news in happened:
            for event in teller.news(news):
                left -= 1
                if left < 0:
                    yield event
            if teller.over:
                return
    except Exception as error:
        yield teller.failed(error)


def _begun(item: CallItem) -> CallItem:
    """A call of which no arguments have been told."""
    return item.model_copy(update={"arguments": "", "status": "in_progress"})


class ToldAgain:
    """A stored turn, as if it were being answered."""

    def __init__(self, turn: Turn, template: Template) -> None:
        self._turn, self._parts = turn, PartStream(template, turn.mode)

    async def events(self) -> AsyncGenerator[Event, None]:
        """The same pieces of text, then the turn."""
        for index, token in enumerate(self._turn.said, start=1):
            piece = self._parts.push(token, index == len(self._turn.said))
            yield Token(piece.answer, token, None, piece.think, piece.tool_call, self._parts.part)
        yield Finished(self._turn)

    def close(self) -> None:
        """Nothing is held."""
