"""The events of a streamed response, in OpenAI's order."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import replace

from pydantic import BaseModel

from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.events import Event, Finished, Memorized
from rxt.generation.text_stream import AnswerStream
from rxt.generation.turn import Token
from rxt.server.errors import refusal
from rxt.server.likely import ToldToken, told_tokens
from rxt.server.replies import Failure, OutputText, answer_item, message_id, response_of
from rxt.store.records import Turn

Value = BaseModel | Sequence[BaseModel] | str | int | float | Sequence[float]


class Teller:
    """Tells of one turn; every event has its number, from 0 on."""

    def __init__(self, draft: Turn, model: str, tokenizer: ChatTokenizer, tells_memory: bool = False) -> None:
        """``tells_memory``: also of the memory's update, which OpenAI's clients do not know."""
        self._draft, self._model, self._tokenizer, self._tells_memory = draft, model, tokenizer, tells_memory
        self._number = -1
        self._place = {"item_id": message_id(draft), "output_index": 0, "content_index": 0}
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
        yield self._event("response.output_item.added", output_index=0, item=answer_item(self._draft, "in_progress"))
        yield self._event("response.content_part.added", **self._place, part=OutputText(text=""))

    def news(self, news: Event) -> Iterator[str]:
        """Of something that happened."""
        match news:
            case Token():
                self._untold += told_tokens(self._tokenizer, news)
                if news.text:
                    likely, self._untold = self._untold, []
                    self._told += likely
                    yield self._event("response.output_text.delta", **self._place, delta=news.text, logprobs=likely)
            case Finished(turn):
                likely = [*self._told, *self._untold]
                reply = response_of(turn, self._model, logprobs=likely)
                part = OutputText(text=turn.answer, logprobs=likely)
                yield self._event("response.output_text.done", **self._place, text=turn.answer, logprobs=likely)
                yield self._event("response.content_part.done", **self._place, part=part)
                yield self._event("response.output_item.done", output_index=0, item=reply.output[0])
                yield self._event(f"response.{reply.status}", response=reply)
                self.over = not self._tells_memory
            case Memorized(turn, update):
                yield self._event(
                    "rxt.memory.updated",
                    response_id=turn.id,
                    turn=turn.number,
                    seconds=update.seconds,
                    change=update.change,
                )
                self.over = True

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


class ToldAgain:
    """A stored turn, as if it were being answered."""

    def __init__(self, turn: Turn, template: Template) -> None:
        self._turn, self._text = turn, AnswerStream(template)

    async def events(self) -> AsyncGenerator[Event, None]:
        """The same pieces of text, then the turn."""
        for index, token in enumerate(self._turn.said, start=1):
            yield Token(self._text.push(token, index == len(self._turn.said)), token)
        yield Finished(self._turn)

    def close(self) -> None:
        """Nothing is held."""
