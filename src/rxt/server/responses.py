"""``/v1/responses``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.events import Finished
from rxt.engine.running import Running
from rxt.generation.turn import Token
from rxt.server.events import Teller, ToldAgain, streamed
from rxt.server.items import asked_items
from rxt.server.likely import ToldToken, told_tokens
from rxt.server.paging import Paging
from rxt.server.replies import (
    ChangeReply,
    Deleted,
    FragmentsReply,
    ItemList,
    MemoryReply,
    ResponseReply,
    response_of,
)
from rxt.server.requests import ResponseRequest, unused_of
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
    has_tools, shared = serves.sessions.template.has_tools, bool(running.draft.user)
    note_options(reply, unused_of(body, has_tools, shared), question)
    if body.stream:
        teller = Teller(running.draft, serves.options.name, serves.sessions.tokenizer, body.tells_memory)
        events = streamed(teller, running.events())
        return EventStream(events, running, serves.options.slow_seconds, reply.headers)
    turn, logprobs = await unless_gone(request, finished(running, serves.sessions.tokenizer))
    return response_of(turn, serves.options.name, logprobs=logprobs)


async def finished(running: Running, tokenizer: ChatTokenizer) -> tuple[Turn, list[ToldToken]]:
    """The turn, as soon as it is written down, and the likelihoods of its tokens where they were asked for."""
    logprobs: list[ToldToken] = []
    try:
        async for event in running.events():
            match event:
                case Token():
                    logprobs += told_tokens(tokenizer, event)
                case Finished(turn):
                    return turn, logprobs
    finally:
        running.close()
    raise AssertionError("a turn ends with an answer or an exception")


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
    teller = Teller(turn, serves.options.name, serves.sessions.tokenizer)
    events = streamed(teller, told.events(), starting_after)
    return EventStream(events, told, serves.options.slow_seconds)


@router.delete("/responses/{response_id}", response_model=Deleted)
async def delete(response_id: str, serves: Serves, owner: Owner) -> Deleted:
    """Forget a response and the memory after it. Later ones keep their own memories; a conversation whose newest one
    it was falls back to the one before."""
    await serves.sessions.delete_turn(owner, checked(response_id, "response"))
    return Deleted(id=response_id, object="response.deleted")


@router.get("/responses/{response_id}/input_items", response_model=ItemList)
async def input_items(response_id: str, serves: Serves, owner: Owner, page: Paging) -> ItemList:
    """The query of a response, or the tool's result in its place."""
    turn = await named(serves, owner, response_id)
    return page.of(asked_items(turn))


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
    parts = await serves.sessions.fragments(turn)
    fragments = None if parts is None else FragmentsReply.model_validate(asdict(parts))
    return ChangeReply(
        response_id=turn.id,
        turn=turn.number,
        layers=len(found),
        slots=len(found[0]),
        change=found,
        fragments=fragments,
    )


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
