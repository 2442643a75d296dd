"""``/v1/chat/completions``: the whole history comes each time; what is known of it already is not read again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.events import Finished
from rxt.engine.running import Running
from rxt.generation.turn import FinishReason, Token
from rxt.server.errors import body_of, refusal
from rxt.server.likely import ToldToken, told_tokens
from rxt.server.replies import Settings, tokens_read
from rxt.server.requests import ChatRequest, unused_options
from rxt.server.responses import finished
from rxt.server.service import EventStream, Owner, Serves, note_options, unless_gone
from rxt.server.translate import question_of_chat
from rxt.store.records import Turn

router = APIRouter(prefix="/v1/chat", tags=["chat"])


class ChatUsage(BaseModel):
    """Tokens that were read and said; of the history nothing is read but what is new."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatLogprobs(BaseModel):
    """How likely the tokens were."""

    content: list[ToldToken]
    refusal: None = None


class ChatChoice(BaseModel):
    """There is one."""

    index: int = 0
    message: ChatMessage
    finish_reason: FinishReason
    logprobs: ChatLogprobs | None = None


class ChatReply(BaseModel):
    """The whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage
    system_fingerprint: str
    metadata: dict[str, str] = Field(default_factory=dict)


class ChatDelta(BaseModel):
    """What is new."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    """There is one."""

    index: int = 0
    delta: ChatDelta
    finish_reason: FinishReason | None = None
    logprobs: ChatLogprobs | None = None


class ChatChunk(BaseModel):
    """A piece of a streamed answer."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: ChatUsage | None = None
    system_fingerprint: str


@router.post("/completions", response_model=ChatReply)
async def create(
    body: ChatRequest, request: Request, reply: Response, serves: Serves, owner: Owner
) -> Response | ChatReply:
    """Answer the last message. Earlier turns are memorized, and a history that this key has sent before is not read
    again."""
    serves.check_model(body.model)
    question = await question_of_chat(
        body, owner, serves.options.temperature, serves.sessions.template, serves.lookup(owner)
    )
    running = await serves.begin(request, question)
    request.state.turn = running.draft.id
    note_options(reply, unused_options(body), question)
    if body.stream:
        chunks = streamed(running, serves.options.name, serves.sessions.tokenizer, body.tells_usage)
        return EventStream(chunks, running, serves.options.slow_seconds, reply.headers)
    turn, likely = await unless_gone(request, finished(running, serves.sessions.tokenizer))
    return ChatReply(
        id=chat_id(turn),
        created=int(turn.created),
        model=serves.options.name,
        choices=[
            ChatChoice(
                message=ChatMessage(content=turn.answer),
                finish_reason=turn.finish_reason,
                logprobs=ChatLogprobs(content=likely) if body.logprobs else None,
            )
        ],
        usage=usage_of(turn),
        system_fingerprint=turn.fingerprint,
        metadata=Settings.model_validate_json(turn.settings).metadata,
    )


async def streamed(running: Running, model: str, tokenizer: ChatTokenizer, usage: bool) -> AsyncGenerator[str, None]:
    """The chunks of an answer."""
    draft, likely = running.draft, list[ToldToken]()

    def chunk(choices: list[ChunkChoice], used: ChatUsage | None = None) -> str:
        made = ChatChunk(
            id=chat_id(draft),
            created=int(draft.created),
            model=model,
            choices=choices,
            usage=used,
            system_fingerprint=draft.fingerprint,
        )
        return f"data: {made.model_dump_json()}\n\n"

    yield chunk([ChunkChoice(delta=ChatDelta(role="assistant", content=""))])
    try:
        async for news in running.events():
            match news:
                case Token(text):
                    likely += told_tokens(tokenizer, news)
                    if text:
                        logprobs, likely = ChatLogprobs(content=likely) if likely else None, []
                        yield chunk([ChunkChoice(delta=ChatDelta(content=text), logprobs=logprobs)])
                case Finished(turn):
                    logprobs = ChatLogprobs(content=likely) if likely else None
                    yield chunk([ChunkChoice(delta=ChatDelta(), finish_reason=turn.finish_reason, logprobs=logprobs)])
                    if usage:
                        yield chunk([], usage_of(turn))
                    break
    except Exception as error:
        yield f"data: {body_of(refusal(error)).model_dump_json()}\n\n"
        return
    yield "data: [DONE]\n\n"


def chat_id(turn: Turn) -> str:
    """OpenAI's clients expect another name here."""
    return f"chatcmpl-{turn.id.removeprefix('resp_')}"


def usage_of(turn: Turn) -> ChatUsage:
    """Of one turn."""
    read, said = tokens_read(turn), len(turn.said)
    return ChatUsage(prompt_tokens=read, completion_tokens=said, total_tokens=read + said)
