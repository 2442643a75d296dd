"""``/v1/completions``: one message and its answer, in the form of older clients. Nothing of it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from rxt.generation.turn import FinishReason, Token
from rxt.server.chat import ChatUsage, usage_of
from rxt.server.chunks import streamed
from rxt.server.likely import ToldToken
from rxt.server.requests import CompletionRequest, unused_of
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
    note_options(reply, unused_of(body, False, bool(running.draft.user)), question)
    before = body.text if body.echo else ""
    if body.stream:
        chunks = CompletionChunks(running.draft, model, before, body.tells_usage)
        events = streamed(running, sessions.tokenizer, chunks)
        return EventStream(events, running, serves.options.slow_seconds, reply.headers)
    turn, likely = await unless_gone(request, finished(running, sessions.tokenizer))
    choice = CompletionChoice(
        text=before + turn.answer,
        finish_reason=turn.finish_reason,
        logprobs=None if body.logprobs is None else CompletionLogprobs.of(likely, len(before)),
    )
    return CompletionReply.of(turn, model, [choice], used=True)


class CompletionChunks:
    """The chunks of one answer."""

    def __init__(self, draft: Turn, model: str, before: str, usage: bool) -> None:
        """``before`` is said first."""
        self._draft, self._model, self._before, self._usage = draft, model, before, usage
        self._offset = len(before)

    def beginning(self) -> Iterator[CompletionReply]:
        if self._before:
            yield self._chunk(CompletionChoice(text=self._before))

    def piece(self, token: Token, likely: list[ToldToken]) -> Iterator[CompletionReply]:
        if token.text:
            yield self._chunk(CompletionChoice(text=token.text, logprobs=self._logprobs(likely)))
            self._offset += len(token.text)

    def ending(self, turn: Turn, likely: list[ToldToken]) -> Iterator[CompletionReply]:
        yield self._chunk(CompletionChoice(text="", finish_reason=turn.finish_reason, logprobs=self._logprobs(likely)))
        if self._usage:
            yield CompletionReply.of(turn, self._model, [], used=True)

    def _chunk(self, choice: CompletionChoice) -> CompletionReply:
        return CompletionReply.of(self._draft, self._model, [choice], used=False)

    def _logprobs(self, likely: list[ToldToken]) -> CompletionLogprobs | None:
        return CompletionLogprobs.of(likely, self._offset) if likely else None
