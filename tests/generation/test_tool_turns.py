"""Tool calls and their results, and what is refused without ending the conversation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from factories import ScriptedHead, chat_model, scripted_model
from rxt.data.records import Interaction
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.generation.conversation import Answered, Called, Conversation
from rxt.generation.manner import Manner
from rxt.model.memory import Memory
from rxt.tools.tool import Tool, call_text, tools_text
from scripted_chat import ADD, CALL, LONG, Scripted, ids, slots_after


def test_a_call_and_its_result_are_two_turns() -> None:
    """Asked, called, answered; each turn is memorized whole, and the second is asked for as the first was."""
    scripted = Scripted()
    chat = scripted.says(f"<think>so<answer>hello<tool_call>{CALL}<eos>")
    assert chat.ask("my name", "auto", [ADD]) == "hello"
    call, middle = chat.call, chat.memory
    assert call is not None
    assert (call.name, call.arguments, call.error) == ("add", {"a": 7}, None)
    scripted.says("<think>how<answer>Ann<eos>")
    assert chat.tool_result(call.id, "8") == "Ann"
    expected = Interaction("", "Ann", "how", tool_use="8", internal=tools_text([ADD]))
    assert torch.equal(chat.memory.slots, slots_after(middle, chat, expected))
    assert chat.call is None
    assert chat.turns == 2


def test_a_result_may_be_asked_for_in_another_way_and_be_empty() -> None:
    scripted = Scripted()
    chat = scripted.says(f"<think>so<answer><tool_call>{CALL}<eos>")
    assert chat.ask("my name", "auto", [ADD]) == ""
    middle = chat.memory
    assert chat.call is not None
    scripted.says(f"<tool_call>{CALL}<eos>")
    assert chat.tool_result(chat.call.id, "", "fast", []) == ""
    expected = Interaction("", "", tool_use="", tool_call=CALL)
    assert torch.equal(chat.memory.slots, slots_after(middle, chat, expected))
    assert chat.call.error == "there is no tool 'add'; there is none", "it was not told of any in this turn"


def test_the_tools_of_a_conversation_are_told_once_with_its_system_prompt() -> None:
    model, tokenizer, head = scripted_model(LONG)
    for system, told in ((None, tools_text([ADD])), ("Be kind.", f"Be kind.\n\n{tools_text([ADD])}")):
        chat = Conversation(model, tokenizer, system=system, manner=Manner(tools=(ADD,)))
        with torch.no_grad():
            start = model.memorize(model.init_memory(1, 0), torch.tensor([chat.template.system(told).ids]))
        assert torch.equal(chat.memory.slots, start.slots)
        assert chat.turns == 0
        head.follow(ids(f"hello<tool_call>{CALL}<eos>"))
        chat.ask("my name")
        assert torch.equal(chat.memory.slots, slots_after(start, chat, Interaction("my name", "hello", tool_call=CALL)))
        assert chat.call is not None
        assert chat.call.error is None
    with pytest.raises(UserError, match="the tools do not fit into a system prompt of 96 tokens"):
        Scripted(96, Manner(tools=(ADD,)))
    with pytest.raises(UserError, match="the system prompt is empty"):
        Conversation(model, tokenizer, system=" ", manner=Manner(tools=(ADD,)))


# Mistakes: each is one line, and the conversation goes on.


def refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError) as raised:
        call()
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def calling() -> tuple[Scripted, Conversation]:
    """A conversation that has called ``add`` and waits for the result."""
    scripted = Scripted()
    chat = scripted.says(f"<tool_call>{CALL}<eos>")
    chat.ask("my name", tools=[ADD])
    return scripted, chat


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("add(7)", "the call is not JSON"),
        ("", "the call is not JSON"),
        (call_text("sub", {}), "there is no tool 'sub'; there is add"),
        (call_text("add", {"a": "x"}), "arguments.a: 'x' is not of type 'integer'"),
        (call_text("add", {}), "arguments: 'a' is a required property"),
    ],
)
def test_a_wrong_call_is_told_and_may_have_its_error_as_result(said: str, error: str) -> None:
    scripted = Scripted()
    chat = scripted.says(f"hello<tool_call>{said}<eos>")
    *_, called, answered, _ = chat.stream("my name", tools=[ADD])
    assert answered == Answered("hello", "stop")
    assert isinstance(called, Called)
    assert called.call == chat.call
    assert called.call.error is not None
    assert called.call.error.startswith(error)
    assert called.call.text == said
    scripted.says("Ann<eos>")
    assert chat.tool_result(called.call.id, called.call.error) == "Ann"


def test_a_call_that_is_cut_is_wrong() -> None:
    scripted = Scripted(most=10)
    chat = scripted.says(f"<tool_call>{CALL}<eos>")
    *_, answered, _ = chat.stream("my name", tools=[ADD])
    assert answered == Answered("", "length")
    assert chat.call is not None
    assert (chat.call.error or "").startswith("the call is not JSON")


def test_results_that_nobody_waits_for() -> None:
    scripted = Scripted()
    refused(lambda: scripted.chat.tool_result("call_1", "8"), "no call 'call_1' waits for a result: the model has cal")
    scripted, chat = calling()
    refused(lambda: chat.tool_result("call_7", "8"), "no call 'call_7' waits for a result: the newest is call_1")
    scripted.says("Ann<eos>")
    assert chat.tool_result("call_1", "8") == "Ann"
    refused(lambda: chat.tool_result("call_1", "8"), "the call call_1 waits for no result: it has its result")
    scripted.says(f"<tool_call>{CALL}<eos>")
    assert chat.ask("hello", tools=[ADD]) == ""
    assert chat.call is not None
    assert chat.call.id == "call_3"
    scripted.says("hello<eos>")
    assert chat.ask("hello") == "hello", "a call need not get a result"
    refused(lambda: chat.tool_result("call_3", "8"), "the call call_3 waits for no result: another message came after")
    assert chat.turns == 4


def test_a_result_that_is_too_long_leaves_the_call_waiting() -> None:
    scripted, chat = calling()
    refused(
        lambda: chat.tool_result("call_1", "8" * LONG),
        "the tool result is too long: with its markers and internal part 455 tokens, at most 280",
    )
    assert chat.turns == 1
    scripted.says("Ann<eos>")
    assert chat.tool_result("call_1", "8") == "Ann"


def test_a_turn_that_is_abandoned_leaves_the_call_waiting() -> None:
    scripted, chat = calling()
    for stream in (chat.stream_result("call_1", "8"), chat.stream("hello")):
        scripted.says("Ann<eos>")
        next(stream)
        stream.close()
        assert chat.call is not None
    first, second = (chat.stream_result("call_1", "8") for _ in range(2))
    scripted.says("Ann<eos>")
    list(first)
    refused(lambda: next(second), "the call call_1 waits for no result: it has its result")


def test_a_call_waits_in_a_fork_and_not_after_a_reset(tmp_path: Path) -> None:
    scripted, chat = calling()
    chat.save(tmp_path / "chat")
    fork = chat.fork()
    for each in (chat, fork):
        scripted.says("Ann<eos>")
        assert each.tool_result("call_1", "8") == "Ann"
    assert torch.equal(chat.memory.slots, fork.memory.slots)
    for forgetting in (chat.reset, lambda: chat.restore(Memory.load(tmp_path / "chat"))):
        scripted.says(f"<tool_call>{CALL}<eos>")
        chat.ask("my name", tools=[ADD])
        assert chat.call is not None
        forgetting()
        assert chat.call is None
        assert chat.reply is None
        refused(lambda: chat.tool_result("call_1", "8"), "no call 'call_1' waits for a result")


def test_a_model_without_the_parts(tokenizer: ChatTokenizer) -> None:
    model = chat_model()
    chat = Conversation(model, tokenizer, max_new_tokens=8)
    refused(lambda: chat.ask("hello", tools=[ADD]), "the alpha template has no tool call part")
    refused(lambda: chat.ask("hello", "thinking"), "the alpha template has no thinking part")
    refused(lambda: chat.ask("hello", "auto"), "the alpha template has no thinking part")
    refused(lambda: Conversation(model, tokenizer, manner=Manner("auto")), "the alpha template has no thinking part")
    assert chat.turns == 0
    assert chat.ask("hello", "fast", []) == Conversation(model, tokenizer, max_new_tokens=8).ask("hello")


def test_manners_that_are_none() -> None:
    chat = Scripted().chat
    refused(lambda: chat.ask("hello", "slow"), "mode must be fast, thinking or auto, found 'slow'")  # type: ignore[arg-type]
    refused(lambda: chat.ask("hello", "auto", budget=-1), "the budget of thinking tokens must be 0 or more, found -1")
    refused(lambda: chat.ask("hello", tools=[ADD, ADD]), "two tools are called add")
    refused(lambda: Manner(tools=(ADD, ADD)), "two tools are called add")
    assert Manner(tools=[{"name": "clock"}]).tools == (Tool("clock"),)  # type: ignore[arg-type]
    refused(lambda: chat.ask("hello", tools=[{"name": "a b"}]), "a tool's name is 1 to 64 letters")
    refused(
        lambda: chat.ask("hello", tools=[Tool("add", "x" * LONG)]),
        "the query is too long: with its markers and internal part",
    )


def test_a_head_follows_its_script() -> None:
    head = ScriptedHead(5)
    head.follow([3, {1: 2.0, 2: 1.0}])
    assert head(torch.zeros(2, 7)).tolist() == [[0, 0, 0, 50, 0]] * 2
    assert head(torch.zeros(1, 1, 7)).tolist() == [[[0, 2, 1, 0, 0]]]
    with pytest.raises(AssertionError):
        head(torch.zeros(1, 7))
