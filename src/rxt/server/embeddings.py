"""``/v1/embeddings``: texts as vectors, by the encoder alone; no memory is read or changed."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, field_validator

from rxt.engine.scheduler import Stopped
from rxt.errors import UserError
from rxt.model.encoder import without_memory
from rxt.server.brought import UNUSED, Name, Strict, Text, unused_options
from rxt.server.errors import Refused
from rxt.server.requests import Most
from rxt.server.service import Owner, Serves, Service, unless_gone
from rxt.understanding.embeddings import pooled
from rxt.understanding.text_encoder import TextEncoder

router = APIRouter(prefix="/v1", tags=["embeddings"])

MOST_TEXTS = 2048


class EmbeddingRequest(Strict):
    """``POST /v1/embeddings``."""

    input: Text | Annotated[list[Text], Field(min_length=1, max_length=MOST_TEXTS)]
    model: Name | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Most | None = None
    user: Annotated[Name | None, UNUSED] = None

    @field_validator("input", mode="before")
    @classmethod
    def _texts(cls, value: object) -> object:
        """Clients that tokenize do it with another model's tokens, which would mean other words here."""
        if isinstance(value, list) and value and isinstance(value[0], int | list):
            raise ValueError("tokens of another tokenizer mean nothing here; send texts")
        return value


class EmbeddingItem(BaseModel):
    """One text's: D numbers, or their little-endian float32 bytes in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """In the order of the texts."""

    object: Literal["list"] = "list"
    data: list[EmbeddingItem]
    model: str
    usage: EmbeddingUsage


@router.post("/embeddings", response_model=EmbeddingList)
async def create(
    body: EmbeddingRequest, request: Request, reply: Response, serves: Serves, owner: Owner
) -> EmbeddingList:
    """The mean over all tokens of the encoder's last layer, for each text."""
    serves.check_model(body.model)
    width = serves.sessions.engine.model.encoder.config.width
    if body.dimensions not in (None, width):
        raise Refused(400, f"embeddings of this model have {width} dimensions", "invalid_value", "dimensions")
    if serves.sessions.draining:
        raise Stopped("the server is stopping")
    texts = [body.input] if isinstance(body.input, str) else body.input
    work = partial(embedded, serves, texts, body.encoding_format == "base64")
    items, read = await unless_gone(request, asyncio.get_running_loop().run_in_executor(serves.aside, work))
    if unused := unused_options(body):
        reply.headers["X-Rxt-Unused"] = ", ".join(unused)
    usage = EmbeddingUsage(prompt_tokens=read, total_tokens=read)
    return EmbeddingList(data=items, model=serves.options.name, usage=usage)


def embedded(serves: Service, texts: Sequence[str], as_bytes: bool) -> tuple[list[EmbeddingItem], int]:
    """The embeddings of texts, and how many tokens were read. Blocks; an empty or too long text is refused by place."""
    reader = TextEncoder(without_memory(serves.sessions.engine.model.encoder), serves.sessions.tokenizer)
    sequences: list[list[int]] = []
    for index, text in enumerate(texts):
        try:
            sequences.append(reader.ids(text))
        except UserError as error:
            where = "input" if len(texts) == 1 else f"input.{index}"
            code = "context_length_exceeded" if text.strip() else "invalid_value"
            raise Refused(400, str(error), code, where) from None
    vectors = pooled(reader, sequences).numpy()
    items = [
        EmbeddingItem(
            index=index,
            embedding=base64.b64encode(row.astype("<f4").tobytes()).decode() if as_bytes else row.tolist(),
        )
        for index, row in enumerate(vectors)
    ]
    return items, sum(map(len, sequences))
