"""Many conversations decoded together, each with its own memory, position, length and random numbers.

Conversations join and leave between steps. Those that are running always hold the first places of one preallocated
batch, so a step computes for them alone and copies nothing; who leaves has its place taken by the last one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from rxt.errors import UserError
from rxt.generation.compiled import cache_length, cache_lengths, pays
from rxt.generation.constraint import Constraint
from rxt.generation.decode import Steps, check_prompt
from rxt.generation.likelihood import Likelihood, likelihoods
from rxt.generation.rooms import Rooms
from rxt.generation.sampling import GREEDY, Sampling, SamplingBatch, sample
from rxt.model.attention import KeyValue
from rxt.model.memory import Memory

if TYPE_CHECKING:
    from rxt.model.decoder import Decoder
    from rxt.model.reactive import ReactiveTransformer


@dataclass(frozen=True)
class Said:
    """One new token of one conversation."""

    token: int
    finish_reason: Literal["stop", "length"] | None = None
    """Not None with the last token: the model ended its answer with [EOS], or it was cut."""
    likelihood: Likelihood | None = None
    """Where it was asked for."""


@dataclass
class _Talker:
    """One conversation that is being answered."""

    handle: int
    prompt: Tensor
    """(T,)"""
    memory: list[KeyValue]
    """What its memory offers, B = 1."""
    sampling: Sampling
    generator: torch.Generator | None
    length: int
    """Tokens of its text so far."""
    longest: int
    """Tokens of its text when it is cut."""
    stop_at_eos: bool
    alternatives: int | None
    """Likeliest tokens to name with each token and its log-probability; None: neither."""
    constraint: Constraint | None = None
    last: int = -1
    """The newest token, which the decoder has not read yet."""


class BatchDecoder:
    """Answers up to ``places`` conversations at once. What one says does not depend on who else is there.

    ``admit`` a prompt and a memory; every ``step`` gives each conversation its next token; ``cancel`` ends one early.
    It is for one thread. The weights of the model must not change while conversations are running.
    """

    def __init__(self, model: ReactiveTransformer, places: int = 16, compiled: bool = False) -> None:
        """``compiled`` runs steps through ``torch.compile``, for 1, 2, 4, … places: each number is compiled when it is
        first needed, up to where it pays (:func:`rxt.generation.compiled.pays`), or all at once by
        :meth:`compile_ahead`."""
        if places < 1:
            raise UserError(f"a batch has at least one place, found {places}")
        self.model = model.eval()
        self.places = places
        self._compiled = compiled
        self._running: list[_Talker] = []
        """In the order of their places, from 0."""
        self._waiting: list[_Talker] = []
        """Admitted since the last step."""
        self._next_handle = 0
        self._rooms: Rooms | None = None
        self._options: SamplingBatch | None = None
        """Of those that are running, until others are."""
        self._plain_steps, self._compiled_steps = self._take_weights()

    def __len__(self) -> int:
        """Conversations that are being answered."""
        return len(self._running) + len(self._waiting)

    @property
    def free(self) -> int:
        """How many more can be admitted now."""
        return self.places - len(self)

    @torch.no_grad()
    def admit(
        self,
        ids: Sequence[int] | Tensor,
        memory: Memory,
        sampling: Sampling = GREEDY,
        max_new_tokens: int | None = None,
        stop_at_eos: bool = True,
        memory_kv: list[KeyValue] | None = None,
        alternatives: int | None = None,
        constraint: Constraint | None = None,
    ) -> int:
        """Take a prompt (T,) and the memory of its conversation in; the next step begins its answer. The result is its
        handle.

        Args:
            sampling: its own; a ``seed`` makes its tokens those that ``generate`` draws with it.
            max_new_tokens: the longest answer; by default what fits into the model's length.
            memory_kv: ``model.decoder.project_filled(memory.slots)`` where the caller has it already.
            alternatives: have each token told with its likelihood, and with so many of the likeliest ones.
            constraint: of this one answer.

        Raises:
            UserError: no place is free, the prompt leaves no room for an answer, or the memory is another model's.
        """
        if not self.free:
            raise UserError(f"all {self.places} places are taken; one is free when a conversation has ended")
        if not len(self):  # weights may have changed since somebody was here
            self._plain_steps, self._compiled_steps = self._take_weights()
        decoder, limit = self._decoder, self.model.config.max_length
        device = decoder.embedding.weight.device
        prompt = torch.as_tensor(ids, dtype=torch.long, device=device)
        check_prompt(self.model, prompt[None], memory, 0 if max_new_tokens is None else max_new_tokens, None)
        if len(prompt) == limit or max_new_tokens == 0:
            raise UserError(f"there is no room for an answer: the prompt has {len(prompt)} of at most {limit} tokens")
        longest = limit if max_new_tokens is None else min(limit, len(prompt) + max_new_tokens)
        looked_up = decoder.project_filled(memory.slots) if memory_kv is None else memory_kv
        generator = sampling.generator(device)
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        self._waiting.append(
            _Talker(
                handle,
                prompt,
                looked_up,
                sampling,
                generator,
                len(prompt),
                longest,
                stop_at_eos,
                alternatives,
                constraint,
            )
        )
        return handle

    @torch.no_grad()
    def step(self) -> dict[int, Said]:
        """The next token of every conversation, by handle. Who says its last one has left when this returns."""
        logits = []
        if self._running:
            logits.append(self._go_on())
        if self._waiting:
            logits.append(self._begin())
        if not logits:
            return {}
        said: dict[int, Said] = {}
        after = torch.cat(logits)
        tokens = self._choose(after)
        likely = likelihoods(after, tokens, [talker.alternatives for talker in self._running])
        for talker, token, likelihood in zip(self._running, tokens, likely, strict=True):
            talker.last, talker.length = token, talker.length + 1
            reason: Literal["stop", "length"] | None = None
            if talker.stop_at_eos and token == self.model.config.tokens.eos:
                reason = "stop"
            elif talker.length == talker.longest:
                reason = "length"
            said[talker.handle] = Said(token, reason, likelihood)
        for place in reversed(range(len(self._running))):
            if said[self._running[place].handle].finish_reason is not None:
                self._leave(place)
        return said

    @torch.no_grad()
    def compile_ahead(self) -> Iterator[tuple[int, int]]:
        """Compile every step that may come, so that no answer waits for it; before each its rows and the length of its
        cache.

        It takes most of a minute a step the first time, seconds where PyTorch finds on disk what it compiled before.
        Nobody may be in the batch yet.
        """
        if not self._compiled:
            return
        limit, device = self.model.config.max_length, self._decoder.embedding.weight.device
        self._make_room(self.places, limit)
        assert self._rooms is not None
        numbers = sorted({self._compiled_rows(count) for count in range(1, self.places + 1)})
        for length in cache_lengths(limit):
            for rows in filter(lambda rows: pays(rows, device), numbers):
                yield rows, length
                cache, memory = self._rooms.view(0, rows, length, whole=True)
                tokens, positions = torch.zeros(2, rows, dtype=torch.long, device=device)
                self._compiled_steps.step(tokens, positions, memory, cache)

    def cancel(self, handle: int) -> None:
        """End a conversation's answer early. Raises ``KeyError`` if there is none of this handle, or it has ended."""
        for index, talker in enumerate(self._waiting):
            if talker.handle == handle:
                del self._waiting[index]
                return
        for place, talker in enumerate(self._running):
            if talker.handle == handle:
                self._leave(place)
                return
        raise KeyError(f"no conversation with handle {handle} is being answered")

    def _go_on(self) -> Tensor:
        """Logits (n, V) after the newest tokens of those that are running."""
        assert self._rooms is not None
        count, device = len(self._running), self._decoder.embedding.weight.device
        compiled = self._compiled and pays(self._compiled_rows(count), device)
        rows = self._compiled_rows(count) if compiled else count
        idle = [0] * (rows - count)  # rows of free places: what they compute, nobody reads
        tokens = torch.tensor([*(talker.last for talker in self._running), *idle], device=device)
        positions = torch.tensor([*(talker.length - 1 for talker in self._running), *idle], device=device)
        longest = max(talker.length for talker in self._running)
        length = cache_length(longest, self.model.config.max_length) if compiled else longest
        steps = self._compiled_steps if compiled else self._plain_steps
        cache, memory = self._rooms.view(0, rows, length, whole=compiled)
        return steps.step(tokens, positions, memory, cache)[:count]

    def _compiled_rows(self, count: int) -> int:
        """Of the compiled step that so many conversations take."""
        return min(self.places, 1 << (count - 1).bit_length())

    def _take_weights(self) -> tuple[Steps, Steps]:
        """Steps by the model's present weights, which also take prompts in, and those that are compiled."""
        return Steps.of(self.model), Steps.of(self.model, self._compiled)

    @property
    def _decoder(self) -> Decoder:
        return self._plain_steps.decoder

    def _begin(self) -> Tensor:
        """Read the prompts of those that were admitted since the last step, together -> logits (n, V) after them."""
        decoder, first, new = self._decoder, len(self._running), self._waiting
        self._make_room(first + len(new), max(talker.longest for talker in new))
        assert self._rooms is not None
        lengths = torch.tensor([talker.length for talker in new])
        ids = torch.nn.utils.rnn.pad_sequence([talker.prompt for talker in new], batch_first=True)
        for place, talker in enumerate(new, start=first):
            self._rooms.settle(place, talker.memory, talker.prompt)
            talker.memory = []  # it stands in its place now
        cache, memory = self._rooms.view(first, first + len(new), ids.shape[1])
        self._running, self._waiting, self._options = [*self._running, *new], [], None
        return decoder.begin(ids, lengths.to(ids.device) - 1, memory, cache)

    def _choose(self, logits: Tensor) -> list[int]:
        """One token a conversation, each by its own sampling; the processor waits for the device here, once."""
        assert self._rooms is not None
        if self._options is None:
            self._options = SamplingBatch.of([talker.sampling for talker in self._running], logits.device)
        seen = self._rooms.seen[: len(logits)] if self._options.penalizes else None
        said = self._rooms.said[: len(logits)] if self._options.counts else None
        logits = self._constrained(logits)
        chosen = sample(logits, self._options, [talker.generator for talker in self._running], seen, said)
        tokens = chosen.tolist()
        for place, talker in enumerate(self._running):
            if talker.constraint is not None:
                tokens[place] = talker.constraint.take(tokens[place], talker.longest - talker.length - 1)
                chosen[place] = tokens[place]
        places = torch.arange(len(chosen), device=chosen.device)
        self._rooms.seen[places, chosen] = True
        if said is not None:
            said[places, chosen] += 1
        return tokens

    def _constrained(self, logits: Tensor) -> Tensor:
        """Without the tokens that constraints forbid."""
        narrowed = {
            place: talker.constraint.narrow(logits[place])
            for place, talker in enumerate(self._running)
            if talker.constraint is not None
        }
        if not narrowed:
            return logits
        logits = logits.clone()
        logits[[*narrowed]] = torch.stack([*narrowed.values()])
        return logits

    def _leave(self, place: int) -> None:
        """Free a place; the last one moves in."""
        assert self._rooms is not None
        mover, self._options = self._running.pop(), None
        if place < len(self._running):
            self._rooms.move(len(self._running), place, mover.length)
            self._running[place] = mover

    def _make_room(self, rows: int, length: int) -> None:
        """More places, or longer ones, where these are not enough: each time twice as many, so that it seldom happens.

        Compiled steps have all of them from the first: their code is made for where a place lies in the whole.
        """
        limit, slots = self.model.config.max_length, self.model.config.memory_attention.slots
        if self._compiled:
            rows, length = self.places, limit
        old = self._rooms
        if old is not None:
            if rows <= old.cache.keys.shape[1] and length <= old.cache.keys.shape[3]:
                return
            rows, length = max(rows, old.cache.keys.shape[1]), max(length, old.cache.keys.shape[3])
        rows = min(self.places, 1 << (rows - 1).bit_length())
        made = Rooms(
            self._decoder.new_cache(rows, cache_length(length, limit)),
            self._decoder.new_memory_room(rows, slots),
            self.model.config.decoder.vocab_size,
        )
        if old is not None:
            made.take_over(old)
        self._rooms = made
