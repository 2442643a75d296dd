"""A conversation as a value: a model, a tokenizer, and a memory of constant size that can be saved, restored and
forked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import torch

from rxt.data.pieces import opening
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.generation.generate import generate_tokens
from rxt.generation.pool_turn import PreparedPool
from rxt.generation.sampling import GREEDY, Sampling
from rxt.generation.turn import Answered, MemoryUpdated, OpenTurn, Prepared, Token
from rxt.model.memory import Memory
from rxt.model.pool import Pool, load_memory
from rxt.model.reactive import ReactiveTransformer

Event = Token | Answered | MemoryUpdated
Ready = Prepared | PreparedPool
"""What a turn starts from: a memory, or in models that have one a pool of fragments."""


class Conversation:
    """One conversation with a model. Turns come one after another; several conversations share a model freely.

    A turn answers first and memorizes afterwards, in the background: the next turn waits for that, the caller does not.
    An error while memorizing is raised by the next call, once, and leaves the memory of the turn before.
    The same model, seed and queries give the same answers, also after :meth:`save` and :meth:`load`.
    """

    def __init__(
        self,
        model: ReactiveTransformer,
        tokenizer: ChatTokenizer,
        seed: int | None = 0,
        sampling: Sampling = GREEDY,
        system: str | None = None,
        max_new_tokens: int | None = None,
        memory: Memory | Pool | None = None,
    ) -> None:
        """
        Args:
            model: is put into evaluation mode.
            seed: of the fresh memory (unless the model's configuration fixes one) and of sampling; None draws anew each
            time.
            sampling: its own ``seed``, where given, stands in for ``seed`` when tokens are drawn.
            system: a system prompt, memorized once, before the first turn; what does not fit is cut at its end.
            max_new_tokens: the longest answer; by default whatever fits into the model's length.
            memory: continue from this one instead of a fresh one with ``system`` in it. In models that have a pool of
                fragments a fresh one is a pool; a plain memory stays one.

        Raises:
            UserError: tokenizer and model do not belong together; the memory is another model's, or not one
                conversation's; the system prompt is blank.
        """
        if max_new_tokens is not None and max_new_tokens < 1:
            raise UserError(f"max_new_tokens must be at least 1, found {max_new_tokens}")
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.template = Template.of_model(model.config, tokenizer)
        self.seed = seed
        self.sampling = sampling
        self.max_new_tokens = max_new_tokens
        self._system = None if system is None else opening(self.template, system).ids
        self._lock = threading.RLock()
        self._answering = False
        self._pending: Future[Ready] | None = None
        self._ready: Ready
        if memory is None:
            self._start()
        else:
            self._ready = ready(self.model, memory)

    def ask(self, query: str) -> str:
        """Answer a query. The memory is updated in the background after this has returned.

        Raises:
            UserError: the query is empty or too long, or another answer of this conversation is still being streamed.
        """
        with closing(self.stream(query)) as events:
            for event in events:
                if isinstance(event, Answered):
                    return event.text
        raise AssertionError("a stream ends with an answer or an exception")

    def stream(self, query: str) -> Generator[Event, None, None]:
        """Answer a query piece by piece: :class:`Token` …, :class:`Answered`, :class:`MemoryUpdated`.

        Closing the iterator before ``Answered`` abandons the turn: nothing of it is memorized. Raises as :meth:`ask`.
        """
        return self._answer(OpenTurn(self.template, query, self.max_new_tokens))

    @property
    def memory(self) -> Memory:
        """The memory after the last turn, of a pool what that saw of it; waits for a running update."""
        return self._settled().memory

    @property
    def pool(self) -> Pool | None:
        """All fragments after the last turn, None where the memory is a plain one; waits for a running update."""
        settled = self._settled()
        return settled.pool if isinstance(settled, PreparedPool) else None

    @property
    def turns(self) -> int:
        """Interactions memorized so far; waits for a running update."""
        return self.memory.turns[0]

    @property
    def last_update(self) -> MemoryUpdated | None:
        """What the last turn did to the memory, None before the first one here; waits for a running update."""
        return self._settled().update

    def wait(self) -> None:
        """Return when the last turn has been memorized; raise if that failed."""
        self._settled()

    def save(self, path: str | Path) -> None:
        """Write the memory to a safetensors file, whole or not at all. Seed and sampling are not part of it."""
        self._settled().save(path)

    @classmethod
    def load(
        cls,
        path: str | Path,
        model: ReactiveTransformer,
        tokenizer: ChatTokenizer,
        seed: int | None = 0,
        sampling: Sampling = GREEDY,
        max_new_tokens: int | None = None,
    ) -> Conversation:
        """Continue what :meth:`save` wrote, with the same seed and sampling exactly as if it had never been
        interrupted.

        Raises:
            UserError: the file cannot be read, or other weights made the memory.
        """
        return cls(model, tokenizer, seed, sampling, max_new_tokens=max_new_tokens, memory=load_memory(path))

    def fork(self) -> Conversation:
        """A second conversation that begins with the memory of this one; from then on neither knows of the other."""
        settled = self._settled()
        other = Conversation(
            self.model, self.tokenizer, self.seed, self.sampling, None, self.max_new_tokens, settled.memory
        )
        other._system, other._ready = self._system, settled
        return other

    def restore(self, memory: Memory | Pool) -> None:
        """Go on from another memory, such as ``Memory.load(path)``. Raises ``UserError`` if other weights made it."""
        with self._one_at_a_time():
            self._settle_anyhow()
            self._ready = ready(self.model, memory)

    def reset(self) -> None:
        """Forget everything but the system prompt."""
        with self._one_at_a_time():
            self._settle_anyhow()
            self._start()

    def _start(self) -> None:
        """Begin with a fresh memory, into which the system prompt goes, in the background."""
        kind = Prepared if self.model.config.pool is None else PreparedPool
        self._ready = fresh = kind.fresh(self.model, self.seed)
        if self._system is not None:
            ids = self._system
            self._pending = _in_background(lambda: fresh.after(self.model, ids).uncounted())

    def _answer(self, turn: OpenTurn) -> Generator[Event, None, None]:
        with self._one_at_a_time():
            seen = self._settled().for_query(self.model, turn.prompt)
            for step in self._steps(turn, seen):
                yield turn.hear(int(step))
            answered, ids = turn.answered(), turn.interaction()
            update = _in_background(lambda: seen.after(self.model, ids))
            with self._lock:
                self._pending = update
        yield answered
        memorized = self._settled(update).update
        assert memorized is not None
        yield memorized

    def _steps(self, turn: OpenTurn, seen: Ready) -> Iterator[torch.Tensor]:
        """The answer's tokens, (1,) each."""
        memory = seen.memory
        ids = torch.tensor([turn.prompt], device=memory.slots.device)
        sampling = self._turn_sampling(memory.turns[0] + 1)
        return generate_tokens(self.model, ids, memory, turn.limit, sampling, memory_kv=seen.memory_kv)

    def _turn_sampling(self, turn: int) -> Sampling:
        """Every turn draws from its own random numbers, so a restored conversation needs none of the earlier ones."""
        seed = self.seed if self.sampling.seed is None else self.sampling.seed
        if seed is None:
            return self.sampling
        mixed = int.from_bytes(blake2b(f"{seed} {turn}".encode(), digest_size=8).digest(), "big") >> 1
        return replace(self.sampling, seed=mixed)

    def _settled(self, update: Future[Ready] | None = None) -> Ready:
        """What the next turn starts from, or what ``update`` made; waits for it and raises its error."""
        with self._lock:
            pending = self._pending
        awaited = update or pending
        if awaited is None:
            return self._ready
        wait([awaited])
        with self._lock:
            if self._pending is awaited:
                self._pending = None
                if awaited.exception() is None:
                    self._ready = awaited.result()
        return awaited.result()

    def _settle_anyhow(self) -> None:
        """Let a running update end; what came of it does not matter any more."""
        with self._lock:
            pending, self._pending = self._pending, None
        if pending is not None:
            wait([pending])

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Held while a turn is being answered; a second one is refused, because it would miss the first one's
        memory."""
        with self._lock:
            if self._answering:
                raise UserError(
                    "an answer of this conversation is still being streamed; finish it or close the stream first"
                )
            self._answering = True
        try:
            yield
        finally:
            self._answering = False


def ready(model: ReactiveTransformer, memory: Memory | Pool) -> Ready:
    """To go on from a memory of either kind. Raises ``UserError`` where it is not one that this model goes on from."""
    return PreparedPool.of(model, memory) if isinstance(memory, Pool) else Prepared.of(model, memory)


def _in_background(work: Callable[[], Ready]) -> Future[Ready]:
    """Run ``work`` in a thread of its own; Python does not exit before it has ended."""
    future: Future[Ready] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="rxt-memorize").start()
    return future
