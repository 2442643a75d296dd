"""Messages by role, as chat programs write them down, made into a conversation of questions and answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rxt.data.fields import BadRecord, as_object, required, string
from rxt.data.records import Conversation, Interaction

WEIGHT = "weight"
"""Of a message: 0 where it is nothing to learn from, else 1 or absent."""


@dataclass(frozen=True)
class Said:
    """What one role says until another does."""

    where: str
    """The prefix of its fields."""
    role: str
    text: str
    learned: bool

    def and_then(self, more: Said) -> Said:
        """Both, joined by a line end; learned where both are, since an answer is learned as a whole."""
        return Said(self.where, self.role, f"{self.text}\n{more.text}", self.learned and more.learned)


def paired(
    messages: Iterable[tuple[str, dict[str, Any]]],
    key: str,
    role_key: str,
    text_key: str,
    roles: Mapping[str, str],
    system: str | None = None,
) -> Conversation:
    """Messages by role as interactions: those of one role in a row are joined by line ends.

    Args:
        messages: each with the prefix of its fields in what is said about it, ``messages[3].``.
        key: where they stand in the record.
        roles: what each role is called, as system, user or assistant.
        system: the system prompt, where it stands elsewhere.

    Raises:
        BadRecord: an unknown role, a system message between others, a question or an answer that is alone, a weight
            that is neither 0 nor 1.
    """
    joined: list[Said] = []
    for where, message in messages:
        name = required(message, role_key, where)
        if name not in roles:
            raise BadRecord(f"{where}{role_key}: {name!r:.40} cannot be read here; known are {', '.join(roles)}")
        said = Said(where, roles[name], message_text(message, text_key, where), is_learned(message, where))
        if joined and joined[-1].role == said.role:
            joined[-1] = joined[-1].and_then(said)
        else:
            joined.append(said)
    if joined and joined[0].role == "system":
        first = joined.pop(0)
        if system is not None:
            raise BadRecord(f"{first.where}{role_key}: a system message stands beside the key system; keep one of them")
        system = first.text
    if not joined:
        raise BadRecord(f"{key}: nobody asks or answers anything")
    queries, answers = alternating(joined, role_key)
    return Conversation(
        tuple(Interaction(query.text, answer.text) for query, answer in zip(queries, answers, strict=True)),
        system,
        frozenset(turn for turn, answer in enumerate(answers) if not answer.learned),
    )


def alternating(joined: list[Said], role_key: str) -> tuple[list[Said], list[Said]]:
    """The questions, and their answers."""
    for index, said in enumerate(joined):
        if said.role == "system":
            raise BadRecord(f"{said.where}{role_key}: a system message is read as the first one only")
        if said.role != ("user", "assistant")[index % 2]:
            raise BadRecord(f"{said.where}{role_key}: an answer without a question before it")
    if len(joined) % 2:
        raise BadRecord(f"{joined[-1].where}{role_key}: a question without an answer after it")
    return joined[::2], joined[1::2]


def message_text(message: dict[str, Any], key: str, where: str) -> str:
    """The text of a message: a string, or a list of text parts, which are joined by line ends."""
    parts = message.get(key)
    if not parts and message.get("tool_calls"):
        raise BadRecord(f"{where}{key}: missing; a message of tool calls alone cannot be read")
    if not isinstance(parts, list):
        return required(message, key, where)
    texts = []
    for index, part in enumerate(parts):
        inside = f"{where}{key}[{index}]"
        if as_object(part, inside).get("type") != "text":
            raise BadRecord(f"{inside}: only parts of type text can be read")
        texts.append(string(part.get("text"), f"{inside}.text"))
    if not any(text.strip() for text in texts):
        raise BadRecord(f"{where}{key}: empty")
    return "\n".join(texts)


def is_learned(message: dict[str, Any], where: str) -> bool:
    """Whether a message is there to be learned from, by its weight."""
    weight = message.get(WEIGHT)
    if weight is None:
        return True
    if isinstance(weight, bool) or weight not in (0, 1):
        raise BadRecord(f"{where}{WEIGHT}: must be 0 (not learned) or 1, found {weight!r:.40}")
    return weight == 1
