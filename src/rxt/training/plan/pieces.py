"""The computations that the stages' updates are made of, each counted once: for one row of T tokens, or one target.

All of them are linear in rows and targets, so a batch costs so many times one. Every row is taken to be as long as it
may be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rxt.generation.frozen_head import divergence, is_frozen
from rxt.generation.scoring import at_least_float32, state_scores
from rxt.model.attention import KeyValue
from rxt.model.heads import MLMHead
from rxt.model.memory_attention import Projected
from rxt.model.reactive import ReactiveTransformer
from rxt.training.losses import memory_target_loss
from rxt.training.plan.counting import FLOAT32, Cost, counted
from rxt.training.stages.memory_pretrain import fit_to_slots

SOME_TARGETS = 64
"""Targets that a loss is counted on; it is the same for each."""
LOGIT_GRADIENTS = 2
"""Times that the logits' gradient stands in memory as the backward pass begins: of the losses, then of the logits."""


@dataclass(frozen=True)
class Turn:
    """The parts of a turn of one conversation."""

    first_read: Cost
    """Its interaction encoded, and projected for the write, where no gradient goes to the memory before it."""
    first_write: Cost
    read: Cost
    """The same where the gradient goes on to the turns before it."""
    write: Cost
    decode: Cost
    """Its interaction decoded out of the memory, before the head."""
    answer: Cost
    """One target token: head and loss."""
    memory: float
    """Numbers of one conversation's memory."""


def every_turn(model: ReactiveTransformer, tokens: int) -> Turn:
    """A turn of memory-aware training, by what learns in the model now."""
    began = model.fresh_memory is not None and model.fresh_memory.requires_grad
    learning = [each for part in (model.encoder, model.memory_attention) for each in part.parameters()]
    learns = began or any(parameter.requires_grad for parameter in learning)
    slots = _slots(model, began)
    keys_values, first_read = counted(lambda: _read(model, slots, tokens), model)
    (new,), first_write = counted(lambda: [_written(model, slots, keys_values, tokens)], model)
    read, write = first_read, first_write
    if learns and not began:
        slots = _slots(model, learns)
        if model.encoder.reads_memory:
            keys_values, read = counted(lambda: _read(model, slots, tokens), model)
        (new,), write = counted(lambda: [_written(model, slots, keys_values, tokens)], model)
    (states,), decode = counted(lambda: [model.decoder.hidden(_ids(tokens), new, _mask(tokens)).states], model)
    answered = answer(model, states.requires_grad)
    return Turn(first_read, first_write, read, write, decode, answered, slots.numel())


def answer(model: ReactiveTransformer, learns: bool) -> Cost:
    """One target token of a decoder's answer: head and loss; ``learns`` is whether its states want a gradient."""
    head, words = model.decoder.head, model.config.decoder.vocab_size
    states = torch.empty(SOME_TARGETS, model.config.decoder.width, requires_grad=learns)
    _, cost = counted(lambda: [state_scores(head, states, _ids(SOME_TARGETS)[0])[0]], model)
    return cost * (1 / SOME_TARGETS) if learns and is_frozen(head) else _in_float32(cost, words)


def sampled_answer(model: ReactiveTransformer) -> Cost:
    """One token of an answer that the policy has drawn: its log-probability and the entropy that it was drawn from."""
    states = torch.empty(SOME_TARGETS, model.config.decoder.width, requires_grad=True)

    def score() -> list[Tensor]:
        scores = at_least_float32(model.decoder.head(states)).log_softmax(-1)
        chosen = scores.gather(-1, _ids(SOME_TARGETS)[0][:, None])
        return [chosen, -(scores.exp() * scores).sum(-1)]

    return _in_float32(counted(score, model)[1], model.config.decoder.vocab_size)


@dataclass(frozen=True)
class Text:
    """The parts of a row of joint training."""

    encode: Cost
    guess: Cost
    """One hidden token: MLM head and loss."""
    decode: Cost
    """The row decoded out of its own encoded tokens."""
    answer: Cost


@lru_cache(maxsize=1)  # two stages have it
def every_text(model: ReactiveTransformer, mlm_head: MLMHead, tokens: int) -> Text:
    """A row of stages 1 and 2, where the same parameters learn."""
    slots = _slots(model, False) if model.encoder.reads_memory else None
    (encoded,), encoding = counted(lambda: [model.encoder(_ids(tokens), _mask(tokens), slots)], model)
    some, words = torch.empty(SOME_TARGETS, model.config.decoder.width, requires_grad=True), mlm_head.head.out_features
    targets = _ids(SOME_TARGETS)[0]
    _, guessing = counted(lambda: [F.cross_entropy(at_least_float32(mlm_head(some)), targets)], mlm_head)
    memory, mask = encoded.detach(), _mask(tokens)
    (states,), decoding = counted(
        lambda: [model.decoder.hidden(_ids(tokens), memory, mask, memory_mask=mask).states], model
    )
    return Text(encoding, _in_float32(guessing, words), decoding, answer(model, states.requires_grad))


def memory_target(model: ReactiveTransformer, tokens: int) -> Cost:
    """A turn of stage 3: an interaction, encoded without a gradient, is written, and the new memory compared with what
    it should be."""
    slots = _slots(model, False)
    with torch.no_grad():
        (encoded,), encoding = counted(
            lambda: [model.encoder(_ids(tokens), _mask(tokens), slots if model.encoder.reads_memory else None)], model
        )

    def write() -> list[Tensor]:
        new = model.memory_attention(slots, encoded, _mask(tokens))
        target = fit_to_slots(encoded, slots.shape[2])
        return [memory_target_loss(new, slots, target, torch.tensor(0.5))]

    return encoding.without_gradient() + counted(write, model)[1]


@dataclass(frozen=True)
class Transcript:
    """The parts of a conversation that is answered out of all tokens before."""

    read: Cost
    """An interaction encoded."""
    project: Cost
    """All tokens of the conversation projected for the decoder."""
    decode: Cost
    """An interaction decoded out of all of them."""
    answer: Cost


def transcript(model: ReactiveTransformer, turns: int, tokens: int) -> Transcript:
    """A conversation of so many turns, by what learns in the model now."""
    decoder, attention = model.decoder, model.memory_attention
    (encoded,), reading = counted(lambda: [attention.normed(model.encoder(_ids(tokens), _mask(tokens)))], model)
    told = encoded.detach().repeat(1, 1, turns, 1).requires_grad_(encoded.requires_grad)
    parts, projecting = counted(
        lambda: [each for layer in decoder.project_memory(told) for each in (layer.keys, layer.values)], model
    )
    memory = [KeyValue(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
    mask, seen = _mask(tokens), _mask(turns * tokens)
    (states,), decoding = counted(
        lambda: [decoder.hidden_reading(_ids(tokens), memory, mask, memory_mask=seen).states], model
    )
    return Transcript(reading, projecting, decoding, answer(model, states.requires_grad))


@dataclass(frozen=True)
class BaseTurn:
    """The parts of a turn of a model on a pre-trained base."""

    below: Cost
    """What the base makes of a row below the first layer that reads memory."""
    turn: Turn
    said: Cost
    """What the base itself says to a row."""
    keep: Cost
    """One token of that: how far the model is from it."""


def every_turn_on_base(model: ReactiveTransformer, tokens: int) -> BaseTurn:
    """A turn of adaptation, by what learns in the model now; each text goes once through what is below the memory."""
    decoder, slots = model.decoder, _slots(model, True)
    (below,), under = counted(lambda: [decoder.below(_ids(tokens))], model)
    keys_values, reading = counted(lambda: _project(model, decoder.normed_inputs(_ids(tokens), below)), model)
    (new,), writing = counted(lambda: [_written(model, slots, keys_values, tokens)], model)

    def decode() -> list[Tensor]:
        return [decoder.hidden(_ids(tokens), new, _mask(tokens), below=below).states]

    _, decoding = counted(decode, model)
    with torch.no_grad():
        (teacher,), saying = counted(lambda: [decoder.hidden(_ids(tokens), None, below=below).states], model)
    states, other = torch.empty_like(teacher[0, :1]).requires_grad_(), teacher[0, :1]
    _, keeping = counted(lambda: [divergence(decoder.head, states, other)], model)
    turn = Turn(reading, writing, reading, writing, decoding, answer(model, True), slots.numel())
    return BaseTurn(under, turn, saying, keeping)


def value(critic: nn.Module, model: ReactiveTransformer, tokens: int) -> Cost:
    """A question read by a critic of a model: the interaction before it, and the question."""
    slots = _slots(model, False) if model.encoder.reads_memory else None
    _, cost = counted(lambda: [critic(_ids(tokens), _mask(tokens), slots)], critic)
    return cost


def most_targets(tokens: int) -> int:
    """Of a row: the first token is never one."""
    return tokens - 1


def hidden_tokens(tokens: int, share: float) -> int:
    """That the encoder has to guess in a row, rounded up."""
    return math.ceil(tokens * share)


def _in_float32(cost: Cost, words: int) -> Cost:
    """Of one target, from the cost of some: what is as large as the logits stays in float32 whatever products are
    computed in, and its gradient passes through memory."""
    logits = SOME_TARGETS * words
    sized = round(cost.numbers // logits) * logits
    exact = Cost(-sized, sized * FLOAT32, LOGIT_GRADIENTS * logits * FLOAT32 if cost.backward else 0.0)
    return (cost + exact) * (1 / SOME_TARGETS)


def _ids(tokens: int) -> Tensor:
    return torch.zeros(1, tokens, dtype=torch.long)


def _mask(tokens: int) -> Tensor:
    return torch.ones(1, tokens, dtype=torch.bool)


def _slots(model: ReactiveTransformer, learns: bool) -> Tensor:
    """One conversation's memory (L, 1, S, D)."""
    layers, slots, width = model.config.memory_shape
    return torch.empty(layers, 1, slots, width, requires_grad=learns)


def _read(model: ReactiveTransformer, slots: Tensor, tokens: int) -> list[Tensor]:
    """Keys and values of an encoded interaction."""
    return _project(model, model.encoder(_ids(tokens), _mask(tokens), slots if model.encoder.reads_memory else None))


def _project(model: ReactiveTransformer, encoded: Tensor) -> list[Tensor]:
    projected = model.memory_attention.project(encoded)
    return [projected.keys, projected.values]


def _written(model: ReactiveTransformer, slots: Tensor, keys_values: Sequence[Tensor], tokens: int) -> Tensor:
    """The memory after an interaction."""
    keys, values = keys_values
    return model.memory_attention.write(slots, Projected(keys, values, _mask(tokens)))
