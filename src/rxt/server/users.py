"""``/v1/users``: memories that all conversations of one user share."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from rxt.server.replies import Deleted, UserMemoryList, UserMemoryReply, UserReply
from rxt.server.responses import MEMORY_TYPE
from rxt.server.service import Owner, Serves

router = APIRouter(prefix="/v1/users", tags=["memory"])


@router.get("", response_model=UserMemoryList)
async def listed(serves: Serves, owner: Owner) -> UserMemoryList:
    """Users who have a memory, the one that was told to last first."""
    users = serves.sessions.users
    found = [
        UserReply(id=each.user, created_at=int(each.created), updated_at=int(each.updated))
        for each in await users.all(owner)
    ]
    return UserMemoryList(data=found, possible=users.possible)


@router.get("/{user:path}/memory/file", response_class=Response)
async def file(user: str, serves: Serves, owner: Owner) -> Response:
    """The memory of a user, as a safetensors file."""
    sessions = serves.sessions
    content = sessions.memories.stored.file(await sessions.users.pool(owner, user))
    headers = {"Content-Disposition": 'attachment; filename="user.memory"'}
    return Response(content, media_type=MEMORY_TYPE, headers=headers)


@router.put("/{user:path}/memory/file", response_model=UserMemoryReply)
async def bring(user: str, request: Request, serves: Serves, owner: Owner) -> UserMemoryReply:
    """Begin the memory of a user with the fragments of such a file, which is the body."""
    await serves.sessions.users.bring(owner, user, await request.body())
    return await retrieve(user, serves, owner)


@router.get("/{user:path}/memory", response_model=UserMemoryReply)
async def retrieve(user: str, serves: Serves, owner: Owner) -> UserMemoryReply:
    """How much there is of a user's memory."""
    users = serves.sessions.users
    prepared, memory = await users.pool(owner, user), await users.memory(owner, user)
    return UserMemoryReply(
        id=user,
        created_at=int(memory.created),
        updated_at=int(memory.updated),
        turns=prepared.pool.turns,
        fragments=len(prepared.pool.fragments),
        fingerprint=memory.fingerprint,
    )


@router.delete("/{user:path}/memory", response_model=Deleted)
async def delete(user: str, serves: Serves, owner: Owner) -> Deleted:
    """Forget a user's memory, and every response and conversation that was told to it."""
    await serves.sessions.users.delete(owner, user)
    return Deleted(id=user, object="rxt.user_memory.deleted")
