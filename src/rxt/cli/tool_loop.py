"""Running what a model calls, until it has answered."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from rxt.errors import UserError

if TYPE_CHECKING:
    from rxt.generation.conversation import Conversation, Event
    from rxt.tools.builtin import ToolBox
    from rxt.tools.tool import ToolCall

MOST_CALLS = 8
"""That are run for one message: a model may call without end."""
TOO_LONG = "error: the result is too long"


def answer(chat: Conversation, query: str, tools: ToolBox | None) -> str:
    """All that the model answers to a message, its calls being run meanwhile."""
    from rxt.generation.conversation import Answered

    said = [chat.ask(query)]
    for call, result in results(chat, tools):
        with closing(reply_to(chat, call, result)) as events:
            said += [next(event.text for event in events if isinstance(event, Answered))]
    return " ".join(text for text in said if text)


def results(chat: Conversation, tools: ToolBox | None) -> Iterator[tuple[ToolCall, str]]:
    """The calls that the model makes, one after another, and what comes of each: its result is to be given before the
    next one is asked for."""
    for _ in range(MOST_CALLS):
        call = chat.call
        if tools is None or call is None:
            return
        yield call, tools.run(call)


def reply_to(chat: Conversation, call: ToolCall, result: str) -> Generator[Event, None, None]:
    """The model's reply to a result; it is told where one is longer than it can read."""
    try:
        return chat.stream_result(call.id, result)
    except UserError:
        return chat.stream_result(call.id, TOO_LONG)
