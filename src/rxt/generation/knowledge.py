"""What conversations may know from their beginning: texts and talks, read into a pool of fragments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rxt.data.encoding import encode_conversation
from rxt.data.pieces import in_pieces
from rxt.data.records import Conversation
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.generation.pool_turn import PreparedPool
from rxt.model.mixture_of_memory import router_of
from rxt.model.pool import Pool
from rxt.model.reactive import ReactiveTransformer


def knowledge_of(model: ReactiveTransformer, read: Iterable[Sequence[int]], seed: int = 0) -> Pool:
    """Interactions (token ids), read one after another by a model with a pool: the fragments that they make.

    Raises:
        UserError: the model keeps no fragments, or there is nothing to read.
    """
    router_of(model)
    prepared = PreparedPool.fresh(model.eval(), seed)
    for ids in read:
        prepared = prepared.for_query(model, ids).after(model, ids)
    if not prepared.pool.turns:
        raise UserError("there is nothing to read, so there is no knowledge")
    return prepared.pool.as_knowledge()


def interactions_of_text(template: Template, text: str) -> Iterator[list[int]]:
    """A text as messages that nobody answers, as few as it fits into."""
    pieces = in_pieces(template, text)
    yield from (list(ids) for ids in pieces.lead)
    yield template.complete(list(pieces.prompt), [])


def interactions_of_conversation(template: Template, conversation: Conversation) -> Iterator[list[int]]:
    """A conversation turn by turn, its system prompt first; what is too long is cut."""
    yield from (encoded.ids for encoded in encode_conversation(conversation, template))
