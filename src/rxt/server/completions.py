"""``/v1/completions``: one message and its answer, in the form of older clients. Nothing of it is kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from rxt.engine.events import Finished
from rxt.engine.running import Running
from rxt.generation.turn import FinishReason, Token
from rxt.server.chat import ChatUsage, usage_of
from rxt.server.errors import body_of, refusal
from rxt.server.likely import ToldToken, told_tokens
from rxt.server.requests import CompletionRequest, unused_options
from rxt.server.responses import finished
from rxt.server.service import EventStream, Owner, Serves, note_options, unless_gone
from rxt.server.translate import question_of_chat
from rxt.store.records import Turn

router = APIRouter(prefix="/v1", tags=["chat"])


class CompletionLogprobs(BaseModel):
    """How likely the tokens were, in lists beside each other."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]
    """Characters of the answer before each token."""

    @classmethod
    def of(cls, told: list[ToldToken], offset: int = 0) -> CompletionLogprobs:
        """``offset``: characters before the first token."""
        offsets = list[int]()
        for each in told:
            offsets.append(offset)
            offset += len(each.token)
        return cls(
            tokens=[each.token for each in told],
            token_logprobs=[each.logprob for each in told],
            top_logprobs=[{other.token: other.logprob for other in each.top_logprobs} for each in told],
            text_offset=offsets,
        )


class CompletionChoice(BaseModel):
    """There is one."""

    index: int = 0
    text: str
    finish_reason: FinishReason | None = None
    logprobs: CompletionLogprobs | None = None


class CompletionReply(BaseModel):
    """The whole answer, or a piece of a streamed one."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: ChatUsage | None = None
    system_fingerprint: str

    @classmethod
    def of(cls, turn: Turn, model: str, choices: list[CompletionChoice], used: bool) -> CompletionReply:
        """``used``: tell how many tokens were read and said."""
        return cls(
            id=f"cmpl-{turn.id.removeprefix('resp_')}",
            created=int(turn.created),
            model=model,
            choices=choices,
            usage=usage_of(turn) if used else None,
            system_fingerprint=turn.fingerprint,
        )


@router.post("/completions", response_model=CompletionReply)
async def create(
    body: CompletionRequest, request: Request, reply: Response, serves: Serves, owner: Owner
) -> Response | CompletionReply:
    """Answer a prompt as the first message of a conversation."""
    serves.check_model(body.model)
    sessions, model = serves.sessions, serves.options.name
    question = await question_of_chat(
        body.as_chat(), owner, serves.options.temperature, sessions.template, serves.lookup(owner)
    )
    running = await serves.begin(request, question)
    request.state.turn = running.draft.id
    note_options(reply, unused_options(body), question)
    before = body.text if body.echo else ""
    if body.stream:
        chunks = streamed(serves, running, before, body.tells_usage)
        return EventStream(chunks, running, serves.options.slow_seconds, reply.headers)
    turn, likely = await unless_gone(request, finished(running, sessions.tokenizer))
    choice = CompletionChoice(
        text=before + turn.answer,
        finish_reason=turn.finish_reason,
        logprobs=None if body.logprobs is None else CompletionLogprobs.of(likely, len(before)),
    )
    return CompletionReply.of(turn, model, [choice], used=True)


async def streamed(serves: Serves, running: Running, before: str, usage: bool) -> AsyncGenerator[str, None]:
    """The chunks of an answer; ``before`` is said first."""
    draft, likely, offset = running.draft, list[ToldToken](), len(before)

    def chunk(turn: Turn, choices: list[CompletionChoice], used: bool = False) -> str:
        return f"data: {CompletionReply.of(turn, serves.options.name, choices, used).model_dump_json()}\n\n"

    try:
        if before:
            yield chunk(draft, [CompletionChoice(text=before)])
        async for news in running.events():
            match news:
                case Token(text):
                    likely += told_tokens(serves.sessions.tokenizer, news)
                    if text:
                        logprobs = CompletionLogprobs.of(likely, offset) if likely else None
                        yield chunk(draft, [CompletionChoice(text=text, logprobs=logprobs)])
                        offset, likely = offset + len(text), []
                case Finished(turn):
                    logprobs = CompletionLogprobs.of(likely, offset) if likely else None
                    last = CompletionChoice(text="", finish_reason=turn.finish_reason, logprobs=logprobs)
                    yield chunk(turn, [last])
                    if usage:
                        yield chunk(turn, [], used=True)
                    break
    except Exception as error:
        yield f"data: {body_of(refusal(error)).model_dump_json()}\n\n"
        return
    yield "data: [DONE]\n\n"
