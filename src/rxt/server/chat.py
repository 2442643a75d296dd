"""``/v1/chat/completions``: the whole history comes each time; what is known of it already is not read again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from rxt.generation.turn import FinishReason, Token
from rxt.server.chunks import streamed
from rxt.server.likely import ToldToken
from rxt.server.replies import Settings, tokens_read
from rxt.server.requests import ChatRequest, unused_of
from rxt.server.responses import finished
from rxt.server.service import EventStream, Owner, Serves, note_options, unless_gone
from rxt.server.translate import question_of_chat
from rxt.store.records import Call, Turn

router = APIRouter(prefix="/v1/chat", tags=["chat"])


ChatReason = FinishReason | Literal["tool_calls"]


class CompletionDetails(BaseModel):
    """Of which kinds the tokens are."""

    reasoning_tokens: int = 0


class ChatUsage(BaseModel):
    """Tokens that were read and said; of the history nothing is read but what is new."""

    prompt_tokens: int
    completion_tokens: int
    completion_tokens_details: CompletionDetails = Field(default_factory=CompletionDetails)
    total_tokens: int


class ChatFunction(BaseModel):
    """Which function is called, and with what."""

    name: str
    """Empty where the call cannot be read."""
    arguments: str
    """In JSON; where the call cannot be read, all that the model wrote."""


class ChatCall(BaseModel):
    """A tool call, which waits for its result."""

    id: str
    type: Literal["function"] = "function"
    function: ChatFunction
    error: str | None = None
    """In one line, why this is no call of a tool that was offered: it is not to be run."""

    @classmethod
    def of(cls, call: Call) -> Self:
        return cls(id=call.id, function=ChatFunction(name=call.name, arguments=call.arguments), error=call.error)


class ChatMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    """None where there is a call and nothing else."""
    reasoning_content: str | None = None
    """What the model thought."""
    tool_calls: list[ChatCall] | None = None
    refusal: None = None

    @classmethod
    def of(cls, turn: Turn) -> ChatMessage:
        """What was said in a turn."""
        return cls(
            content=turn.answer if turn.answer or turn.call is None else None,
            reasoning_content=turn.think or None,
            tool_calls=None if turn.call is None else [ChatCall.of(turn.call)],
        )


class ChatLogprobs(BaseModel):
    """How likely the tokens were."""

    content: list[ToldToken]
    refusal: None = None


class ChatChoice(BaseModel):
    """There is one."""

    index: int = 0
    message: ChatMessage
    finish_reason: ChatReason
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


class DeltaCall(ChatCall):
    """A call in a stream, where each has its place."""

    index: int = 0


class ChatDelta(BaseModel):
    """What is new."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[DeltaCall] | None = None


class ChunkChoice(BaseModel):
    """There is one."""

    index: int = 0
    delta: ChatDelta
    finish_reason: ChatReason | None = None
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
    has_tools, shared = serves.sessions.template.has_tools, bool(running.draft.user)
    note_options(reply, unused_of(body, has_tools, shared), question)
    if body.stream:
        chunks = ChatChunks(running.draft, serves.options.name, body.tells_usage)
        events = streamed(running, serves.sessions.tokenizer, chunks)
        return EventStream(events, running, serves.options.slow_seconds, reply.headers)
    turn, likely = await unless_gone(request, finished(running, serves.sessions.tokenizer))
    return ChatReply(
        id=chat_id(turn),
        created=int(turn.created),
        model=serves.options.name,
        choices=[
            ChatChoice(
                message=ChatMessage.of(turn),
                finish_reason=ended_by(turn),
                logprobs=ChatLogprobs(content=likely) if body.logprobs else None,
            )
        ],
        usage=usage_of(turn),
        system_fingerprint=turn.fingerprint,
        metadata=Settings.model_validate_json(turn.settings).metadata,
    )


class ChatChunks:
    """The chunks of one answer: thinking, the answer, then a call, which comes whole."""

    def __init__(self, draft: Turn, model: str, usage: bool) -> None:
        self._draft, self._model, self._usage = draft, model, usage

    def beginning(self) -> Iterator[ChatChunk]:
        yield self._chunk(ChatDelta(role="assistant", content=""))

    def piece(self, token: Token, likely: list[ToldToken]) -> Iterator[ChatChunk]:
        if token.thinking:
            yield self._chunk(ChatDelta(reasoning_content=token.thinking))
        if token.text:
            yield self._chunk(ChatDelta(content=token.text), likely=likely)

    def ending(self, turn: Turn, likely: list[ToldToken]) -> Iterator[ChatChunk]:
        if turn.call is not None:
            yield self._chunk(ChatDelta(tool_calls=[DeltaCall.of(turn.call)]))
        yield self._chunk(ChatDelta(), ended_by(turn), likely)
        if self._usage:
            yield self._made([], usage_of(turn))

    def _chunk(
        self, delta: ChatDelta, finish_reason: ChatReason | None = None, likely: list[ToldToken] | None = None
    ) -> ChatChunk:
        logprobs = ChatLogprobs(content=likely) if likely else None
        return self._made([ChunkChoice(delta=delta, finish_reason=finish_reason, logprobs=logprobs)])

    def _made(self, choices: list[ChunkChoice], usage: ChatUsage | None = None) -> ChatChunk:
        return ChatChunk(
            id=chat_id(self._draft),
            created=int(self._draft.created),
            model=self._model,
            choices=choices,
            usage=usage,
            system_fingerprint=self._draft.fingerprint,
        )


def ended_by(turn: Turn) -> ChatReason:
    """Why the answer ended."""
    return "tool_calls" if turn.call is not None and turn.finish_reason == "stop" else turn.finish_reason


def chat_id(turn: Turn) -> str:
    """OpenAI's clients expect another name here."""
    return f"chatcmpl-{turn.id.removeprefix('resp_')}"


def usage_of(turn: Turn) -> ChatUsage:
    """Of one turn."""
    read, said = tokens_read(turn), len(turn.said)
    details = CompletionDetails(reasoning_tokens=turn.thinking_tokens)
    return ChatUsage(
        prompt_tokens=read, completion_tokens=said, completion_tokens_details=details, total_tokens=read + said
    )
