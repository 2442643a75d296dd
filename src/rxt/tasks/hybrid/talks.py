"""Hybrid conversations, made anew from a number: what is told, what is asked for, how it is asked, and what is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rxt.data.records import Conversation, Interaction
from rxt.errors import UserError
from rxt.tasks.base import Split
from rxt.tasks.everyday.small_talk import BY_FREQUENCY
from rxt.tasks.hybrid.calls import clock_thread, notebook_thread, product_thread, use_thread
from rxt.tasks.hybrid.config import HybridConfig
from rxt.tasks.hybrid.offered import Offered, built_in, draw_tools, offered
from rxt.tasks.hybrid.questions import HybridQuestion
from rxt.tasks.hybrid.steps import STEPS
from rxt.tasks.hybrid.threads import Ask, Thread
from rxt.tasks.hybrid.uses import USES
from rxt.tasks.hybrid.values import Draw, NothingLeft, ValueSplit
from rxt.tasks.seeds import seeded
from rxt.tools.tool import Tool, tools_text

IDLE = "Nothing is asked."
"""What is thought of a message that asks nothing."""
MOST_IN_TURN = 3
"""Tools that are told in a turn."""
NEEDLESS_TOLD = 0.3
"""Of the questions that need no tool, in conversations whose turns tell of tools: they tell of some all the same."""


@dataclass(frozen=True)
class HybridConversation:
    """A conversation and what is known of it."""

    conversation: Conversation
    questions: tuple[HybridQuestion, ...]
    tools: tuple[Tool, ...]
    """Those that it offers; in the system prompt, or in the turns that ask."""
    told_in: Mapping[int, tuple[Tool, ...]]
    """By turn, the tools that it tells of itself."""


@dataclass
class _Open:
    """A thread that is being told or can be asked for."""

    thread: Thread
    told: list[int]
    """The turns of its tellings so far."""
    left: list[Ask]


class Writer:
    """Writes one conversation turn by turn; everything is a function of what it is made with."""

    def __init__(
        self,
        split: Split,
        salt: str,
        turns: int,
        seed: int,
        index: int,
        config: HybridConfig,
        extra: Offered | None = None,
    ) -> None:
        """``extra``: a tool that is offered beside those that are drawn."""
        if split == "test-unseen-phrasings":
            raise UserError("hybrid conversations have no phrasings that training never shows; ask for the split test")
        self.rng = seeded("hybrid", salt, split, turns, seed, index)
        values: ValueSplit = split
        self.turns = turns
        self.config = config
        self.draw = Draw(values, self.rng)
        self.offered = draw_tools(self.rng, values, config.tools, config.renamed_rate)
        if extra is not None:
            others = [each for each in self.offered if each.tool.name != extra.tool.name and each.use != extra.use]
            self.offered = [*others[: config.tools - 1], extra]
            self.rng.shuffle(self.offered)
        self.in_system = self.rng.random() < config.system_rate
        self.interactions: list[Interaction] = []
        self.questions: list[HybridQuestion] = []
        self.prompted: set[int] = set()
        self.told_in: dict[int, tuple[Tool, ...]] = {}
        self.open: list[_Open] = []

    @property
    def turn(self) -> int:
        """Interactions so far."""
        return len(self.interactions)

    def finish(self) -> HybridConversation:
        """All that was written."""
        tools = tuple(each.tool for each in self.offered)
        system = tools_text(tools) if self.in_system else None
        conversation = Conversation(tuple(self.interactions), system, prompted=frozenset(self.prompted))
        return HybridConversation(conversation, tuple(self.questions), tools, self.told_in)

    def move(self, calls: bool = True) -> None:
        """One more ordinary turn, or two where a tool is called; ``calls``: whether one may be."""
        self.open = [each for each in self.open if each.left]
        ready = [(each, ask) for each in self.open for ask in self._askable(each)]
        if not calls or self.turn + 2 > self.turns:
            ready = [(each, ask) for each, ask in ready if ask.calling is None]
        untold = [each for each in self.open if len(each.told) < len(each.thread.tellings)]
        full = len(self.open) >= self.config.open_threads
        chance = self.rng.random()
        if ready and (chance < self.config.question_rate or (full and not untold)):
            self.ask(*self._chosen(ready))
        elif chance > 1 - self.config.small_talk_rate or (full and not untold):
            self.small_talk()
        elif untold:
            self.tell(untold[0])
        else:
            self._begin(calls)

    def small_talk(self) -> None:
        """A turn about nothing."""
        group = self.rng.choice(BY_FREQUENCY)
        word = self.rng.choice(group.words) if group.words else ""
        query, answer = (self.rng.choice(texts).format(w=word) for texts in (group.queries, group.answers))
        self._say(Interaction(query, answer))

    def begin(self, thread: Thread) -> _Open:
        """Open a thread, of which nothing is told yet."""
        found = _Open(thread, [], list(thread.asks))
        self.open.append(found)
        return found

    def tell(self, found: _Open) -> None:
        """The next message of a thread."""
        telling = found.thread.tellings[len(found.told)]
        found.told.append(self.turn)
        self._say(Interaction(telling.query, telling.answer))

    def new_thread(self, calls: bool) -> Thread:
        """Something to speak of; ``calls``: a tool may be needed for it.

        Raises:
            NothingLeft: what was drawn has been spoken of already.
        """
        if not calls or self.rng.random() >= self.config.call_rate:
            return self.rng.choice(STEPS)(self.draw)
        if self.rng.random() < self.config.missing_tool_rate:
            return self.missing()
        return self.thread_of(self.rng.choice([*self.offered, None]))

    def missing(self) -> Thread:
        """Something that a tool is needed for which is not there.

        Raises:
            NothingLeft: what was drawn has been spoken of already.
        """
        absent = [use for use in USES if all(each.use != use for each in self.offered)]
        return use_thread(self.draw, offered(self.rng.choice(absent), 0), there=False)

    def thread_of(self, tool: Offered | None) -> Thread:
        """Something that a tool is needed for; None: a product, for which it is the calculator if there is one.

        Raises:
            NothingLeft: what was drawn has been spoken of already.
        """
        if tool is None or tool == built_in("calculator"):
            there = built_in("calculator") in self.offered
            return product_thread(self.draw, built_in("calculator").tool if there else None)
        if tool == built_in("clock"):
            return clock_thread(self.draw, tool.tool)
        if tool == built_in("notebook"):
            return notebook_thread(self.draw, tool.tool)
        return use_thread(self.draw, tool)

    def ask(self, found: _Open, ask: Ask) -> None:
        """A question, and where a tool is called for it, the turn with the result."""
        found.left.remove(ask)
        told = found.told[ask.told] if found.told else None
        tools = self._told_tools(ask)
        internal = tools_text(tools) if tools else None
        if tools:
            self.told_in |= {self.turn: tools} | ({} if ask.calling is None else {self.turn + 1: tools})
        if ask.calling is None:
            question = HybridQuestion(self.turn, told, ask.kind, ask.value, ask.others, ask.chance, ask.stepped)
            self._say(Interaction(ask.query, ask.answer, internal=internal), ask)
            self.questions.append(question)
            return
        question = HybridQuestion(self.turn, told, "call", None, calling=ask.calling)
        self._say(Interaction(ask.query, "", tool_call=ask.calling.text, internal=internal), ask)
        self.questions += [question, HybridQuestion(self.turn, self.turn - 1, "result", ask.value)]
        result = Interaction("", ask.answer, tool_use=ask.calling.result, internal=internal)
        self._say(result, replace(ask, think=f"The result: {ask.value}", stepped=False, calling=None))

    def _begin(self, calls: bool) -> None:
        """Speak of something new."""
        try:
            found = self.begin(self.new_thread(calls))
        except NothingLeft:
            self.small_talk()
            return
        if found.thread.tellings:
            self.tell(found)
        elif self.turn + 2 <= self.turns:
            self.ask(found, found.left[0])
        else:
            self.open.remove(found)
            self.small_talk()

    def _askable(self, found: _Open) -> list[Ask]:
        """What of a thread can be asked for now."""
        tellings, told = len(found.thread.tellings), len(found.told)
        return [ask for ask in found.left if ask.told % max(1, tellings) < told]

    def _chosen(self, ready: list[tuple[_Open, Ask]]) -> tuple[_Open, Ask]:
        """One of them, the rarer distances rather."""
        evenness = self.config.distance_evenness
        weights = [
            (1 + self.turn - (found.told[ask.told] if found.told else self.turn)) ** (evenness / 2)
            for found, ask in ready
        ]
        return self.rng.choices(ready, weights)[0]

    def _told_tools(self, ask: Ask) -> tuple[Tool, ...]:
        """The tools that the turn tells of: none where the system prompt has done so."""
        if self.in_system or (ask.calling is None and ask.kind != "no_tool" and self.rng.random() >= NEEDLESS_TOLD):
            return ()
        tools = [each.tool for each in self.offered]
        if ask.calling is not None:
            needed = ask.calling.tool
            others = [tool for tool in tools if tool != needed]
            tools = [needed, *self.rng.sample(others, min(len(others), MOST_IN_TURN - 1))]
            self.rng.shuffle(tools)
        return tuple(tools[:MOST_IN_TURN])

    def _say(self, interaction: Interaction, ask: Ask | None = None) -> None:
        """Write a turn, in the mode that is drawn for it."""
        draw, thinks, forced = self.rng.random(), False, False
        if ask is None:
            thinks = forced = draw < self.config.idle_thinking_rate
        elif draw < self.config.auto_rate:
            thinks = ask.stepped
        else:
            forced, thinks = True, draw < self.config.auto_rate + self.config.thinking_rate
        if forced:
            self.prompted.add(self.turn)
        think = (IDLE if ask is None else ask.think) if thinks else None
        self.interactions.append(replace(interaction, think=think))


def generate(split: Split, turns: int, seed: int, index: int, config: HybridConfig) -> HybridConversation:
    """Conversation number ``index`` of a split, of exactly ``turns`` turns."""
    if turns < 1:
        raise UserError(f"hybrid conversations: turns must be at least 1, found {turns}")
    writer = Writer(split, "conversation", turns, seed, index, config)
    while writer.turn < turns:
        writer.move()
    return writer.finish()
