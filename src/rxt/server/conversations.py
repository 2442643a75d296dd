"""``/v1/conversations``."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from rxt.server.errors import Refused
from rxt.server.replies import (
    ConversationList,
    ConversationReply,
    Deleted,
    ItemList,
    MessageItem,
    conversation_of,
    items_of,
)
from rxt.server.requests import ConversationRequest, ForkRequest, ItemsRequest, MetadataRequest
from rxt.server.responses import MEMORY_TYPE
from rxt.server.service import Owner, Serves, Service, checked
from rxt.server.translate import sort_messages
from rxt.store.records import Dialogue

router = APIRouter(prefix="/v1/conversations", tags=["conversations"])
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.post("", response_model=ConversationReply)
async def create(serves: Serves, owner: Owner, body: ConversationRequest | None = None) -> ConversationReply:
    """Begin a conversation. ``items``: what was said before; it is memorized as it is."""
    body = body or ConversationRequest()
    told = sort_messages(body.items or [], "items")
    if told.query is not None or (told.instructions is not None and not told.history):
        raise Refused(400, "items are pairs: a user message and the assistant's answer", "invalid_value", "items")
    dialogue = await serves.sessions.new_dialogue(owner, body.metadata or {})
    if told.history:
        try:
            await serves.sessions.bring(owner, dialogue.id, told.history, told.instructions)
        except BaseException:
            await serves.sessions.delete_dialogue(owner, dialogue.id)
            raise
    return conversation_of(await named(serves, owner, dialogue.id))


@router.get("", response_model=ConversationList)
async def listed(serves: Serves, owner: Owner, limit: Limit = 100) -> ConversationList:
    """Conversations, the one that was used last first."""
    found = await serves.sessions.io(serves.sessions.store.dialogues, owner, limit)
    return ConversationList(data=[conversation_of(dialogue) for dialogue in found])


@router.get("/{conversation_id}", response_model=ConversationReply)
async def retrieve(conversation_id: str, serves: Serves, owner: Owner) -> ConversationReply:
    """One conversation."""
    return conversation_of(await named(serves, owner, conversation_id))


@router.post("/{conversation_id}", response_model=ConversationReply)
async def update(conversation_id: str, body: MetadataRequest, serves: Serves, owner: Owner) -> ConversationReply:
    """Change what is noted with a conversation."""
    changed = replace(await named(serves, owner, conversation_id), metadata=body.metadata)
    await serves.sessions.io(serves.sessions.store.put, changed)
    return conversation_of(changed)


@router.delete("/{conversation_id}", response_model=Deleted)
async def delete(conversation_id: str, serves: Serves, owner: Owner) -> Deleted:
    """Forget a conversation and everything that was said in it. Forks of it keep their memories."""
    await serves.sessions.delete_dialogue(owner, checked(conversation_id, "conversation"))
    return Deleted(id=conversation_id, object="conversation.deleted")


@router.get("/{conversation_id}/items", response_model=ItemList)
async def items(
    conversation_id: str,
    serves: Serves,
    owner: Owner,
    limit: Limit = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
) -> ItemList:
    """What was said, the newest first unless ``order`` is ``asc``; ``after``: the last item of the page before."""
    dialogue = await named(serves, owner, conversation_id)
    chain = await serves.sessions.io(serves.sessions.store.chain, dialogue.head, owner)
    found = [item for turn in chain for item in items_of(turn)]
    return paged(found if order == "asc" else found[::-1], limit, after)


@router.post("/{conversation_id}/items", response_model=ItemList)
async def add_items(conversation_id: str, body: ItemsRequest, serves: Serves, owner: Owner) -> ItemList:
    """Memorize pairs of messages as the next turns of a conversation."""
    told = sort_messages(body.items, "items")
    if told.query is not None or not told.history:
        raise Refused(400, "items are pairs: a user message and the assistant's answer", "invalid_value", "items")
    name = checked(conversation_id, "conversation")
    await serves.sessions.bring(owner, name, told.history, told.instructions)
    dialogue = await named(serves, owner, name)
    chain = await serves.sessions.io(serves.sessions.store.chain, dialogue.head, owner, len(told.history))
    return paged([item for turn in chain for item in items_of(turn)], 2 * len(chain) or 1, None)


@router.post("/{conversation_id}/fork", response_model=ConversationReply)
async def fork(
    conversation_id: str, serves: Serves, owner: Owner, body: ForkRequest | None = None
) -> ConversationReply:
    """A second conversation that goes on from here, or from the response ``response_id``."""
    body = body or ForkRequest()
    dialogue = await named(serves, owner, conversation_id)
    head = dialogue.head if body.response_id is None else checked(body.response_id, "response")
    metadata = dialogue.metadata if body.metadata is None else body.metadata
    return conversation_of(await serves.sessions.new_dialogue(owner, metadata, head))


@router.post("/{conversation_id}/reset", response_model=ConversationReply)
async def reset(conversation_id: str, serves: Serves, owner: Owner) -> ConversationReply:
    """Begin again with a fresh memory, under the same name."""
    return conversation_of(await serves.sessions.move(owner, checked(conversation_id, "conversation"), None))


@router.get("/{conversation_id}/memory", response_class=Response, tags=["memory"])
async def memory(conversation_id: str, serves: Serves, owner: Owner) -> Response:
    """The memory of a conversation, as a safetensors file."""
    dialogue = await named(serves, owner, conversation_id)
    if dialogue.head is None:
        raise Refused(409, "nothing has been said in this conversation yet, so it has no memory", "memory_empty")
    content = await serves.sessions.export_memory(await serves.sessions.turn(owner, dialogue.head))
    return Response(
        content, media_type=MEMORY_TYPE, headers={"Content-Disposition": f'attachment; filename="{dialogue.id}.memory"'}
    )


@router.put("/{conversation_id}/memory", response_model=ConversationReply, tags=["memory"])
async def bring_memory(conversation_id: str, request: Request, serves: Serves, owner: Owner) -> ConversationReply:
    """Go on from the memory in a file, which is the body."""
    name = checked(conversation_id, "conversation")
    await named(serves, owner, name)
    turn = await serves.sessions.import_memory(owner, await request.body())
    return conversation_of(await serves.sessions.move(owner, name, turn.id))


def paged(found: list[MessageItem], limit: int, after: str | None) -> ItemList:
    """The part of a list that begins after an item."""
    start = next((index + 1 for index, item in enumerate(found) if item.id == after), len(found)) if after else 0
    part = found[start : start + limit]
    names = (part[0].id, part[-1].id) if part else (None, None)
    return ItemList(data=part, first_id=names[0], last_id=names[1], has_more=start + limit < len(found))


async def named(serves: Service, owner: str, name: str) -> Dialogue:
    """A conversation of this owner."""
    return await serves.sessions.dialogue(owner, checked(name, "conversation"))
