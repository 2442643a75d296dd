"""A conversation as a value: a model, a tokenizer, and a memory of constant size that can be saved, restored and
forked."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import torch

from rxt.data.template import Mode, Reply, Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.generation.background import in_background
from rxt.generation.constraint import Constraint
from rxt.generation.generate import generate_tokens
from rxt.generation.last_turn import LastTurn, check_result
from rxt.generation.manner import FAST, Chosen, Manner, Offered, system_prompt
from rxt.generation.pool_turn import PreparedPool
from rxt.generation.ready import Ready, fresh, ready
from rxt.generation.reply_constraint import call_form, reply_constraint
from rxt.generation.sampling import GREEDY, Sampling
from rxt.generation.shared_memory import SharedMemory
from rxt.generation.turn import Answered, Called, MemoryUpdated, OpenTurn, Thought, Token
from rxt.model.memory import Memory
from rxt.model.pool import Pool, load_memory
from rxt.model.reactive import ReactiveTransformer
from rxt.tools.tool import Tool, ToolCall, read_call, tools_of

Event = Token | Thought | Called | Answered | MemoryUpdated


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
        manner: Manner = FAST,
        knowledge: Pool | None = None,
        shared: SharedMemory | None = None,
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
            manner: how turns are replied to that do not ask for something else. Its tools are told with the system
                prompt, a ``memory`` has been told of them already; on a pre-trained base every turn is told of them.
            knowledge: fragments that a fresh memory begins with and no turn changes; for models with a pool.
            shared: what the user's other conversations have been told, for models with a pool: all of them look it up
                and write into it. ``system`` is told to it, too.

        Raises:
            UserError: tokenizer and model do not belong together; memory or knowledge are another model's, or not one
                conversation's; the system prompt is blank; the model has not the parts for ``manner``, its tools do not
                fit, or calls cannot be held to their schemas.
        """
        if max_new_tokens is not None and max_new_tokens < 1:
            raise UserError(f"max_new_tokens must be at least 1, found {max_new_tokens}")
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.template = Template.of_model(model.config, tokenizer)
        self.seed = seed
        self.sampling = sampling
        self.max_new_tokens = max_new_tokens
        manner.check(self.template)
        call_form(manner, manner.told, tokenizer, self._vocab_size, model.config.max_length)
        self.manner = manner
        self._knowledge, self._shared = knowledge, shared
        self._system = system_prompt(self.template, system, () if self.template.tells_anew else manner.tools)
        self._last: LastTurn | None = None
        self._lock = threading.RLock()
        self._answering = False
        self._pending: Future[Ready] | None = None
        self._ready: Ready
        if memory is None:
            self._start()
        else:
            self._ready = self._joined(ready(self.model, memory))

    def ask(
        self,
        query: str,
        mode: Mode | None = None,
        tools: Offered | None = None,
        budget: int | None = None,
        tool_choice: Chosen | None = None,
    ) -> str:
        """Answer a query. The memory is updated in the background after this has returned.

        Args:
            mode: ``fast``, ``thinking`` or ``auto``; by default the conversation's.
            tools: that the model may call in this turn, beside the conversation's. It is told of them in this turn.
            budget: tokens of thinking at most.
            tool_choice: ``"required"``, ``"none"``, ``"auto"``, or a tool as OpenAI's clients name it.

        :attr:`call` is the tool call that the model has made, :attr:`reply` has all parts.

        Raises:
            UserError: the query is empty or too long, or another answer of this conversation is still being streamed;
                the model has no such part, a tool is none, or its calls cannot be held to its schema.
        """
        return _answer_of(self.stream(query, mode, tools, budget, tool_choice))

    def stream(
        self,
        query: str,
        mode: Mode | None = None,
        tools: Offered | None = None,
        budget: int | None = None,
        tool_choice: Chosen | None = None,
    ) -> Generator[Event, None, None]:
        """Answer a query piece by piece: :class:`Token` …, :class:`Thought` and :class:`Called` where the model has
        thought or called a tool, :class:`Answered`, :class:`MemoryUpdated`.

        Closing the iterator before ``Answered`` abandons the turn: nothing of it is memorized. Raises as :meth:`ask`.
        """
        told = self._told(() if tools is None else tools)
        return self._answer(*self._open(query, self.manner.turned(mode, budget, told, tool_choice)))

    def tool_result(
        self,
        call_id: str,
        text: str,
        mode: Mode | None = None,
        tools: Offered | None = None,
        budget: int | None = None,
        tool_choice: Chosen | None = None,
    ) -> str:
        """Answer to the result of the call that :attr:`call` is: a turn like another, with the result in the query's
        place.

        Args:
            mode, tools, budget: by default those of the turn that made the call.
            tool_choice: by default the model decides whether it calls again.

        Raises:
            UserError: no such call waits for a result, the result is too long, and as :meth:`ask`. The call goes on
                waiting.
        """
        return _answer_of(self.stream_result(call_id, text, mode, tools, budget, tool_choice))

    def stream_result(
        self,
        call_id: str,
        text: str,
        mode: Mode | None = None,
        tools: Offered | None = None,
        budget: int | None = None,
        tool_choice: Chosen | None = None,
    ) -> Generator[Event, None, None]:
        """As :meth:`tool_result`, piece by piece as :meth:`stream`."""
        asked = check_result(self._last, call_id).manner.after_call()
        manner = asked.turned(mode, budget, asked.tools if tools is None else self._told(tools), tool_choice)
        return self._answer(*self._open(text, manner, of_tool=True), call_id)

    @property
    def reply(self) -> Reply | None:
        """What the model said in the last turn, by part. A saved conversation does not have it."""
        return None if self._last is None else self._last.reply

    @property
    def call(self) -> ToolCall | None:
        """The tool call that waits for its result (:meth:`tool_result`). It need not get one: another message may come
        instead."""
        return None if self._last is None else self._last.waiting

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
        manner: Manner = FAST,
    ) -> Conversation:
        """Continue what :meth:`save` wrote, with the same seed and sampling exactly as if it had never been
        interrupted.

        Raises:
            UserError: the file cannot be read, or other weights made the memory.
        """
        memory = load_memory(path)
        return cls(model, tokenizer, seed, sampling, max_new_tokens=max_new_tokens, memory=memory, manner=manner)

    def fork(self) -> Conversation:
        """A second conversation that begins with the memory of this one; from then on neither knows of the other."""
        settled = self._settled()
        other = Conversation(
            self.model, self.tokenizer, self.seed, self.sampling, None, self.max_new_tokens, settled.memory, self.manner
        )
        other._system, other._ready, other._last = self._system, settled, self._last
        other._knowledge, other._shared = self._knowledge, self._shared
        return other

    def restore(self, memory: Memory | Pool) -> None:
        """Go on from another memory, such as ``Memory.load(path)``. Raises ``UserError`` if other weights made it."""
        with self._one_at_a_time():
            self._settle_anyhow()
            self._ready, self._last = self._joined(ready(self.model, memory)), None

    def reset(self) -> None:
        """Forget everything but the system prompt, the knowledge, and what is shared."""
        with self._one_at_a_time():
            self._settle_anyhow()
            self._start()

    def _start(self) -> None:
        """Begin with a fresh memory, into which the system prompt goes, in the background."""
        self._ready = begun = self._joined(fresh(self.model, self.seed, self._knowledge))
        self._last = None
        if self._system is not None:
            ids = self._system
            self._pending = in_background(lambda: begun.after(self.model, ids).uncounted())

    def _joined(self, prepared: Ready) -> Ready:
        return prepared if self._shared is None else self._shared.join(prepared)

    def _told(self, tools: Offered) -> tuple[Tool, ...]:
        """Those that a turn tells of: its own, and the conversation's where they are not memorized."""
        own = tools_of(tools)
        names = {tool.name for tool in own}
        standing = self.manner.tools if self.template.tells_anew else ()
        return (*own, *(tool for tool in standing if tool.name not in names))

    def _open(self, text: str, manner: Manner, of_tool: bool = False) -> tuple[OpenTurn, Constraint | None]:
        """A turn that can be answered, and what holds of its reply."""
        turn = OpenTurn(
            self.template, text, self.max_new_tokens, manner=manner, of_tool=of_tool, standing=self.manner.tools
        )
        return turn, reply_constraint(turn, self._vocab_size)

    @property
    def _vocab_size(self) -> int:
        return self.model.config.decoder.vocab_size

    def _answer(
        self, turn: OpenTurn, constraint: Constraint | None, result_of: str | None = None
    ) -> Generator[Event, None, None]:
        with self._one_at_a_time():
            if result_of is not None:
                check_result(self._last, result_of)  # another turn may have come since the stream was made
            seen = self._settled().for_query(self.model, turn.prompt)
            for step in self._steps(turn, constraint, seen):
                yield turn.hear(int(step))
                if turn.finish_reason is not None:
                    break
            answered, ids, reply = turn.answered(), turn.interaction(), turn.reply
            call = None
            if reply.tool_call is not None:
                call = read_call(reply.tool_call, turn.offered, f"call_{seen.memory.turns[0] + 1}")
            last = LastTurn(reply, turn.manner, call).after(self._last, result_of is not None)
            update = in_background(lambda: seen.after(self.model, ids))
            with self._lock:
                self._pending, self._last = update, last
        if reply.think is not None:
            yield Thought(reply.think)
        if call is not None:
            yield Called(call)
        yield answered
        memorized = self._settled(update).update
        assert memorized is not None
        yield memorized

    def _steps(self, turn: OpenTurn, constraint: Constraint | None, seen: Ready) -> Iterator[torch.Tensor]:
        """The reply's tokens, (1,) each."""
        memory, looked_up = seen.memory, seen.memory_kv
        ids = torch.tensor([turn.prompt], device=memory.slots.device)
        sampling = self._turn_sampling(memory.turns[0] + 1)
        return generate_tokens(
            self.model, ids, memory, turn.limit, sampling, memory_kv=looked_up, constraint=constraint
        )

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


def _answer_of(events: Generator[Event, None, None]) -> str:
    """The answer's text, once it is complete."""
    with closing(events):
        return next(event.text for event in events if isinstance(event, Answered))
