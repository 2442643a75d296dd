"""``/v1/responses``."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from dataclasses import replace

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from rxt.engine.events import Finished, Memorized
from rxt.engine.running import Running
from rxt.generation.turn import Token
from rxt.server.errors import refusal
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
from rxt.server.requests import ResponseRequest
from rxt.server.service import EventStream, Owner, Serves, Service, checked, unless_gone
from rxt.server.translate import question_of_response
from rxt.store.records import Turn

router = APIRouter(prefix="/v1", tags=["responses"])
MEMORY_TYPE = "application/octet-stream"


@router.post("/responses", response_model=ResponseReply)
async def create(body: ResponseRequest, request: Request, serves: Serves, owner: Owner) -> Response | ResponseReply:
    """Answer a query; what came before is named by ``previous_response_id`` or ``conversation``, never sent again."""
    serves.check_model(body.model)
    running = await serves.begin(request, question_of_response(body, owner, serves.options.temperature))
    request.state.turn = running.draft.id
    if body.stream:
        return EventStream(streamed(running, serves.options.name), running, serves.options.slow_seconds)
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


async def streamed(running: Running, model: str) -> AsyncGenerator[str, None]:
    """The events of a turn, in OpenAI's order, each with its number."""
    number = -1

    def event(kind: str, **values: BaseModel | str | int | float | list[str] | tuple[float, ...]) -> str:
        nonlocal number
        number += 1
        plain = {name: value.model_dump() if isinstance(value, BaseModel) else value for name, value in values.items()}
        return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': number, **plain})}\n\n"

    draft = running.draft
    item, empty = message_id(draft), OutputText(text="")
    begun = response_of(draft, model, "in_progress")
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    yield event("response.output_item.added", output_index=0, item=answer_item(draft, "in_progress"))
    yield event("response.content_part.added", output_index=0, content_index=0, item_id=item, part=empty)
    place = {"item_id": item, "output_index": 0, "content_index": 0}
    try:
        async for news in running.events():
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
async def retrieve(response_id: str, serves: Serves, owner: Owner) -> ResponseReply:
    """A response that was stored."""
    return response_of(await named(serves, owner, response_id), serves.options.name)


@router.delete("/responses/{response_id}", response_model=Deleted)
async def delete(response_id: str, serves: Serves, owner: Owner) -> Deleted:
    """Forget a response and the memory after it. Later ones keep their own memories."""
    await serves.sessions.delete_turn(owner, checked(response_id, "response"))
    return Deleted(id=response_id, object="response.deleted")


@router.get("/responses/{response_id}/input_items", response_model=ItemList)
async def input_items(response_id: str, serves: Serves, owner: Owner) -> ItemList:
    """The query of a response."""
    items = items_of(await named(serves, owner, response_id))[:1]
    name = items[0].id if items else None
    return ItemList(data=items, first_id=name, last_id=name, has_more=False)


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
