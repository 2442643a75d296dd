"""From requests to questions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from rxt.data.pieces import opening
from rxt.data.template import Template
from rxt.engine.events import Past, Question
from rxt.generation.json_answers import JSON_EXTRA, can_be_json
from rxt.generation.sampling import Sampling
from rxt.server.brought import CalledFunction, CalledTool, Item
from rxt.server.errors import Refused
from rxt.server.items import CallItem, MessageItem, ReasoningItem, ResultItem
from rxt.server.items import Item as StoredItem
from rxt.server.manners import manner_of
from rxt.server.replies import TEXT, Settings
from rxt.server.requests import ChatRequest, Common, ConversationName, Format, ResponseRequest
from rxt.server.thread import Heard, role_of, told
from rxt.store.records import Call

WARNING = "rxt_warning"
"""In the metadata of a reply: what was not done as it was asked."""


Lookup = Callable[[str], Awaitable[StoredItem | None]]
"""A stored item by its name; None if there is no such item."""


@dataclass(frozen=True)
class Asked:
    """A message, and what was said before it."""

    instructions: str | None
    history: tuple[Past, ...]
    query: Heard


async def heard(items: Sequence[Item], param: str, lookup: Lookup, has_tools: bool) -> list[Heard]:
    """The messages among items, in their order; what is referred to is looked up.

    ``has_tools``: the model has a place for calls and results. Another one is told of results like a user's messages.

    Raises:
        Refused: there is no item that a reference names; a call or a result lacks what belongs to it.
    """
    found: list[Heard] = []
    for index, item in enumerate(items):
        where = f"{param}.{index}"
        if item.is_unread(has_tools):
            continue
        if item.kind == "item_reference":
            stored = await lookup(item.id or "")
            if stored is None:
                raise Refused(404, f"there is no item {item.id}", "item_not_found", where)
            said = _of_stored(stored, where)
        else:
            said = _of_item(item, where)
            if has_tools:
                _refuse_nameless(said, item, where)
        if said is not None:
            found.append(said if has_tools else replace(said, calls=(), result_of=""))
    return found


def _of_item(item: Item, where: str) -> Heard:
    match item.kind:
        case "function_call":
            return Heard("assistant", "", where, (_call(item.call_id, item.name, item.arguments),))
        case "function_call_output":
            return Heard("tool", item.text, where, result_of=item.call_id or "")
        case "message":
            calls = tuple(_call_of(each) for each in item.tool_calls or ())
            result_of = (item.tool_call_id or "") if item.role == "tool" else ""
            return Heard(item.role or "", item.text, where, calls, result_of)
    return Heard("tool", item.text, where)


def _call_of(tool: CalledTool) -> Call:
    function = tool.function or CalledFunction()
    return _call(tool.id, function.name, function.arguments)


def _call(call_id: str | None, name: str | None, arguments: str | None) -> Call:
    return Call(call_id or "", name or "", "{}" if arguments is None else arguments)


def _refuse_nameless(said: Heard, item: Item, where: str) -> None:
    """Of calls and results that cannot be told apart."""
    if not all(call.id for call in said.calls):
        raise Refused(400, "a call of a tool has an id", "missing_required_parameter", where)
    if not said.result_of and (item.kind == "function_call_output" or item.role == "tool"):
        raise Refused(400, "a tool's result names its call", "missing_required_parameter", where)


def _of_stored(item: StoredItem, where: str) -> Heard | None:
    match item:
        case MessageItem():
            return Heard(item.role, item.content[0].text, where)
        case CallItem():
            return Heard("assistant", "", where, (Call(item.call_id, item.name, item.arguments, item.error),))
        case ResultItem():
            return Heard("tool", item.output, where, result_of=item.call_id)
        case ReasoningItem():
            return None


def asked(messages: Sequence[Heard], param: str) -> Asked:
    """The last message, or tool's result, asks. System messages at the start are instructions; one after the last
    message is told before that is answered, and one that is alone is what is answered.

    Raises:
        Refused: the last one is the model's own, or blank; and as :func:`told`.
    """
    last = len(messages) - 1
    while last > 0 and role_of(messages[last]) != "user":
        last -= 1
    if not messages or messages[last].role == "assistant":
        where = messages[-1].where if messages else param
        raise Refused(400, "the last message must be the user's: it is what is answered", "invalid_value", where)
    if role_of(messages[last]) != "user":
        last = len(messages) - 1
    query, others = messages[last], [*messages[:last], *messages[last + 1 :]]
    if query.role == "user" and not query.text.strip():
        raise Refused(400, "the message is empty; write what is to be answered", "invalid_value", query.where)
    if query.result_of:
        *past, final = told([*others, query], asks=True)
        query = Heard("tool", final.query, final.where, result_of=final.result_of)
    else:
        past = list(told(others))
    system = list(takewhile(lambda each: each.role in ("system", "developer"), past))
    return Asked("\n\n".join(each.query for each in system) or None, tuple(past[len(system) :]), query)


async def question_of_response(
    request: ResponseRequest, owner: str, temperature: float, template: Template, lookup: Lookup
) -> Question:
    """``temperature``: where the request has none."""
    if isinstance(request.input, str):
        found = asked([Heard("user", request.input, "input")], "input")
    else:
        found = asked(await heard(request.input, "input", lookup, template.has_tools), "input")
    if request.previous_response_id is not None and request.conversation is not None:
        raise Refused(400, "previous_response_id and conversation exclude each other", "invalid_value", "conversation")
    if request.conversation is not None and request.store is False:
        raise Refused(400, "a turn of a conversation is always stored; leave store out", "invalid_value", "store")
    given = request.instructions if (request.instructions or "").strip() else None
    instructions = "\n\n".join(text for text in (given, found.instructions) if text is not None) or None
    conversation, manner = request.conversation, manner_of(request, request.effort, template)
    sampling, settings = _settings(request, template, temperature, request.max_output_tokens, instructions)
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
        manner=manner,
        result_of=found.query.result_of,
        user=request.asks,
        scope=request.scope,
    )


async def question_of_chat(
    request: ChatRequest, owner: str, temperature: float, template: Template, lookup: Lookup
) -> Question:
    """``temperature``: where the request has none."""
    found = asked(await heard(request.messages, "messages", lookup, template.has_tools), "messages")
    most, manner = request.max_completion_tokens or request.max_tokens, manner_of(request, request.effort, template)
    sampling, settings = _settings(request, template, temperature, most, found.instructions)
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
        manner=manner,
        result_of=found.query.result_of,
        user=request.asks,
        scope=request.scope,
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
            f"answers in JSON need llguidance where the server runs: {JSON_EXTRA}",
            "unsupported_value",
            param,
        )
    return schema


def _stop(request: Common) -> tuple[str, ...]:
    return (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())


def _settings(
    request: ResponseRequest | ChatRequest,
    template: Template,
    default: float,
    most: int | None,
    instructions: str | None,
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
    form, warning, tools = (
        request.form[0],
        _cut(template, instructions),
        (request.tools or []) if template.has_tools else [],
    )
    kept = Settings(
        temperature=temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        max_output_tokens=most,
        metadata=(request.metadata or {}) | ({} if warning is None else {WARNING: warning}),
        store=request.store is not False,
        form=TEXT if form is None else form.told,
        effort=request.effort if template.has_tools else None,
        tools=tools,
        tool_choice=(request.tool_choice or "auto") if tools else "none",
    )
    return sampling, kept.model_dump_json()
