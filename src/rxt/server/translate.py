"""From requests to questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rxt.engine.events import Question
from rxt.generation.sampling import Sampling
from rxt.server.errors import Refused
from rxt.server.replies import Settings
from rxt.server.requests import ChatRequest, Common, Message, ResponseRequest


@dataclass(frozen=True)
class Told:
    """Messages, sorted."""

    instructions: str | None
    history: tuple[tuple[str, str], ...]
    query: str | None
    """The last message, where it is the user's."""


def sort_messages(messages: Sequence[Message], param: str) -> Told:
    """System messages first, then the user and the model in turn."""
    system: list[str] = []
    history: list[tuple[str, str]] = []
    query: str | None = None
    for index, message in enumerate(messages):
        match message.role:
            case "system" | "developer":
                if history or query is not None:
                    raise Refused(
                        400,
                        "system messages come first: they are memorized once, at the start",
                        "invalid_value",
                        f"{param}.{index}",
                    )
                system.append(message.text)
            case "user":
                if query is not None:
                    raise Refused(
                        400, "two user messages in a row; put them into one", "invalid_value", f"{param}.{index}"
                    )
                query = message.text
            case "assistant":
                if query is None:
                    raise Refused(
                        400,
                        "an assistant message without a user message before it",
                        "invalid_value",
                        f"{param}.{index}",
                    )
                history.append((query, message.text))
                query = None
    return Told("\n\n".join(system) if system else None, tuple(history), query)


def question_of_response(request: ResponseRequest, owner: str, temperature: float) -> Question:
    """``temperature``: where the request has none."""
    told = Told(None, (), request.input) if isinstance(request.input, str) else sort_messages(request.input, "input")
    query = _last(told, "input")
    if request.previous_response_id is not None and request.conversation is not None:
        raise Refused(400, "previous_response_id and conversation exclude each other", "invalid_value", "conversation")
    if request.conversation is not None and request.store is False:
        raise Refused(400, "a turn of a conversation is always stored; leave store out", "invalid_value", "store")
    instructions = "\n\n".join(text for text in (request.instructions, told.instructions) if text is not None)
    conversation = (
        request.conversation
        if request.conversation is None or isinstance(request.conversation, str)
        else request.conversation.id
    )
    sampling, settings = _settings(request, temperature, request.max_output_tokens, None)
    return Question(
        owner,
        query,
        told.history,
        instructions or None,
        request.previous_response_id,
        conversation,
        sampling,
        request.max_output_tokens,
        request.store is not False,
        settings,
    )


def question_of_chat(request: ChatRequest, owner: str, temperature: float) -> Question:
    """``temperature``: where the request has none."""
    told = sort_messages(request.messages, "messages")
    most = request.max_completion_tokens or request.max_tokens
    sampling, settings = _settings(request, temperature, most, request.seed)
    keep = request.store is not False
    return Question(
        owner,
        _last(told, "messages"),
        told.history,
        told.instructions or None,
        None,
        None,
        sampling,
        most,
        keep,
        settings,
    )


def _last(told: Told, param: str) -> str:
    if told.query is None:
        raise Refused(400, "the last message must be the user's: it is what is answered", "invalid_value", param)
    return told.query


def _settings(request: Common, default: float, most: int | None, seed: int | None) -> tuple[Sampling, str]:
    temperature = default if request.temperature is None else request.temperature
    sampling = Sampling(temperature, top_p=request.top_p, seed=seed)
    kept = Settings(
        temperature=temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        max_output_tokens=most,
        metadata=request.metadata or {},
        store=request.store is not False,
    )
    return sampling, kept.model_dump_json()
