"""What replies in several parts out of a state: thinking, answer, tool call."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch

from rxt.data.template import Template
from rxt.evaluation.subject import Reactive, State, Subject
from rxt.generation.batch import BatchDecoder
from rxt.generation.reply_constraint import reply_constraint
from rxt.generation.turn import OpenTurn
from rxt.model.memory import Memory
from rxt.pretrained import load_model


class InParts(Subject[State]):
    """A subject whose replies have parts."""

    @abstractmethod
    def reply(self, turns: Sequence[OpenTurn], state: State) -> None:
        """Have each of B turns hear its whole reply, out of its own conversation's state."""


class ReactiveInParts(Reactive, InParts[Memory]):
    """A Reactive Transformer of the Beta template, which replies as it does in a chat, by its likeliest tokens."""

    @torch.no_grad()
    def reply(self, turns: Sequence[OpenTurn], state: Memory) -> None:
        decoder, vocab_size = BatchDecoder(self.model, max(1, len(turns))), self.model.config.decoder.vocab_size
        heard = {
            decoder.admit(
                turn.prompt,
                state.select(row),
                max_new_tokens=turn.limit,
                constraint=reply_constraint(turn, vocab_size),
            ): turn
            for row, turn in enumerate(turns)
        }
        while len(decoder):
            for handle, said in decoder.step().items():
                heard[handle].hear(said.token)
                if heard[handle].finish_reason is not None and said.finish_reason is None:
                    decoder.cancel(handle)


def load_in_parts(source: str | Path, base: str | None = None) -> ReactiveInParts:
    """A model folder or hub id.

    Raises:
        UserError: it cannot be loaded; its template has no such parts.
    """
    model, tokenizer = load_model(source, base=base)
    template = Template.of_model(model.config, tokenizer)
    template.require("think")
    return ReactiveInParts(model, template)
