"""One thread runs the model for everybody: answers are decoded together, memories are updated in between.

The thread's rounds: who was cancelled leaves; whoever waits is admitted where a place is free; at most one lot of
memory updates; one step for all answers. Updates wait while anybody is being answered, but not longer than ``patience``
steps.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from rxt.errors import UserError
from rxt.generation.batch import BatchDecoder, Said
from rxt.generation.constraint import Constraint
from rxt.generation.ready import Ready, fresh, memorize_all, routed
from rxt.generation.sampling import Sampling
from rxt.model.pool import Pool
from rxt.model.reactive import ReactiveTransformer

log = logging.getLogger("rxt.engine")

HURRY = 4
"""Steps that an update waits at most once the next query of its conversation is there."""


class Overloaded(UserError):
    """As much is waiting as may wait; try again later."""


class Stopped(UserError):
    """The engine takes nothing in any more, or had to give this up."""


@dataclass(frozen=True)
class Limits:
    """What is allowed at once."""

    places: int = 16
    """Answers that are decoded together."""
    queue: int = 256
    """Answers and updates that wait."""
    patience: int = 64
    """Steps of answers after which an update is not put off any more."""
    together: int = 8
    """Memories that are updated together while nobody is being answered."""


Listener = Callable[[Said | Exception], None]
"""Is told each token, or why there are no more; called by the model's thread, so it must return at once."""


@dataclass(eq=False)
class Ticket:
    """An answer that was asked for."""

    prompt: Sequence[int]
    prepared: Ready
    """What the answer looks up: from its admission on, of a pool the fragments that were chosen for the prompt."""
    sampling: Sampling
    most: int
    listener: Listener
    alternatives: int | None
    constraint: Constraint | None
    handle: int | None = None
    """In the batch, from its admission on."""


@dataclass(eq=False)
class _Job:
    """An update that was asked for."""

    before: Ready
    ids: Sequence[int]
    result: Future[Ready]
    since: int
    """Steps that had been made then."""
    query: Sequence[int] | None
    hurried: bool = False


class Engine:
    """Answers and memory updates of one model, in a thread of its own. All methods may be called from any thread."""

    def __init__(
        self,
        model: ReactiveTransformer,
        limits: Limits | None = None,
        compiled: bool = False,
        half_memory: bool = False,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Compiles all that ``compiled`` asks for, which can take minutes, and is ready then.

        Args:
            half_memory: rounds every memory to half precision, so that it can be kept in half the space and stay what
            it is.
            report: is told what is being compiled.
        """
        self.model = model.eval()
        self.limits = limits or Limits()
        self._compiled, self._half = compiled, half_memory
        self._wake = threading.Condition()
        self._queue: deque[Ticket] = deque()
        self._jobs: deque[_Job] = deque()
        self._working = 0
        """Updates that the thread has in hand."""
        self._left: set[Ticket] = set()
        self._answering: dict[int, Ticket] = {}
        self._closed = self._abandon = False
        self.steps = 0
        """That all answers made together so far."""
        self._batch = BatchDecoder(model, self.limits.places, compiled)
        for rows, length in self._batch.compile_ahead():
            report(f"compiling steps for {rows} at once, of up to {length} tokens")
        self._thread = threading.Thread(target=self._run, name="rxt-engine", daemon=True)
        self._thread.start()

    # From outside.

    def answer(
        self,
        prompt: Sequence[int],
        prepared: Ready,
        sampling: Sampling,
        most: int,
        listener: Listener,
        alternatives: int | None = None,
        constraint: Constraint | None = None,
    ) -> Ticket:
        """Ask for the tokens after a prompt, at most ``most``, with ``alternatives`` their likelihoods too.
        ``Overloaded`` if too much is waiting."""
        ticket = Ticket(prompt, prepared, sampling, most, listener, alternatives, constraint)
        with self._wake:
            self._refuse_when_closed()
            if len(self._queue) + len(self._jobs) >= self.limits.queue:
                raise Overloaded(f"{self.limits.queue} requests are waiting already; try again later")
            self._queue.append(ticket)
            self._wake.notify()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Nobody wants this answer any more; nothing happens if it has ended."""
        with self._wake:
            self._left.add(ticket)
            self._wake.notify()

    def memorize(
        self, before: Ready, ids: Sequence[int], hurried: bool = False, query: Sequence[int] | None = None
    ) -> Future[Ready]:
        """Merge a finished interaction into a memory when there is time for it.

        ``query``: the tokens by which fragments of a pool are chosen first; None where ``before`` has chosen.
        """
        job = _Job(before, ids, Future(), self.steps, query, hurried)
        with self._wake:
            self._refuse_when_closed()
            self._jobs.append(job)
            self._wake.notify()
        return job.result

    def hurry(self, result: Future[Ready]) -> None:
        """Somebody waits for this update now."""
        with self._wake:
            for job in self._jobs:
                if job.result is result:
                    job.hurried = True

    def fresh(self, seed: int, knowledge: Pool | None = None) -> Ready:
        """The memory of a conversation that has not begun."""
        return fresh(self.model, seed, knowledge)

    @property
    def running(self) -> int:
        """Answers that are being decoded."""
        return len(self._answering)

    @property
    def waiting(self) -> int:
        """Answers that wait for a place."""
        return len(self._queue)

    @property
    def updates(self) -> int:
        """Memory updates that are not done yet."""
        return len(self._jobs) + self._working

    @property
    def alive(self) -> bool:
        """The thread is there."""
        return self._thread.is_alive()

    def stop(self, grace: float | None = None) -> None:
        """Take nothing in any more, finish what there is, and give up what is not finished after ``grace`` seconds."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(grace)
        if self._thread.is_alive():
            with self._wake:
                self._abandon = True
                self._wake.notify()
            self._thread.join()

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise Stopped("the server is shutting down; try again later")

    # The thread.

    def _run(self) -> None:
        try:
            while self._wait():
                self._round()
        except BaseException:
            log.exception("the engine has failed")
            raise
        finally:
            self._closed = True
            self._give_up(Stopped("the server is shutting down; this was not finished"))

    def _round(self) -> None:
        with self._wake:
            left, self._left = self._left, set()
            newcomers = self._welcome(left)
            jobs = self._due(bool(newcomers or self._answering))
            self._working = len(jobs)
        for ticket in left:
            if ticket.handle is not None and self._is_answered(ticket):
                del self._answering[ticket.handle]
                self._batch.cancel(ticket.handle)
        self._admit(newcomers)
        if jobs:
            self._update(jobs)
        if self._answering:
            self._step()

    def _wait(self) -> bool:
        """Sleep while there is nothing to do; False: it is over."""
        with self._wake:
            while not (self._queue or self._jobs or self._answering or self._closed):
                self._left.clear()
                self._wake.wait()
            return not self._abandon and bool(self._queue or self._jobs or self._answering)

    def _welcome(self, left: set[Ticket]) -> list[Ticket]:
        """Whoever is admitted now, in the order in which they came."""
        freed = sum(map(self._is_answered, left))
        newcomers: list[Ticket] = []
        while self._queue and len(newcomers) < self.limits.places - len(self._answering) + freed:
            ticket = self._queue.popleft()
            if ticket not in left:
                newcomers.append(ticket)
        self._queue = deque(ticket for ticket in self._queue if ticket not in left) if left else self._queue
        return newcomers

    def _is_answered(self, ticket: Ticket) -> bool:
        return ticket.handle is not None and self._answering.get(ticket.handle) is ticket

    def _due(self, busy: bool) -> list[_Job]:
        """The updates whose turn it is: several while nobody is being answered, else one that has waited long
        enough."""
        if not busy:
            return [self._jobs.popleft() for _ in range(min(self.limits.together, len(self._jobs)))]
        for job in self._jobs:
            if self.steps - job.since >= (HURRY if job.hurried else self.limits.patience):
                self._jobs.remove(job)
                return [job]
        return []

    def _admit(self, newcomers: Sequence[Ticket]) -> None:
        """What they look up is chosen for all of them together."""
        try:
            prepared = [ticket.prepared for ticket in newcomers]
            chosen = routed(self.model, prepared, [ticket.prompt for ticket in newcomers])
        except Exception as error:
            for ticket in newcomers:
                _tell(ticket.listener, error)
            return
        for ticket, prepared in zip(newcomers, chosen, strict=True):
            ticket.prepared = prepared
            try:
                ticket.handle = self._batch.admit(
                    ticket.prompt,
                    prepared.memory,
                    ticket.sampling,
                    ticket.most,
                    memory_kv=prepared.memory_kv,
                    alternatives=ticket.alternatives,
                    constraint=ticket.constraint,
                )
            except Exception as error:
                _tell(ticket.listener, error)
            else:
                self._answering[ticket.handle] = ticket

    def _step(self) -> None:
        try:
            said = self._batch.step()
        except Exception as error:  # such as no memory left: these answers are lost, the next ones are not
            log.exception("a step of %d answers failed", len(self._answering))
            lost, self._answering = list(self._answering.values()), {}
            self._batch = BatchDecoder(self.model, self.limits.places, self._compiled)
            for ticket in lost:
                _tell(ticket.listener, error)
            return
        self.steps += 1
        for handle, word in said.items():
            ticket = self._answering[handle]
            if word.finish_reason is not None:
                del self._answering[handle]
            _tell(ticket.listener, word)

    def _update(self, jobs: Sequence[_Job]) -> None:
        wanted = [job for job in jobs if job.result.set_running_or_notify_cancel()]
        try:
            before = routed(self.model, [job.before for job in wanted], [job.query for job in wanted])
            new = memorize_all(self.model, before, [job.ids for job in wanted], self._half)
            for job, prepared in zip(wanted, new, strict=True):
                job.result.set_result(prepared)
        except Exception as error:
            log.exception("updating %d memories failed", len(wanted))
            for job in wanted:
                if not job.result.done():
                    job.result.set_exception(error)
        finally:
            self._working = 0

    def _give_up(self, error: Exception) -> None:
        with self._wake:
            tickets, jobs = [*self._queue, *self._answering.values()], list(self._jobs)
            self._queue.clear()
            self._jobs.clear()
            self._answering = {}
        for ticket in tickets:
            _tell(ticket.listener, error)
        for job in jobs:
            if job.result.set_running_or_notify_cancel():
                job.result.set_exception(error)


def _tell(listener: Listener, news: Said | Exception) -> None:
    try:
        listener(news)
    except Exception:  # a listener that has gone is no reason to leave the others
        log.exception("a listener failed")
