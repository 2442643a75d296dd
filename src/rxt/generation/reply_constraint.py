"""What holds of a reply, from how it is asked for: of thinking, of an answer in JSON, and of a tool call."""

from __future__ import annotations

from collections.abc import Sequence

from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.generation.constraint import Constraint
from rxt.generation.json_answers import JSON_EXTRA, JsonAnswer, can_be_json, json_grammar
from rxt.generation.manner import Manner
from rxt.generation.parts_constraint import PartsConstraint, schema_of_calls
from rxt.generation.turn import OpenTurn
from rxt.tools.tool import Tool


def reply_constraint(
    turn: OpenTurn, vocab_size: int, schema: str | None = None, apart: bool = False
) -> Constraint | None:
    """The constraint of one reply; it is for this one alone.

    Args:
        vocab_size: V of the model.
        schema: of the answer, in JSON.
        apart: also where nothing else is asked for, no part has another's markers in it.

    Raises:
        UserError: a schema is wrong, or says what the grammar does not know; the package for it is missing.
    """
    template, manner = turn.template, turn.manner
    form = None if schema is None else json_grammar(template.tokenizer, vocab_size).begin(schema, turn.limit)
    if not template.has_tools:
        return form
    call = call_form(manner, turn.offered, template.tokenizer, vocab_size, turn.limit)
    calls = manner.tool_choice.calls
    if manner.strict_calls and not turn.offered:
        calls = "none"  # no call would be one of a tool that is offered
    if not apart and form is None and call is None and calls == "may":
        return turn.thoughts
    return PartsConstraint(template, turn.thoughts, calls, form, call, turn.most, turn.limit)


def call_form(
    manner: Manner, offered: Sequence[Tool], tokenizer: ChatTokenizer, vocab_size: int, room: int
) -> JsonAnswer | None:
    """The constraint of a call of one of these tools, in at most ``room`` tokens; None where nothing has to hold of it.

    Raises:
        UserError: a tool's schema says what the grammar does not know; the package for it is missing.
    """
    strict = manner.strict_names(offered)
    if not strict:
        return None
    require_grammars()
    grammar = json_grammar(tokenizer, vocab_size)
    try:
        return grammar.begin(schema_of_calls(offered, strict), room, spaced=True)
    except UserError:
        for tool in (each for each in offered if each.name in strict):
            try:
                grammar.begin(schema_of_calls([tool], strict), room, spaced=True)
            except UserError as error:
                raise UserError(f"tool {tool.name}: {error}") from None
        raise


def require_grammars() -> None:
    """Raises ``UserError`` where calls cannot be held to their schema."""
    if not can_be_json():
        raise UserError(f"calls that are held to their schema need llguidance: {JSON_EXTRA}")
