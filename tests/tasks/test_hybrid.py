"""Hybrid conversations: what they tell, ask, work out and call, and what each split may show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from factories import tiny_tokenizer
from rxt.data.encoding import encode_conversation
from rxt.data.markup import Encoded
from rxt.data.records import Conversation, Interaction
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.tasks.base import Split
from rxt.tasks.hybrid import HybridConfig
from rxt.tasks.hybrid.arithmetic import added, later, later_in_steps, multiplied, subtracted
from rxt.tasks.hybrid.probes import ProbeKind, asked_last, probe
from rxt.tasks.hybrid.questions import Calling, HybridQuestion, holds
from rxt.tasks.hybrid.talks import HybridConversation, generate
from rxt.tasks.hybrid.task import Hybrid
from rxt.tasks.hybrid.uses import HELD_OUT, USES
from rxt.tasks.registry import task
from rxt.tools.builtin import Calculator
from rxt.tools.calculator import calculate
from rxt.tools.tool import call_text, read_call

CONFIG = HybridConfig()
KNOWN = replace(CONFIG, made_rate=0.0, renamed_rate=0.0)
"""No tool but those that training knows, under their usual names."""
EQUATION = re.compile(r"(\d+(?: [+*-] \d+)+) = (\d+)")
KINDS: tuple[ProbeKind, ...] = ("recall", "steps", "call", "new_tool", "no_tool")
BETA = Template(tiny_tokenizer("beta"), "beta", 4_096)


def talks(split: Split, count: int = 40) -> Iterator[HybridConversation]:
    for index in range(count):
        yield generate(split, 4 + index % 16, 3, index, CONFIG)


def said(case: HybridConversation, question: HybridQuestion) -> str:
    found = case.conversation.interactions[question.turn]
    return found.answer if question.calling is None else found.tool_call or ""


def test_conversations_are_repeatable_of_their_length_and_answer_themselves() -> None:
    seen: set[str] = set()
    for index, case in enumerate(talks("train")):
        assert case == generate("train", 4 + index % 16, 3, index, CONFIG)
        assert len(case.conversation.interactions) == 4 + index % 16
        for question in case.questions:
            assert question.correct(said(case, question)), question
            assert not question.correct("I don't know.")
            assert question.told_turn is None or question.told_turn < question.turn
            seen.add(question.kind)
    assert seen >= {
        "recall",
        "sum",
        "difference",
        "comparison",
        "chain",
        "date",
        "product",
        "call",
        "result",
        "no_tool",
    }


def test_calls_are_of_an_offered_tool_and_the_model_is_told_of_it() -> None:
    calls = 0
    for case in talks("train", 80):
        for question in case.questions:
            if question.calling is None:
                continue
            calls += 1
            asking, result = case.conversation.interactions[question.turn : question.turn + 2]
            assert read_call(asking.tool_call or "", case.tools, "").error is None
            told = case.conversation.system or asking.internal or ""
            assert question.calling.tool.told in told.splitlines()
            assert (result.query, result.tool_use) == ("", question.calling.result)
            heard = " ".join(each.query for each in case.conversation.interactions[: question.turn + 1])
            given = [value for name, value in question.calling.arguments.items() if name != "action"]
            texts = [text for value in given if not isinstance(value, bool) for text in str(value).split(" * ")]
            assert all(text in heard for text in texts if text != "12"), (given, heard)
    assert calls > 20


def test_some_of_the_offered_tools_are_never_needed() -> None:
    cases = list(talks("train", 60))
    needless = sum(
        len(case.tools) - len({question.calling.tool.name for question in case.questions if question.calling})
        for case in cases
    )
    assert needless > len(cases)


def test_every_step_of_the_thinking_is_true_and_leads_to_the_answer() -> None:
    equations = 0
    for case in talks("train", 80):
        for question in case.questions:
            think = case.conversation.interactions[question.turn].think
            if not question.stepped or think is None:
                continue
            assert question.value is not None
            assert think.endswith(question.value), think
            for left, right in EQUATION.findall(think):
                equations += 1
                assert calculate(left) == right, think
    assert equations > 50


def test_sums_of_numbers_and_dates_are_worked_out() -> None:
    assert added(47, 38) == "47 + 38: 7 + 8 = 15, 4 + 3 + 1 = 8, so 85"
    assert added(95, 8) == "95 + 8: 5 + 8 = 13, 9 + 0 + 1 = 10, so 103"
    assert subtracted(52, 38) == "52 - 38: 12 - 8 = 4, 4 - 3 = 1, so 14"
    assert subtracted(100, 1) == "100 - 1: 10 - 1 = 9, 9 - 0 = 9, 0 - 0 = 0, so 99"
    assert multiplied(34, 7) == "34 * 7: 4 * 7 = 28, 3 * 7 + 2 = 23, so 238"
    assert multiplied(34, 12).endswith("so 408")
    assert [later(12, "May", 25), later(30, "January", 2), later(1, "June", 29)] == ["6 June", "1 February", "30 June"]
    assert later(28, "December", 28) == "25 January"
    assert later_in_steps(12, "May", 25).endswith("so 37. May has 31. 37 - 31: 7 - 1 = 6, 3 - 3 = 0, so 6. 6 June")


@pytest.mark.parametrize("kind", KINDS)
def test_probes_ask_for_what_was_told_so_many_turns_ago_and_nothing_else_told(kind: ProbeKind) -> None:
    for index in range(25):
        distance = 1 + index % 7
        case = probe("test", distance, 5, index, CONFIG, kind)
        assert case == probe("test", distance, 5, index, CONFIG, kind)
        question = asked_last(case)
        assert question.told_turn is not None
        assert question.turn - question.told_turn == distance
        assert question.correct(said(case, question))
        interactions = case.conversation.interactions
        assert len(interactions) == question.turn + (2 if kind in ("call", "new_tool") else 1)
        assert all(each.tool_call is None for each in interactions[: question.turn]), "no call by the way"
        assert (question.calling is not None) == (kind in ("call", "new_tool"))
        assert question.stepped == (kind == "steps")
        if kind in ("recall", "call", "new_tool"):
            wanted = question.value if question.calling is None else str(list(question.calling.arguments.values())[-1])
            between = " ".join(each.query for each in interactions[question.told_turn + 1 : question.turn])
            assert wanted is not None
            assert f" {wanted}" not in between.replace(".", " "), "not spoken of since"


def needed(case: HybridConversation) -> Iterator[tuple[str, ...]]:
    """What the questions of a conversation need: the arguments of a call, the numbers that are added."""
    for question in case.questions:
        if question.calling is not None:
            about = question.calling.tool.description
            if any(about == use.description for use in (*USES, *HELD_OUT)):
                yield about, *map(str, question.calling.arguments.values())
        think = case.conversation.interactions[question.turn].think
        if question.kind == "sum" and think is not None:
            yield "sum", *sorted(re.findall(r"\d+", think.split(".")[0]))


def test_splits_need_other_values() -> None:
    train = {found for case in talks("train", 400) for found in needed(case)}
    held = {found for case in talks("test", 150) for found in needed(case)}
    validation = {found for case in talks("validation", 150) for found in needed(case)}
    assert min(len(train), len(held), len(validation)) > 30
    assert not train & held
    assert not train & validation
    assert not held & validation


def test_new_tools_are_never_declared_in_training() -> None:
    declared = {tool.told for case in talks("train", 300) for tool in case.tools}
    for index in range(40):
        calling = asked_last(probe("test", 2, 1, index, CONFIG, "new_tool")).calling
        assert calling is not None
        assert calling.tool.told not in declared
        usual = asked_last(probe("test", 2, 1, index, KNOWN, "call")).calling
        assert usual is not None
        assert usual.tool.told in declared, "held-out values alone"
    with pytest.raises(UserError, match="the split train has no tools of its own"):
        probe("train", 2, 1, 0, CONFIG, "new_tool")


def test_every_tool_is_used_in_every_split() -> None:
    splits: tuple[Split, ...] = ("train", "validation", "test")
    for split in splits:
        found: set[str] = set()
        for index in range(220):
            calling = asked_last(probe(split, 1, 2, index, KNOWN, "call")).calling
            assert calling is not None
            found.add(calling.tool.name)
        assert found == {use.names[0] for use in USES} | {"calculator", "notebook"}


@pytest.mark.parametrize(
    ("answer", "value", "others", "right"),
    [
        ("That makes 85.", "85", (), True),
        ("That makes 85 or 86.", "85", (), False),
        ("That makes 185.", "85", (), False),
        ("ann is", "Ann", ("Bob",), True),
        ("Ann or Bob is.", "Ann", ("Bob",), False),
        ("It ends on 6 June.", "6 June", (), True),
        ("It ends on 6 July.", "6 June", (), False),
        ("It ends on 16 June.", "6 June", (), False),
        ("It closes at 18:42.", "18:42", (), True),
        ("It closes at 18:24.", "18:42", (), False),
        ("Anna is.", "Ann", (), False),
        ("", "Ann", (), False),
    ],
)
def test_a_right_answer_holds_the_value_and_nothing_else_of_its_kind(
    answer: str, value: str, others: tuple[str, ...], right: bool
) -> None:
    assert holds(answer, value, others) is right


def test_a_right_call_has_the_tool_and_the_arguments() -> None:
    calling = Calling(Calculator().tool, {"expression": "34 * 12"}, "408")
    for expression, right in (("34*12", True), ("12 * 34", True), ("408", False), ("34 * 13", False), ("34 *", False)):
        call = read_call(call_text("calculator", {"expression": expression}), [calling.tool], "1")
        assert calling.right(call) is right
        assert calling.run(call) == ("408" if right else "error: nothing found")
    broken = read_call("{", [calling.tool], "1")
    assert calling.run(broken).startswith("error: the call is not JSON")
    other = read_call(call_text("clock", {}), [calling.tool], "1")
    assert not calling.right(other)


def test_what_a_tool_gives_is_read_and_not_learned_and_a_told_mode_neither() -> None:
    whole = Interaction("", "It is 14.", think="14", tool_use="14 degrees", internal="TOOLS")
    (auto,) = encode_conversation(Conversation((whole,)), BETA)
    (told,) = encode_conversation(Conversation((whole,), prompted=frozenset({0})), BETA)

    def learned(encoded: Encoded) -> list[int]:
        return [token for token, wanted in zip(encoded.ids, encoded.loss, strict=True) if wanted]

    tokens = BETA.tokens
    body = [*BETA.tokenizer.encode("14"), tokens.answer, *BETA.tokenizer.encode("It is 14."), tokens.eos]
    assert learned(auto) == [tokens.think, *body]
    assert learned(told) == body
    assert auto.ids == told.ids


def test_modes_are_drawn_and_where_the_model_decides_steps_decide() -> None:
    thought: dict[tuple[bool, bool], set[bool]] = {}
    for case in talks("train", 60):
        for question in case.questions:
            interaction = case.conversation.interactions[question.turn]
            asked = (question.turn in case.conversation.prompted, question.stepped)
            thought.setdefault(asked, set()).add(interaction.think is not None)
    assert thought[False, True] == {True}
    assert thought[False, False] == {False}
    assert thought[True, True] == thought[True, False] == {True, False}, "twins: thought over, and at once"


def test_replies_are_learned_as_often_as_asked_for() -> None:
    for index in range(10):
        usual, quiet = (
            Hybrid(mix).conversation("train", 10, 0, index) for mix in (HybridConfig(), HybridConfig(reply_rate=0))
        )
        assert not usual.conversation.unlearned
        assert quiet.conversation.interactions == usual.conversation.interactions
        assert quiet.conversation.unlearned == set(range(10)) - set(quiet.questions or {})
        assert quiet.conversation.prompted == usual.conversation.prompted


def test_as_a_task() -> None:
    hybrid = task("hybrid")
    told = hybrid.probe("validation", 3, 0, 1)
    assert told.last_question.correct(told.conversation.interactions[-1].answer)
    assert hybrid.probe("test", 3, 0, 1, "steps").last_question.told_turn is not None
    assert 0 < hybrid.chance(HybridQuestion(1, 0, "comparison", "Ann", chance=0.5)) < 1
    with pytest.raises(UserError, match="no phrasings"):
        hybrid.probe("test-unseen-phrasings", 1, 0, 0)
    with pytest.raises(UserError, match="question_rate and small_talk_rate"):
        task("hybrid", {"question_rate": 0.9, "small_talk_rate": 0.2})
    with pytest.raises(UserError, match="tools must be from 2 to 6"):
        task("hybrid", {"tools": 1})
