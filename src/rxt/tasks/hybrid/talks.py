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
from rxt.tasks.hybrid.made import draw_topic
from rxt.tasks.hybrid.made_threads import made_thread
from rxt.tasks.hybrid.offered import Offered, built_in, draw_tools, usual
from rxt.tasks.hybrid.questions import HybridQuestion
from rxt.tasks.hybrid.spread import Spread
from rxt.tasks.hybrid.steps import STEPS
from rxt.tasks.hybrid.threads import Ask, Thread, without_tool
from rxt.tasks.hybrid.uses import USES, Use
from rxt.tasks.hybrid.values import Draw, NothingLeft, ValueSplit
from rxt.tasks.seeds import seeded
from rxt.tools.tool import Tool, tools_text

IDLE = "Nothing is asked."
"""What is thought of a message that asks nothing."""
MOST_IN_TURN = 3
"""Tools that a turn tells of."""
ROOM_IN_TURN = 560
"""Characters of these: at most 220 tokens, so that a model of 320 has 100 left for what else is said."""
NONE_TOLD = 0.15
"""Of the questions for a tool that is not there, in conversations whose turns tell of tools: they tell of none."""
TOOLS_FIRST, STEPS_FIRST = 4, 3
"""How much rather a question that a tool is for, or that needs steps, is asked than one for what was told: of these,
more are due than can be asked."""
NEAR = 0.5
"""Of what no tool is there for, where made-up ones are: something else of a thing that one of them is for."""
SMALL_TALK = tuple(
    group for group in BY_FREQUENCY if not {"What time is it?", "What is the weather like?"} & {*group.queries}
)
"""What one would ask a tool for is no small talk here."""


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
    asks: list[tuple[int, Ask]]
    """What was told enough for, and the turn from which on it is to be asked."""


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
        if extra is not None and extra.made is not None:
            self.draw.use(extra.made.topic.thing)
        self.offered = draw_tools(self.draw, config, extra)
        self.in_system = self.rng.random() < config.system_rate
        self.interactions: list[Interaction] = []
        self.questions: list[HybridQuestion] = []
        self.prompted: set[int] = set()
        self.told_in: dict[int, tuple[Tool, ...]] = {}
        self.open: list[_Open] = []
        self.spread = Spread(self.rng, turns, config.distance_evenness)

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
        untold = [each for each in self.open if len(each.told) < len(each.thread.tellings)]
        self.open = [each for each in self.open if each.asks or each in untold]
        due = [(each, ask) for each in self.open for turn, ask in each.asks if turn <= self.turn]
        if not calls or self.turn + 2 > self.turns:
            due = [(each, ask) for each, ask in due if ask.calling is None]
        full = len(self.open) >= self.config.open_threads and not untold
        chance = self.rng.random()
        if due and (full or chance < self.config.question_rate):
            found, ask = self.rng.choices(due, [self._weight(each, ask) for each, ask in due])[0]
            self.ask(found, ask, withheld=self._withholds(ask))
        elif full or chance > 1 - self.config.small_talk_rate:
            self.small_talk()
        elif untold:
            self.tell(untold[0])
        else:
            self._begin(calls)

    def small_talk(self) -> None:
        """A turn about nothing."""
        group = self.rng.choice(SMALL_TALK)
        word = self.rng.choice(group.words) if group.words else ""
        query, answer = (self.rng.choice(texts).format(w=word) for texts in (group.queries, group.answers))
        self._say_idly(query, answer)

    def begin(self, thread: Thread) -> _Open:
        """Open a thread, of which nothing is told yet."""
        found = _Open(thread, [], [])
        self.open.append(found)
        return found

    def tell(self, found: _Open) -> None:
        """The next message of a thread."""
        telling = found.thread.tellings[len(found.told)]
        for ask in found.thread.asks:
            if ask.told % len(found.thread.tellings) == len(found.told):
                left = self.turns - 1 - self.turn - (ask.calling is not None)
                distance = self.spread.distance(_of_tool(ask), left)
                found.asks.append((self.turn + distance, ask))
        found.told.append(self.turn)
        self._say_idly(telling.query, telling.answer)

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
        if self.rng.random() < self.config.made_rate:
            made = [each for each in self.offered if each.made is not None]
            if made and self.rng.random() < NEAR:
                return self._of_thing(self.rng.choice(made), missing=1)
            return made_thread(self.draw, draw_topic(self.draw), (), missing=1)
        absent: list[Use | None] = [use for use in USES if all(each.use != use for each in self.offered)]
        if built_in("clock") not in self.offered:
            absent.append(None)
        use = self.rng.choice(absent)
        return clock_thread(self.draw, None) if use is None else use_thread(self.draw, usual(use), there=False)

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
        if tool.made is not None:
            return self._of_thing(tool, missing=self.rng.random() < self.config.missing_tool_rate)
        return use_thread(self.draw, tool)

    def ask(self, found: _Open, ask: Ask, withheld: bool = False) -> None:
        """A question, and where a tool is called for it, the turn with the result; ``withheld``: the turn tells of
        other tools than the one that it needs."""
        found.asks = [(turn, each) for turn, each in found.asks if each is not ask]
        told = found.told[ask.told] if found.told else None
        tools = self._told_tools(ask, withheld)
        if withheld:
            ask = replace(without_tool(ask.query), told=ask.told)
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

    def _of_thing(self, tool: Offered, missing: int) -> Thread:
        """What is told of a thing, and asked of it with all the tools that are for it."""
        assert tool.made is not None
        topic = tool.made.topic
        tools = [(each.tool, each.made) for each in self.offered if each.made and each.made.topic is topic]
        return made_thread(self.draw, topic, tools, missing)

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
            self.ask(found, found.thread.asks[0])
        else:
            self.open.remove(found)
            self.small_talk()

    def _weight(self, found: _Open, ask: Ask) -> float:
        """How much rather a question is asked than others that are due: those that come late are few."""
        waited = 1 + self.turn - found.told[ask.told]
        return waited * (TOOLS_FIRST if _of_tool(ask) else STEPS_FIRST if ask.stepped else 1)

    def _withholds(self, ask: Ask) -> bool:
        """Whether the turn does not tell of the tool that a question needs; a product would be worked out then."""
        if self.in_system or ask.calling is None or ask.calling.tool == built_in("calculator").tool:
            return False
        return self.rng.random() < self.config.withheld_rate

    def _told_tools(self, ask: Ask | None, withheld: bool = False) -> tuple[Tool, ...]:
        """The tools that a turn tells of: none where the system prompt has done so."""
        if self.in_system or self.rng.random() >= self._telling_rate(ask):
            return ()
        needed = None if ask is None or ask.calling is None else ask.calling.tool
        kept = [each for each in self.offered if each.tool == needed and not withheld]
        others = [each for each in self.offered if each.tool != needed]
        for found in self.rng.sample(others, len(others)):
            if len(kept) < MOST_IN_TURN and sum(each.length for each in (*kept, found)) <= ROOM_IN_TURN:
                kept.append(found)
        self.rng.shuffle(kept)
        return tuple(each.tool for each in kept)

    def _telling_rate(self, ask: Ask | None) -> float:
        """Of the turns like this one: those that tell of tools."""
        if ask is None:
            return self.config.idle_tools_rate
        if ask.calling is not None:
            return 1.0
        return 1 - NONE_TOLD if ask.kind == "no_tool" else self.config.needless_tools_rate

    def _say_idly(self, query: str, answer: str) -> None:
        """A turn that asks nothing."""
        tools = self._told_tools(None)
        if tools:
            self.told_in[self.turn] = tools
        self._say(Interaction(query, answer, internal=tools_text(tools) if tools else None))

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


def _of_tool(ask: Ask) -> bool:
    return ask.calling is not None or ask.kind == "no_tool"


def generate(split: Split, turns: int, seed: int, index: int, config: HybridConfig) -> HybridConversation:
    """Conversation number ``index`` of a split, of exactly ``turns`` turns."""
    if turns < 1:
        raise UserError(f"hybrid conversations: turns must be at least 1, found {turns}")
    writer = Writer(split, "conversation", turns, seed, index, config)
    while writer.turn < turns:
        writer.move()
    return writer.finish()
