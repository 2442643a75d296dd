"""Tokens and their log-probabilities, in the shapes that OpenAI's clients read."""

from __future__ import annotations

from pydantic import BaseModel, Field

from rxt.data.tokenizer import ChatTokenizer
from rxt.generation.text_stream import REPLACEMENT
from rxt.generation.turn import Token


class LikelyToken(BaseModel):
    """A token that might have come."""

    token: str
    logprob: float
    bytes: list[int] | None
    """Of its text; none where it is a part of a character."""


class ToldToken(LikelyToken):
    """A token that came."""

    top_logprobs: list[LikelyToken] = Field(default_factory=list)


def told_tokens(tokenizer: ChatTokenizer, token: Token) -> list[ToldToken]:
    """A token of the answer with its likelihood; nothing where nobody asked for it, and of the one that ends it."""
    if token.likelihood is None or token.id == tokenizer.tokens.eos or token.part != "answer":
        return []

    def spelled(index: int, log_probability: float) -> LikelyToken:
        text = tokenizer.spell([index]) or (tokenizer.piece(index) or "")
        return LikelyToken(
            token=text, logprob=log_probability, bytes=None if REPLACEMENT in text else list(text.encode())
        )

    own = spelled(token.id, token.likelihood.log_probability)
    top = [spelled(*each) for each in token.likelihood.alternatives]
    return [ToldToken(token=own.token, logprob=own.logprob, bytes=own.bytes, top_logprobs=top)]
