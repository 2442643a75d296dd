"""``/v1/responses``."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from rxt.data.template import Template
from rxt.engine.events import Event, Finished, Memorized
from rxt.engine.running import Running
from rxt.generation.text_stream import AnswerStream
from rxt.generation.turn import Token
from rxt.server.errors import refusal
from rxt.server.paging import Paging
from rxt.server.replies import (
    ChangeReply,
    Deleted,
    Failure,
    ItemList,
    MemoryReply,
    OutputText,
    ResponseReply,
    answer_item,
    items_of,
    message_id,
    response_of,
)
from rxt.server.requests import ResponseRequest, unused_options
from rxt.server.service import EventStream, Owner, Serves, Service, checked, note_options, unless_gone
from rxt.server.translate import question_of_response
from rxt.store.records import Turn

router = APIRouter(prefix="/v1", tags=["responses"])
MEMORY_TYPE = "application/octet-stream"


@router.post("/responses", response_model=ResponseReply)
async def create(
    body: ResponseRequest, request: Request, reply: Response, serves: Serves, owner: Owner
) -> Response | ResponseReply:
    """Answer a query; what came before is named by ``previous_response_id`` or ``conversation``, never sent again."""
    serves.check_model(body.model)
    question = await question_of_response(
        body, owner, serves.options.temperature, serves.sessions.template, serves.lookup(owner)
    )
    running = await serves.begin(request, question)
    request.state.turn = running.draft.id
    note_options(reply, unused_options(body), question)
    if body.stream:
        events = streamed(running.draft, running.events(), serves.options.name, body.tells_memory)
        return EventStream(events, running, serves.options.slow_seconds, reply.headers)
    return response_of(await unless_gone(request, finished(running)), serves.options.name)


async def finished(running: Running) -> Turn:
    """The turn, as soon as it is written down."""
    try:
        async for event in running.events():
            if isinstance(event, Finished):
                return event.turn
    finally:
        running.close()
    raise AssertionError("a turn ends with an answer or an exception")


async def streamed(
    draft: Turn, news_of: AsyncIterator[Event], model: str, tells_memory: bool, after: int = -1
) -> AsyncGenerator[str, None]:
    """The events of a turn, in OpenAI's order, each with its number: those after the number ``after``."""
    async for number, text in numbered(draft, news_of, model, tells_memory):
        if number > after:
            yield text


async def numbered(
    draft: Turn, news_of: AsyncIterator[Event], model: str, tells_memory: bool
) -> AsyncGenerator[tuple[int, str], None]:
    """All events of a turn. ``tells_memory``: also that of the memory's update, which OpenAI's clients do not know."""
    number = -1

    def event(kind: str, **values: BaseModel | str | int | float | list[str] | tuple[float, ...]) -> tuple[int, str]:
        nonlocal number
        number += 1
        plain = {name: value.model_dump() if isinstance(value, BaseModel) else value for name, value in values.items()}
        return number, f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': number, **plain})}\n\n"

    item, empty = message_id(draft), OutputText(text="")
    begun = response_of(draft, model, "in_progress")
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    yield event("response.output_item.added", output_index=0, item=answer_item(draft, "in_progress"))
    yield event("response.content_part.added", output_index=0, content_index=0, item_id=item, part=empty)
    place = {"item_id": item, "output_index": 0, "content_index": 0}
    try:
        async for news in news_of:
            match news:
                case Token():
                    if news.text:
                        yield event("response.output_text.delta", **place, delta=news.text, logprobs=[])
                case Finished(turn):
                    reply = response_of(turn, model)
                    yield event("response.output_text.done", **place, text=turn.answer, logprobs=[])
                    yield event("response.content_part.done", **place, part=OutputText(text=turn.answer))
                    yield event("response.output_item.done", output_index=0, item=reply.output[0])
                    yield event(f"response.{reply.status}", response=reply)
                    if not tells_memory:
                        return
                case Memorized(turn, update):
                    yield event(
                        "rxt.memory.updated",
                        response_id=turn.id,
                        turn=turn.number,
                        seconds=update.seconds,
                        change=update.change,
                    )
                    return
    except Exception as error:
        told = refusal(error)
        failure = Failure(code="server_error", message=told.message)
        yield event(
            "response.failed", response=response_of(replace(draft, created=time.time()), model, "failed", failure)
        )


@router.get("/responses/{response_id}", response_model=ResponseReply)
async def retrieve(
    response_id: str,
    serves: Serves,
    owner: Owner,
    stream: bool = False,
    starting_after: Annotated[int, Query(ge=-1)] = -1,
) -> Response | ResponseReply:
    """A response that was stored; with ``stream`` its events once more, those after number ``starting_after``."""
    turn = await named(serves, owner, response_id)
    if not stream:
        return response_of(turn, serves.options.name)
    told = ToldAgain(turn, serves.sessions.template)
    events = streamed(turn, told.events(), serves.options.name, False, starting_after)
    return EventStream(events, told, serves.options.slow_seconds)


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


@router.delete("/responses/{response_id}", response_model=Deleted)
async def delete(response_id: str, serves: Serves, owner: Owner) -> Deleted:
    """Forget a response and the memory after it. Later ones keep their own memories."""
    await serves.sessions.delete_turn(owner, checked(response_id, "response"))
    return Deleted(id=response_id, object="response.deleted")


@router.get("/responses/{response_id}/input_items", response_model=ItemList)
async def input_items(response_id: str, serves: Serves, owner: Owner, page: Paging) -> ItemList:
    """The query of a response."""
    turn = await named(serves, owner, response_id)
    return page.of([item for item in items_of(turn) if item.role != "assistant"])


@router.get("/responses/{response_id}/memory", response_class=Response, tags=["memory"])
async def memory(response_id: str, serves: Serves, owner: Owner) -> Response:
    """The memory after a response, as a safetensors file."""
    turn = await named(serves, owner, response_id)
    content = await serves.sessions.export_memory(turn)
    return Response(
        content, media_type=MEMORY_TYPE, headers={"Content-Disposition": f'attachment; filename="{turn.id}.memory"'}
    )


@router.get("/responses/{response_id}/memory/change", response_model=ChangeReply, tags=["memory"])
async def change(response_id: str, serves: Serves, owner: Owner) -> ChangeReply:
    """How much each slot changed in this turn: layers × slots."""
    turn = await named(serves, owner, response_id)
    found = await serves.sessions.change(turn)
    return ChangeReply(response_id=turn.id, turn=turn.number, layers=len(found), slots=len(found[0]), change=found)


@router.post("/memories", response_model=MemoryReply, tags=["memory"])
async def bring(request: Request, serves: Serves, owner: Owner) -> MemoryReply:
    """Bring a memory file; what comes back is a response to go on from. The body is the file."""
    return memory_reply(await serves.sessions.import_memory(owner, await request.body()))


def memory_reply(turn: Turn) -> MemoryReply:
    """What is said of a memory that was brought."""
    return MemoryReply(id=turn.id, turns=turn.number, fingerprint=turn.fingerprint)


async def named(serves: Service, owner: str, name: str) -> Turn:
    """A turn of this owner."""
    return await serves.sessions.turn(owner, checked(name, "response"))
