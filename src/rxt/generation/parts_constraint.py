"""The constraint of a reply with several parts, each under its own rule: thinking, then an answer, then a tool call."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from rxt.data.template import Template
from rxt.generation.constraint import Constraint
from rxt.generation.json_answers import JsonAnswer
from rxt.generation.thinking import Thoughts
from rxt.tools.choice import Calls
from rxt.tools.tool import JsonValue, Tool


class PartsConstraint:
    """What holds of thinking, of the answer and of the call, each in its turn: no part has other markers in it.

    A form of the answer leaves the model one other way, where it may call: to call at once. A call that has a form is
    begun only where there is room to end it, so it is always one.
    """

    def __init__(
        self,
        template: Template,
        thoughts: Thoughts | None,
        calls: Calls,
        answer: Constraint | None,
        call: JsonAnswer | None,
        most: int | None,
        limit: int,
    ) -> None:
        """
        Args:
            thoughts: None where the prompt ends with the answer's marker.
            most: tokens of the longest answer, with a call if there is one.
            limit: tokens of the longest reply.
        """
        assert template.tokens.tool_call is not None
        self._marker = template.tokens.tool_call
        self._at = torch.tensor([self._marker])
        markers = template.tokenizer.special_ids - {template.tokens.eos}
        self._not_in_call = torch.tensor(sorted(markers))
        self._not_in_answer = torch.tensor(sorted(markers - ({self._marker} if calls == "may" else set())))
        self._thoughts, self._calls, self._answer, self._call = thoughts, calls, answer, call
        self._most, self._limit = most, limit
        self._taken = 0
        """Tokens of the reply so far."""
        self._said = 0
        """Of these, those of answer and call."""
        self._calling = False

    def narrow(self, logits: Tensor) -> Tensor:
        """As :class:`rxt.generation.constraint.Constraint`."""
        self._follow(logits.device)
        if self._thinks:
            assert self._thoughts is not None
            return self._thoughts.narrow(logits)
        if self._calling:
            return (
                logits.index_fill(0, self._not_in_call, -math.inf) if self._call is None else self._call.narrow(logits)
            )
        if self._said == 0 and self._calls == "must":
            return torch.full_like(logits, -math.inf).index_fill(0, self._at, 0.0)
        if self._calls == "may" and not self._has_room():
            logits = logits.index_fill(0, self._at, -math.inf)
        if self._answer is None:
            return logits.index_fill(0, self._not_in_answer, -math.inf)
        narrowed = self._answer.narrow(logits)
        if self._said == 0 and self._calls == "may":
            return narrowed.index_copy(0, self._at, logits[self._at])
        return narrowed

    def take(self, token: int, left: int) -> int:
        """As :class:`rxt.generation.constraint.Constraint`."""
        self._taken += 1
        if self._thinks:
            assert self._thoughts is not None
            return self._thoughts.take(token, left)
        self._said += 1
        left = left if self._most is None else min(left, self._most - self._said)
        if self._calling:
            return token if self._call is None else self._call.take(token, left)
        if token == self._marker:
            self._calling = True
            return token
        return token if self._answer is None else self._answer.take(token, left)

    def _has_room(self) -> bool:
        """A call that has a form would come to its end, if it began here."""
        if self._call is None:
            return True
        left = self._limit - self._taken
        left = left if self._most is None else min(left, self._most - self._said)
        return self._call.way is not None and len(self._call.way) < left

    @property
    def _thinks(self) -> bool:
        return self._thoughts is not None and not self._thoughts.over

    def _follow(self, device: torch.device) -> None:
        """Have the tokens where the logits are."""
        if self._at.device != device:
            self._at, self._not_in_call, self._not_in_answer = (
                tokens.to(device) for tokens in (self._at, self._not_in_call, self._not_in_answer)
            )


def schema_of_calls(tools: Iterable[Tool], strict: frozenset[str]) -> str:
    """The JSON schema of a call of one of these tools; the arguments of those that are not ``strict`` are any object.

    Each tool's schema stands among the definitions, and what it refers to in itself is referred to there.
    """
    offered = list(tools)
    schemas: dict[str, JsonValue] = {
        str(index): _moved(tool.parameters, f"#/$defs/{index}") if tool.name in strict else {"type": "object"}
        for index, tool in enumerate(offered)
    }
    calls: list[JsonValue] = [
        {
            "type": "object",
            # A schema that does not say so is one of an object all the same: arguments are.
            "properties": {"name": {"const": tool.name}, "arguments": {"type": "object", "$ref": f"#/$defs/{index}"}},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for index, tool in enumerate(offered)
    ]
    return json.dumps({"$defs": schemas, "anyOf": calls})


def _moved(schema: JsonValue, place: str) -> JsonValue:
    """A schema whose references into itself lead to where it stands now."""
    if isinstance(schema, Mapping):
        return {
            name: place + value[1:]
            if name == "$ref" and isinstance(value, str) and value.startswith("#")
            else _moved(value, place)
            for name, value in schema.items()
        }
    if isinstance(schema, Sequence) and not isinstance(schema, str):
        return [_moved(each, place) for each in schema]
    return schema
