"""From requests to questions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from rxt.data.pieces import opening
from rxt.data.template import Template
from rxt.engine.events import Past, Question
from rxt.generation.json_answers import can_be_json
from rxt.generation.sampling import Sampling
from rxt.server.errors import Refused
from rxt.server.replies import TEXT, Settings
from rxt.server.requests import ChatRequest, Common, ConversationName, Format, Item, ResponseRequest
from rxt.store.records import Role

Lookup = Callable[[str], Awaitable[tuple[str, str] | None]]
"""Who said a stored item, and what; None if there is no such item."""
WARNING = "rxt_warning"
"""In the metadata of a reply: what was not done as it was asked."""


@dataclass(frozen=True)
class Heard:
    """One message of a request."""

    role: str
    text: str
    where: str


@dataclass(frozen=True)
class Asked:
    """A message, and what was said before it."""

    instructions: str | None
    history: tuple[Past, ...]
    query: Heard


async def heard(items: Sequence[Item], param: str, lookup: Lookup) -> list[Heard]:
    """The messages among items, in their order; what is referred to is looked up.

    Raises:
        Refused: there is no item that a reference names.
    """
    found: list[Heard] = []
    for index, item in enumerate(items):
        where = f"{param}.{index}"
        if item.is_unread:
            continue
        if item.kind == "item_reference":
            said = await lookup(item.id or "")
            if said is None:
                raise Refused(404, f"there is no item {item.id}", "item_not_found", where)
            found.append(Heard(*said, where))
        elif item.kind == "message":
            found.append(Heard(item.role or "", item.text, where))
        else:
            found.append(Heard("tool", item.text, where))
    return found


def told(messages: Sequence[Heard]) -> tuple[Past, ...]:
    """Who said what to whom: an answer belongs to the message before it.

    A message that nobody has answered is memorized without an answer; so is an answer without a message. What tools say
    is told like a user's messages.
    """
    found: list[Past] = []
    for message in messages:
        if message.role == "assistant":
            before = found[-1] if found else None
            if before is not None and before.role == "user" and not before.answer and before.query:
                found[-1] = replace(before, answer=message.text)
            elif message.text.strip():
                found.append(Past("", message.text, where=message.where))
        elif message.text.strip():
            found.append(Past(message.text, role=_role(message), where=message.where))
    return tuple(found)


def asked(messages: Sequence[Heard], param: str) -> Asked:
    """The last message asks. System messages at the start are instructions; one after the last message is told before
    that is answered, and one that is alone is what is answered.

    Raises:
        Refused: the last one is the model's own.
    """
    last = len(messages) - 1
    while last > 0 and _role(messages[last]) != "user":
        last -= 1
    if not messages or messages[last].role == "assistant":
        where = messages[-1].where if messages else param
        raise Refused(400, "the last message must be the user's: it is what is answered", "invalid_value", where)
    if _role(messages[last]) != "user":
        last = len(messages) - 1
    past = told([*messages[:last], *messages[last + 1 :]])
    system = list(takewhile(lambda each: each.role != "user", past))
    return Asked("\n\n".join(each.query for each in system) or None, past[len(system) :], messages[last])


def _role(message: Heard) -> Role:
    match message.role:
        case "system" | "developer":
            return message.role
    return "user"


async def question_of_response(
    request: ResponseRequest, owner: str, temperature: float, template: Template, lookup: Lookup
) -> Question:
    """``temperature``: where the request has none."""
    if isinstance(request.input, str):
        found = Asked(None, (), Heard("user", request.input, "input"))
    else:
        found = asked(await heard(request.input, "input", lookup), "input")
    if request.previous_response_id is not None and request.conversation is not None:
        raise Refused(400, "previous_response_id and conversation exclude each other", "invalid_value", "conversation")
    if request.conversation is not None and request.store is False:
        raise Refused(400, "a turn of a conversation is always stored; leave store out", "invalid_value", "store")
    given = request.instructions if (request.instructions or "").strip() else None
    instructions = "\n\n".join(text for text in (given, found.instructions) if text is not None) or None
    conversation = request.conversation
    sampling, settings = _settings(
        request, request.form[0], temperature, request.max_output_tokens, _cut(template, instructions)
    )
    return Question(
        owner,
        found.query.text,
        found.history,
        instructions,
        request.previous_response_id,
        conversation.id if isinstance(conversation, ConversationName) else conversation,
        sampling,
        request.max_output_tokens,
        request.store is not False,
        settings,
        found.query.where,
        stop=_stop(request),
        alternatives=request.alternatives,
        schema=_schema(*request.form),
    )


async def question_of_chat(
    request: ChatRequest, owner: str, temperature: float, template: Template, lookup: Lookup
) -> Question:
    """``temperature``: where the request has none."""
    found = asked(await heard(request.messages, "messages", lookup), "messages")
    most = request.max_completion_tokens or request.max_tokens
    sampling, settings = _settings(request, request.form[0], temperature, most, _cut(template, found.instructions))
    return Question(
        owner,
        found.query.text,
        found.history,
        found.instructions,
        None,
        None,
        sampling,
        most,
        request.store is not False,
        settings,
        found.query.where,
        stop=_stop(request),
        alternatives=request.alternatives,
        schema=_schema(*request.form),
    )


def _cut(template: Template, instructions: str | None) -> str | None:
    """A warning where instructions are longer than what is memorized of them."""
    if instructions is None or not (encoded := opening(template, instructions)).cut:
        return None
    return (
        f"the instructions are longer than an interaction: only their first {len(encoded.ids)} tokens were memorized, "
        "markers counted"
    )


def _schema(form: Format | None, param: str) -> str | None:
    schema = None if form is None else form.wanted
    if schema is not None and not can_be_json():
        raise Refused(
            400,
            "answers in JSON need llguidance where the server runs: pip install 'reactive-transformers[json]'",
            "unsupported_value",
            param,
        )
    return schema


def _stop(request: Common) -> tuple[str, ...]:
    return (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())


def _settings(
    request: Common, form: Format | None, default: float, most: int | None, warning: str | None
) -> tuple[Sampling, str]:
    temperature = default if request.temperature is None else request.temperature
    seed = None if request.seed is None else request.seed % 2**63
    sampling = Sampling(
        temperature,
        top_p=request.top_p,
        seed=seed,
        frequency_penalty=request.frequency_penalty or 0.0,
        presence_penalty=request.presence_penalty or 0.0,
    )
    kept = Settings(
        temperature=temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        max_output_tokens=most,
        metadata=(request.metadata or {}) | ({} if warning is None else {WARNING: warning}),
        store=request.store is not False,
        form=TEXT if form is None else form.told,
    )
    return sampling, kept.model_dump_json()
