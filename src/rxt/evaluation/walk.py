"""Many conversations at once, each with its own state, the model answering for itself as it does in a chat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic

from rxt.data.records import Interaction
from rxt.data.template import Template
from rxt.evaluation.subject import State, Subject


@dataclass(frozen=True)
class Walk(Generic[State]):
    """What B conversations of any lengths said and remembered."""

    answers: tuple[tuple[str, ...], ...]
    """The model's answers, by conversation and turn."""
    before_last_query: State
    """The state that each conversation's last query was answered from; B conversations, in order."""


def even_batches(count: int, most: int) -> list[range]:
    """``count`` indices in as few batches of at most ``most`` as can be, none much smaller than the others.

    So no batch holds one conversation alone, which would be its own control where memories are exchanged.
    """
    batches = -(-count // most)
    bounds = [count * index // batches for index in range(batches + 1)] if count else []
    return [range(start, end) for start, end in pairwise(bounds)]


def prompts_of(template: Template, messages: Sequence[str]) -> list[list[int]]:
    """What the model is told by each message. One that is too long for it is cut at its end, as in training."""
    return [template.prompt_of(Interaction(message, "")) for message in messages]


def walk(
    subject: Subject[State], conversations: Sequence[Sequence[str]], seed: int, max_new_tokens: int = 48
) -> Walk[State]:
    """Ask every query of every conversation in turn; remember what was asked and what the model said."""
    template = subject.template
    active = sorted(range(len(conversations)), key=lambda index: -len(conversations[index]))
    answers: list[list[str]] = [[] for _ in conversations]
    last: dict[int, State] = {}
    state = subject.start(len(conversations), seed)
    for turn in range(len(conversations[active[0]])):
        active = [index for index in active if turn < len(conversations[index])]
        state = subject.take(state, range(len(active)))
        prompts = prompts_of(template, [conversations[index][turn] for index in active])
        continuations = subject.answer(prompts, state, max_new_tokens)
        for row, index in enumerate(active):
            answers[index].append(template.answer_text(continuations[row]))
            if turn == len(conversations[index]) - 1:
                last[index] = subject.take(state, [row])
        state = subject.remember(state, [template.complete(*said) for said in zip(prompts, continuations, strict=True)])
    return Walk(tuple(map(tuple, answers)), subject.join([last[index] for index in range(len(conversations))]))
