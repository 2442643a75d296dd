"""What the hybrid suite counts, of models that say what they are told to: rightly, wrongly, and out of no memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from factories import tiny_tokenizer
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.evaluation.hybrid import (
    KINDS,
    MODES,
    HybridPlan,
    HybridResult,
    comparison,
    kinds_of,
    measure_hybrid,
    numbers_of,
    total,
)
from rxt.evaluation.in_parts import InParts
from rxt.generation.turn import OpenTurn
from rxt.tasks.hybrid import HybridConfig
from rxt.tasks.hybrid.probes import ProbeKind, asked_last, probe
from rxt.tasks.hybrid.talks import HybridConversation
from rxt.tools.tool import call_text
from scripted_chat import ids

TEMPLATE = Template(tiny_tokenizer("beta"), "beta", 4_096)
State = tuple[tuple[str, ...], ...]
"""Of each conversation, what was memorized, as text."""
Say = Callable[[HybridConversation, str], str]
"""The reply to the last question or to the result of its call, given how the prompt ends: ``<answer>``, ``<think>`` or
neither."""
LONGEST = 400
"""Enough for a call in bytes."""
PLAN = HybridPlan((1, 3), 6, longest=LONGEST)


class Oracle(InParts[State]):
    """Knows what to say where it remembers what was told, and else says that it does not know."""

    def __init__(self, plan: HybridPlan, seed: int, say: Say) -> None:
        super().__init__(TEMPLATE)
        self.say = say
        self.cases = [
            probe(plan.split, distance, seed, index, plan.config, kind)
            for kind in plan.kinds
            for distance in plan.distances
            for index in range(plan.questions)
        ]
        self.systems: list[str] = []

    def start(self, batch_size: int, seed: int) -> State:
        return ((),) * batch_size

    def answer(self, prompts: Sequence[list[int]], state: State, max_new_tokens: int = 48) -> list[list[int]]:
        raise NotImplementedError

    def remember(self, state: State, interactions: Sequence[list[int]]) -> State:
        texts = [TEMPLATE.tokenizer.decode(each) for each in interactions]
        return tuple((*before, text) for before, text in zip(state, texts, strict=True))

    def take(self, state: State, rows: Sequence[int]) -> State:
        return tuple(state[row] for row in rows)

    def join(self, states: Sequence[State]) -> State:
        return tuple(each for state in states for each in state)

    def state_bytes(self, state: State) -> int:
        return 0

    def reply(self, turns: Sequence[OpenTurn], state: State) -> None:
        for turn, memory in zip(turns, state, strict=True):
            ending = {TEMPLATE.tokens.answer: "<answer>", TEMPLATE.tokens.think: "<think>"}.get(turn.prompt[-1], "")
            for token in ids(f"{self._said(turn, memory, ending)}<eos>"):
                turn.hear(token)

    def _said(self, turn: OpenTurn, memory: tuple[str, ...], ending: str) -> str:
        prompt = TEMPLATE.tokenizer.decode(turn.prompt)
        for case in self.cases:
            question, interactions = asked_last(case), case.conversation.interactions
            heard = [case.conversation.system or "", *(each.query for each in interactions[: question.turn])]
            told = all(any(words in text for text in memory) for words in heard)
            asked = interactions[question.turn].query
            if told and asked in prompt and (interactions[question.turn].internal or "") in prompt:
                return self.say(case, ending)
        return {"": "<answer>", "<think>": "<answer>", "<answer>": ""}[ending] + "I don't know."


def right(case: HybridConversation, ending: str) -> str:
    """Thinks where steps are needed, or where it has to; calls where it should."""
    question = asked_last(case)
    last = case.conversation.interactions[-1].answer
    opened = {
        "<answer>": "",
        "<think>": "steps<answer>",
        "": "<think>steps<answer>" if question.stepped else "<answer>",
    }
    return opened[ending] + (last if question.calling is None else f"<tool_call>{question.calling.text}")


def measured(say: Say, plan: HybridPlan = PLAN) -> HybridResult:
    subject = _Answering(plan, 1, say)
    return measure_hybrid(subject, plan, 1)


class _Answering(Oracle):
    """Answers results of calls, too: with what the conversation has, where the result is that of the right call."""

    def _said(self, turn: OpenTurn, memory: tuple[str, ...], ending: str) -> str:
        if TEMPLATE.tokens.tool_use not in turn.prompt:
            return super()._said(turn, memory, ending)
        prompt = TEMPLATE.tokenizer.decode(turn.prompt)
        opened = {"": "<answer>", "<think>": "<answer>", "<answer>": ""}[ending]
        for case in self.cases:
            calling = asked_last(case).calling
            if calling is not None and calling.text in memory[-1] and prompt.endswith(calling.result):
                return opened + case.conversation.interactions[-1].answer
        return opened + "It failed."


def test_a_model_that_remembers_is_right_in_every_mode_and_one_without_memory_is_not() -> None:
    found = measured(right)
    assert [found.kinds(), found.distances] == [list(KINDS), [1, 3]]
    for mode in MODES:
        for kind in KINDS:
            tally = total(found.modes[mode], [kind])
            assert (tally.asked, tally.right) == (12, 12), (mode, kind)
            calls = 12 if kind in ("call", "new_tool") else 0
            assert (tally.called, tally.valid, tally.arguments) == (calls,) * 3
    assert total(found.reset).right == 0
    assert total(found.modes["fast"]).thought == total(found.modes["fast"]).thinking == 0
    assert total(found.modes["thinking"]).thought == 60
    thought = {kind: total(found.modes["auto"], [kind]).thought for kind in KINDS}
    assert thought == {"recall": 0, "steps": 12, "call": 0, "new_tool": 0, "no_tool": 0}
    said = {mode: sum(total(found.modes[mode], [kind]).tokens for kind in ("recall", "steps")) for mode in MODES}
    assert said["fast"] < said["auto"], "it thinks where steps are needed"
    assert comparison(found)["tokens_saved_by_auto"] == (said["thinking"] - said["auto"]) / 24


def test_what_thinking_is_worth_is_the_difference() -> None:
    """At once it is always wrong where steps are needed; deciding for itself, it never thinks."""

    def say(case: HybridConversation, ending: str) -> str:
        if asked_last(case).stepped and ending != "<think>":
            return {"": "<answer>", "<answer>": ""}[ending] + "It is 7 or 8."
        return right(case, ending)

    found = measured(say, HybridPlan((1, 3), 6, ("recall", "steps"), longest=LONGEST))
    worth = comparison(found)
    assert worth["thinking_gain"] == 1.0
    assert worth["auto_behind_best"] == 0.5
    numbers = numbers_of(found)
    assert numbers["modes"]["fast"]["steps"]["right"] == 0.0
    assert numbers["modes"]["thinking"]["steps"]["by_distance"]["3"]["right"] == 1.0
    assert numbers["modes"]["fast"]["recall"]["right"] == 1.0


@pytest.mark.parametrize(
    ("wrong", "called", "valid"),
    [
        ("<answer>I will see.", 0, 0),
        ('<answer><tool_call>{"name": "wea', 12, 0),
        (f"<answer><tool_call>{call_text('no_such', {})}", 12, 0),
        ("<answer><tool_call>CHANGED", 12, 12),
    ],
)
def test_calls_are_counted_by_what_is_right_of_them(wrong: str, called: int, valid: int) -> None:
    def say(case: HybridConversation, ending: str) -> str:
        calling = asked_last(case).calling
        assert calling is not None
        changed = {
            name: f"{value}x" if isinstance(value, str) and name != "action" else value
            for name, value in calling.arguments.items()
        }
        changed = {name: value + 1 if isinstance(value, int) else value for name, value in changed.items()}
        text = wrong.replace("CHANGED", call_text(calling.tool.name, changed))
        return text.removeprefix("<answer>") if ending == "<answer>" else text

    known = HybridConfig(made_rate=0.0)  # any text, or any whole number, is valid for these
    found = measured(say, HybridPlan((1, 3), 6, ("call",), longest=LONGEST, config=known))
    tally = total(found.modes["auto"])
    assert (tally.asked, tally.called, tally.valid, tally.arguments, tally.right) == (12, called, valid, 0, 0)
    assert numbers_of(found)["modes"]["auto"]["call"]["valid_calls"] == valid / 12


def test_a_needless_call_is_wrong_and_counted() -> None:
    def say(case: HybridConversation, ending: str) -> str:
        return right(case, ending) + f"<tool_call>{call_text('clock', {})}"

    found = measured(say, HybridPlan((1,), 4, ("recall",), longest=LONGEST))
    assert numbers_of(found)["modes"]["fast"]["recall"] == {
        "questions": 4,
        "right": 0.0,
        "tokens": numbers_of(found)["modes"]["fast"]["recall"]["tokens"],
        "thought": 0.0,
        "needless_calls": 1.0,
        "by_distance": {"1": numbers_of(found)["modes"]["fast"]["recall"]["by_distance"]["1"]},
    }


def test_results_of_wrong_calls_are_given_to_the_model_and_its_answer_counts_only_if_it_is_right() -> None:
    heard: list[str] = []

    class Listening(_Answering):
        def reply(self, turns: Sequence[OpenTurn], state: State) -> None:
            heard.extend(
                TEMPLATE.tokenizer.decode(turn.prompt) for turn in turns if TEMPLATE.tokens.tool_use in turn.prompt
            )
            super().reply(turns, state)

    plan = HybridPlan((2,), 3, ("call",))
    measure_hybrid(
        Listening(plan, 1, lambda _, ending: ("" if ending == "<answer>" else "<answer>") + "<tool_call>{"), plan, 1
    )
    assert len(heard) == 9
    assert all("error: the call is not JSON" in prompt for prompt in heard)


def test_kinds_are_named() -> None:
    found: tuple[ProbeKind, ...] = kinds_of(" call, recall")
    assert found == ("recall", "call")
    with pytest.raises(UserError, match="no questions of the kind 'calls'"):
        kinds_of("calls")
    with pytest.raises(UserError, match="no kind"):
        HybridPlan(kinds=())
