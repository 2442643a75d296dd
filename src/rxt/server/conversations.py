"""``/v1/conversations``."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request, Response

from rxt.engine.events import NotThere
from rxt.engine.starts import PartOfTurn
from rxt.server.errors import Refused
from rxt.server.items import AnyItem, CallItem, Item, MessageItem, ReasoningItem, items_of
from rxt.server.paging import Limit, Page, Paging, items_page
from rxt.server.replies import (
    ConversationList,
    ConversationReply,
    Deleted,
    ItemList,
    conversation_of,
)
from rxt.server.requests import ConversationRequest, ForkRequest, ItemsRequest, MetadataRequest
from rxt.server.responses import MEMORY_TYPE
from rxt.server.service import Owner, Serves, Service, checked
from rxt.server.thread import told
from rxt.server.translate import heard
from rxt.store.records import Dialogue, Turn

router = APIRouter(prefix="/v1/conversations", tags=["conversations"])
MOST_LISTED = 10_000


@router.post("", response_model=ConversationReply)
async def create(serves: Serves, owner: Owner, body: ConversationRequest | None = None) -> ConversationReply:
    """Begin a conversation. ``items``: what was said before; it is memorized as it is."""
    body = body or ConversationRequest()
    past = told(await heard(body.items or [], "items", serves.lookup(owner), serves.sessions.template.has_tools))
    dialogue = await serves.sessions.new_dialogue(owner, body.metadata or {})
    if past:
        try:
            await serves.sessions.bring(owner, dialogue.id, past)
        except BaseException:
            await serves.sessions.delete_dialogue(owner, dialogue.id)
            raise
    return conversation_of(await named(serves, owner, dialogue.id))


@router.get("", response_model=ConversationList)
async def listed(
    serves: Serves, owner: Owner, limit: Limit = 100, after: str | None = None, before: str | None = None
) -> ConversationList:
    """Conversations, the one that was used last first."""
    all_of_them = await serves.sessions.io(serves.sessions.store.dialogues, owner, MOST_LISTED)
    part, more = Page(limit, "asc", after, before).part(all_of_them)
    names = (part[0].id, part[-1].id) if part else (None, None)
    shown = [conversation_of(dialogue) for dialogue in part]
    return ConversationList(data=shown, first_id=names[0], last_id=names[1], has_more=more)


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
    """Forget a conversation and everything that was said in it, but for what a fork goes on from."""
    await serves.sessions.delete_dialogue(owner, checked(conversation_id, "conversation"))
    return Deleted(id=conversation_id, object="conversation.deleted")


@router.get("/{conversation_id}/items", response_model=ItemList)
async def items(conversation_id: str, serves: Serves, owner: Owner, page: Paging) -> ItemList:
    """What was said, the newest first unless ``order`` is ``asc``; ``after`` and ``before`` name items."""
    dialogue = await named(serves, owner, conversation_id)
    chain = await serves.sessions.io(serves.sessions.store.chain, dialogue.head, owner)
    return page.of([item for turn in chain for item in items_of(turn)])


@router.post("/{conversation_id}/items", response_model=ItemList)
async def add_items(conversation_id: str, body: ItemsRequest, serves: Serves, owner: Owner) -> ItemList:
    """Memorize messages as the next turns of a conversation."""
    name = checked(conversation_id, "conversation")
    past = told(await heard(body.items, "items", serves.lookup(owner), serves.sessions.template.has_tools))
    if not past:
        raise Refused(400, "none of these items says anything", "invalid_value", "items")
    await serves.sessions.bring(owner, name, past)
    dialogue = await named(serves, owner, name)
    chain = await serves.sessions.io(serves.sessions.store.chain, dialogue.head, owner, len(past))
    return items_page([item for turn in chain for item in items_of(turn)], False)


@router.get("/{conversation_id}/items/{item_id}", response_model=AnyItem)
async def item(conversation_id: str, item_id: str, serves: Serves, owner: Owner) -> Item:
    """One item."""
    return (await placed(serves, owner, conversation_id, item_id))[1]


@router.delete("/{conversation_id}/items/{item_id}", response_model=ConversationReply)
async def delete_item(conversation_id: str, item_id: str, serves: Serves, owner: Owner) -> ConversationReply:
    """Have a conversation go on as if an item had not been said: what came after it is memorized anew.

    The response that it belongs to stays, for those who go on from it by its name; ``DELETE /v1/responses/{id}``
    forgets it.
    """
    turn, found = await placed(serves, owner, conversation_id, item_id)
    return conversation_of(await serves.sessions.unsay(owner, conversation_id, turn.id, part_of(found)))


def part_of(item: Item) -> PartOfTurn:
    """The part of its turn that an item is."""
    match item:
        case MessageItem(role="assistant"):
            return "answer"
        case ReasoningItem():
            return "think"
        case CallItem():
            return "call"
    return "query"


async def placed(serves: Service, owner: str, conversation_id: str, item_id: str) -> tuple[Turn, Item]:
    """An item of a conversation, and the turn that it belongs to."""
    dialogue = await named(serves, owner, conversation_id)
    for turn in await serves.sessions.io(serves.sessions.store.chain, dialogue.head, owner):
        for found in items_of(turn):
            if found.id == item_id:
                return turn, found
    raise NotThere("item", item_id[:100])


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


async def named(serves: Service, owner: str, name: str) -> Dialogue:
    """A conversation of this owner."""
    return await serves.sessions.dialogue(owner, checked(name, "conversation"))
