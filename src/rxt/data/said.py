"""What is said in an interaction, as one text, for whoever judges it."""

from __future__ import annotations

from rxt.data.records import Interaction


def spoken(answer: str, tool_call: str | None) -> str:
    """An answer and, on a line of its own, the tool call after it; thinking is said to nobody."""
    if tool_call is None:
        return answer
    return f"{answer}\n{tool_call}" if answer.strip() else tool_call


def spoken_in(interaction: Interaction) -> str:
    """What a model says in an interaction."""
    return spoken(interaction.answer, interaction.tool_call)


def heard_and_spoken(interaction: Interaction) -> str:
    """What a model is told, and what it says: ``query answer``; the result of a tool stands in the query's place."""
    asked = interaction.query if interaction.tool_use is None else interaction.tool_use
    return f"{asked} {spoken_in(interaction)}".strip()
