"""A streamed answer as chunks, in the order that both chat completions and completions have."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Protocol

from pydantic import BaseModel

from rxt.data.tokenizer import ChatTokenizer
from rxt.engine.events import Finished
from rxt.engine.running import Running
from rxt.generation.turn import Token
from rxt.server.errors import body_of, refusal
from rxt.server.likely import ToldToken, told_tokens
from rxt.store.records import Turn


class Chunks(Protocol):
    """One API's form of them."""

    def beginning(self) -> Iterator[BaseModel]:
        """Before the first token."""
        ...

    def piece(self, token: Token, likely: list[ToldToken]) -> Iterator[BaseModel]:
        """Of text that became certain with a token; ``likely``: the tokens that it is made of, where asked for."""
        ...

    def ending(self, turn: Turn, likely: list[ToldToken]) -> Iterator[BaseModel]:
        """Of the whole; ``likely``: tokens at its end without a text."""
        ...


async def streamed(running: Running, tokenizer: ChatTokenizer, chunks: Chunks) -> AsyncGenerator[str, None]:
    """The chunks of an answer, as server-sent events."""
    likely: list[ToldToken] = []
    try:
        for chunk in chunks.beginning():
            yield _event(chunk)
        async for news in running.events():
            match news:
                case Token():
                    likely += told_tokens(tokenizer, news)
                    for chunk in chunks.piece(news, likely):
                        yield _event(chunk)
                    likely = [] if news.text else likely
                case Finished(turn):
                    for chunk in chunks.ending(turn, likely):
                        yield _event(chunk)
                    break
    except Exception as error:
        yield _event(body_of(refusal(error)))
        return
    yield "data: [DONE]\n\n"


def _event(chunk: BaseModel) -> str:
    return f"data: {chunk.model_dump_json()}\n\n"
