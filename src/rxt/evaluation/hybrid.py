"""How well a model thinks and calls tools over what was told turns ago, by how many.

Every question ends a generated conversation of its own, on the way to which the model's own replies are memorized, as
in a chat. It is asked in every mode out of the same memory. Where a tool is needed, the call is read and checked, what
comes of it is given back, and the answer after that counts. A control asks out of a memory in which nothing is but the
system prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, get_args

from rxt.data.template import Mode
from rxt.errors import UserError
from rxt.evaluation.in_parts import InParts
from rxt.evaluation.subject import State
from rxt.evaluation.walk import even_batches
from rxt.generation.manner import Manner
from rxt.generation.turn import OpenTurn
from rxt.tasks.base import Split
from rxt.tasks.hybrid.config import HybridConfig
from rxt.tasks.hybrid.probes import ProbeKind, asked_last, probe
from rxt.tasks.hybrid.talks import HybridConversation
from rxt.tools.tool import read_call

BATCH = 32
MODES: tuple[Mode, ...] = get_args(Mode)
KINDS: tuple[ProbeKind, ...] = get_args(ProbeKind)
CALLED: tuple[ProbeKind, ...] = ("call", "new_tool")
"""Kinds of questions that need a call."""


@dataclass(frozen=True)
class Tally:
    """What was counted over some questions."""

    asked: int = 0
    right: int = 0
    """Answers, of questions that need a call those after its result."""
    called: int = 0
    """Replies with a call."""
    valid: int = 0
    """Calls that are JSON, of a tool that is offered, with arguments of its schema."""
    arguments: int = 0
    """Calls of the right tool with the right arguments."""
    thought: int = 0
    """Replies with thinking."""
    tokens: int = 0
    """Said, thinking and markers among them."""
    thinking: int = 0
    """Of these, tokens of thinking."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Tally)))

    def share(self, count: int) -> float | None:
        """A count as a share of the questions; None where nothing was asked."""
        return count / self.asked if self.asked else None


By = Mapping[tuple[ProbeKind, int], Tally]
"""By kind of question and distance."""


@dataclass(frozen=True)
class HybridResult:
    """What a model said to questions of every kind and distance."""

    modes: Mapping[Mode, By]
    reset: By
    """In automatic mode, out of a memory that holds the system prompt alone."""
    chance: Mapping[ProbeKind, float]
    """The share of right answers to be expected of guessing."""

    @property
    def distances(self) -> list[int]:
        """Rising."""
        return sorted({distance for _, distance in self.reset})

    def kinds(self) -> list[ProbeKind]:
        """Those that were asked."""
        return [kind for kind in KINDS if any(found == kind for found, _ in self.reset)]


def total(found: By, kinds: Sequence[ProbeKind] = KINDS, distances: Sequence[int] | None = None) -> Tally:
    """All questions of some kinds, at some distances or all."""
    wanted = (
        tally
        for (kind, distance), tally in found.items()
        if kind in kinds and (distances is None or distance in distances)
    )
    return sum(wanted, Tally())


def kinds_of(names: str) -> tuple[ProbeKind, ...]:
    """``"steps,call"`` as kinds of questions. Raises ``UserError`` for a name that none has."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := next((name for name in wanted if name not in KINDS), None):
        raise UserError(f"there are no questions of the kind {unknown!r:.80}; there are {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in wanted)


@dataclass(frozen=True)
class HybridPlan:
    """What is asked."""

    distances: tuple[int, ...] = (1, 4, 16)
    questions: int = 32
    """Of every kind, at every distance."""
    kinds: tuple[ProbeKind, ...] = KINDS
    split: Split = "test"
    budget: int | None = None
    """Tokens of thinking at most; by default what leaves room for an answer."""
    longest: int = 96
    """Tokens of an answer with its call, at most."""
    strict_calls: bool = False
    """Calls are held to their tool's schema while they are decoded; otherwise the model writes them as it likes."""
    config: HybridConfig = field(default_factory=HybridConfig)

    def __post_init__(self) -> None:
        if self.questions < 1:
            raise UserError(f"ask at least one question, found {self.questions}")
        if not self.distances or min(self.distances) < 1:
            raise UserError("hybrid questions need distances, of one turn at least")
        if not self.kinds:
            raise UserError(f"no kind of questions is named; there are {', '.join(KINDS)}")

    @property
    def total(self) -> int:
        """Questions in all, each asked in every mode."""
        return len(self.distances) * len(self.kinds) * self.questions


def measure_hybrid(
    subject: InParts[State], plan: HybridPlan, seed: int, report: Callable[[int], None] = lambda done: None
) -> HybridResult:
    """Ask what the plan says; ``report`` hears how many questions were asked.

    Raises:
        UserError: the model has no such parts; what is told in a turn is longer than it takes.
    """
    if subject.template.tells_anew:  # as its chats are told of tools
        plan = replace(plan, config=replace(plan.config, system_rate=0.0))
    modes: dict[Mode, dict[tuple[ProbeKind, int], Tally]] = {mode: {} for mode in MODES}
    reset: dict[tuple[ProbeKind, int], Tally] = {}
    chances: dict[ProbeKind, float] = {}
    for kind in plan.kinds:
        guessed: list[float] = []
        for distance in plan.distances:
            at = (kind, distance)
            for part in even_batches(plan.questions, BATCH):
                cases = [probe(plan.split, distance, seed, index, plan.config, kind) for index in part]
                talk = _Talk(subject, cases, plan, seed)
                fresh = list(talk.states)
                talk.hold()
                for mode in MODES:
                    modes[mode][at] = modes[mode].get(at, Tally()) + talk.ask(mode, talk.states)
                reset[at] = reset.get(at, Tally()) + talk.ask("auto", fresh)
                guessed += [asked_last(case).chance for case in cases]
                report(len(cases))
        chances[kind] = sum(guessed) / len(guessed)
    return HybridResult(modes, reset, chances)


class _Talk(Generic[State]):
    """B conversations up to their last questions."""

    def __init__(
        self, subject: InParts[State], cases: Sequence[HybridConversation], plan: HybridPlan, seed: int
    ) -> None:
        """Begins each with its system prompt, if it has one."""
        self.subject = subject
        self.cases = cases
        self.plan = plan
        start = subject.start(len(cases), seed)
        self.states = [subject.take(start, [row]) for row in range(len(cases))]
        systems = [(row, case.conversation.system) for row, case in enumerate(cases)]
        told = {row: subject.template.system(text).ids for row, text in systems if text is not None}
        self._remember(list(told), list(told.values()))

    def hold(self) -> None:
        """All turns before the last question, in automatic mode; what the model says is memorized."""
        for turn in range(max(asked_last(case).turn for case in self.cases)):
            rows = [row for row, case in enumerate(self.cases) if turn < asked_last(case).turn]
            turns = [self._open(row, turn, "auto") for row in rows]
            self._reply(turns, [self.states[row] for row in rows])
            self._remember(rows, [each.interaction() for each in turns])

    def ask(self, mode: Mode, states: Sequence[State]) -> Tally:
        """The last questions, in a mode, out of these states; they stay as they are."""
        rows = range(len(self.cases))
        turns = [self._open(row, asked_last(self.cases[row]).turn, mode) for row in rows]
        self._reply(turns, states)
        found = [_counted(turn) for turn in turns]
        going_on: list[tuple[int, str]] = []
        for row, turn in enumerate(turns):
            question, text = asked_last(self.cases[row]), turn.reply.tool_call
            if question.calling is None:
                found[row] += Tally(asked=1, right=text is None and question.correct(turn.reply.answer))
                continue
            found[row] += Tally(asked=1)
            if text is not None:
                call = read_call(text, self.cases[row].tools, "call")
                found[row] += Tally(valid=call.error is None, arguments=question.calling.right(call))
                going_on.append((row, question.calling.run(call)))
        if going_on:
            answers = self._after_results(going_on, turns, states, mode)
            for (row, _), answer in zip(going_on, answers, strict=True):
                question = self.cases[row].questions[-1]
                found[row] += Tally(
                    right=question.correct(answer.reply.answer),
                    tokens=len(answer.said),
                    thinking=answer.thinking_tokens,
                )
        return sum(found, Tally())

    def _after_results(
        self, results: Sequence[tuple[int, str]], turns: Sequence[OpenTurn], states: Sequence[State], mode: Mode
    ) -> list[OpenTurn]:
        """The replies to what came of calls, once the turns with the calls are memorized."""
        rows = [row for row, _ in results]
        memorized = self.subject.remember(
            self.subject.join([states[row] for row in rows]), [turns[row].interaction() for row in rows]
        )
        answers = [self._open(row, asked_last(self.cases[row]).turn + 1, mode, result) for row, result in results]
        self.subject.reply(answers, memorized)
        return answers

    def _open(self, row: int, turn: int, mode: Mode, result: str | None = None) -> OpenTurn:
        """A turn as the conversation has it, or with another result of a tool."""
        case, plan = self.cases[row], self.plan
        interaction = case.conversation.interactions[turn]
        result = interaction.tool_use if result is None else result
        manner = Manner(mode, plan.budget, case.told_in.get(turn, ()), strict_calls=plan.strict_calls)
        asked = interaction.query if result is None else result
        return OpenTurn(
            self.subject.template,
            asked,
            plan.longest,
            manner=manner,
            of_tool=result is not None,
            standing=case.tools,
        )

    def _reply(self, turns: Sequence[OpenTurn], states: Sequence[State]) -> None:
        self.subject.reply(turns, self.subject.join(states))

    def _remember(self, rows: Sequence[int], interactions: Sequence[list[int]]) -> None:
        if rows:
            new = self.subject.remember(self.subject.join([self.states[row] for row in rows]), interactions)
            for place, row in enumerate(rows):
                self.states[row] = self.subject.take(new, [place])


def _counted(turn: OpenTurn) -> Tally:
    """What a reply cost, and which parts it has."""
    reply = turn.reply
    return Tally(
        called=reply.tool_call is not None,
        thought=reply.think is not None,
        tokens=len(turn.said),
        thinking=turn.thinking_tokens,
    )


def numbers_of(result: HybridResult) -> dict[str, Any]:
    """A measurement for JSON; a share is None where nothing was asked."""
    asked = result.kinds()

    def shares(tally: Tally, kind: ProbeKind) -> dict[str, float | int | None]:
        found: dict[str, float | int | None] = {
            "questions": tally.asked,
            "right": tally.share(tally.right),
            "tokens": tally.share(tally.tokens),
            "thought": tally.share(tally.thought),
        }
        if kind in CALLED:
            return found | {"valid_calls": tally.share(tally.valid), "right_arguments": tally.share(tally.arguments)}
        return found | {"needless_calls": tally.share(tally.called)}

    def by_kind(found: By) -> dict[str, Any]:
        return {
            kind: {
                **shares(total(found, [kind]), kind),
                "by_distance": {str(at): shares(total(found, [kind], [at]), kind) for at in result.distances},
            }
            for kind in asked
        }

    return {
        "modes": {mode: by_kind(found) for mode, found in result.modes.items()},
        "controls": {"reset": by_kind(result.reset), "chance": dict(result.chance)},
        **comparison(result),
    }


def comparison(result: HybridResult) -> dict[str, float | None]:
    """What thinking is worth where steps are needed, and what deciding for itself is, over all that needs no tool."""
    said: tuple[ProbeKind, ...] = ("recall", "steps")
    steps = {mode: total(found, ["steps"]) for mode, found in result.modes.items()}
    both = {mode: total(found, said) for mode, found in result.modes.items()}

    def less(first: float | None, second: float | None) -> float | None:
        return None if first is None or second is None else first - second

    def right(tally: Tally) -> float | None:
        return tally.share(tally.right)

    best = max((both[mode] for mode in ("fast", "thinking")), key=lambda tally: right(tally) or 0.0)
    return {
        "thinking_gain": less(right(steps["thinking"]), right(steps["fast"])),
        "auto_behind_best": less(right(best), right(both["auto"])),
        "tokens_saved_by_auto": less(
            both["thinking"].share(both["thinking"].tokens), both["auto"].share(both["auto"].tokens)
        ),
    }
