"""Replies with parts: when a model thinks and for how long, what is told of it, and what is memorized."""

from __future__ import annotations

from dataclasses import replace
from itertools import repeat

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import chat_model, scripted_model
from rxt.data.records import Interaction
from rxt.data.template import Mode, Template
from rxt.generation.batch import BatchDecoder
from rxt.generation.conversation import Answered, Called, Conversation, Event, MemoryUpdated, Thought, Token
from rxt.generation.generate import generate_tokens
from rxt.generation.manner import Manner
from rxt.generation.reply_constraint import reply_constraint
from rxt.generation.sampling import Sampling
from rxt.generation.text_stream import PartStream
from rxt.generation.turn import OpenTurn
from rxt.tools.tool import Tool, tools_text
from scripted_chat import ADD, BETA, CALL, TOKENS, Scripted, ids, slots_after

HOT = Sampling(temperature=2.0, seed=3)


# What is memorized.


@pytest.mark.parametrize(
    ("mode", "said", "expected"),
    [
        ("fast", "hello<eos>", Interaction("my name", "hello")),
        ("fast", f"hello<tool_call>{CALL}<eos>", Interaction("my name", "hello", tool_call=CALL)),
        ("fast", f"<tool_call>{CALL}<eos>", Interaction("my name", "", tool_call=CALL)),
        ("thinking", "I am Ann<answer>hello<eos>", Interaction("my name", "hello", "I am Ann")),
        ("thinking", "<answer>hello<eos>", Interaction("my name", "hello", "")),
        ("auto", "<think>I am Ann<answer>hello<eos>", Interaction("my name", "hello", "I am Ann")),
        ("auto", "<answer>hello<eos>", Interaction("my name", "hello")),
        (
            "auto",
            f"<think>I am<answer>so<tool_call>{CALL}<eos>",
            Interaction("my name", "so", "I am", tool_call=CALL),
        ),
    ],
)
@pytest.mark.parametrize("tools", [(), (ADD,)])
def test_a_turn_is_memorized_as_the_template_encodes_it(
    mode: Mode, said: str, expected: Interaction, tools: tuple[Tool, ...]
) -> None:
    chat = Scripted().says(said)
    before = chat.memory
    if tools:
        expected = replace(expected, internal=tools_text(tools))
    assert chat.ask("my name", mode, tools) == expected.answer
    assert torch.equal(chat.memory.slots, slots_after(before, chat, expected))
    assert chat.reply is not None
    assert (chat.reply.answer, chat.reply.think, chat.reply.tool_call) == (
        expected.answer,
        expected.think,
        expected.tool_call,
    )
    assert (chat.call is None) == (expected.tool_call is None)


def test_thinking_need_not_be_memorized() -> None:
    ways: list[tuple[Mode, str]] = [("thinking", ""), ("auto", "<think>")]
    for mode, said in ways:
        scripted = Scripted(manner=Manner(mode, memorize_thinking=False))
        chat = scripted.says(f"{said}I am<answer>so<tool_call>{CALL}<eos>")
        before = chat.memory
        assert chat.ask("my name") == "so"
        assert torch.equal(chat.memory.slots, slots_after(before, chat, Interaction("my name", "so", tool_call=CALL)))
        assert chat.reply is not None
        assert chat.reply.think == "I am"


# Modes.


@pytest.mark.parametrize("sampling", [Sampling(), HOT])
@pytest.mark.parametrize("thinks", [True, False])
def test_the_larger_of_two_logits_decides(sampling: Sampling, thinks: bool) -> None:
    """Neither other tokens nor chance have a say in it."""
    model, tokenizer, head = scripted_model()
    chat = Conversation(model, tokenizer, sampling=sampling)
    think, answer = TOKENS["<think>"], TOKENS["<answer>"]
    opening = {think: 0.1 if thinks else 0.0, answer: 0.0 if thinks else 0.1, 20: 9.0, TOKENS["<eos>"]: 9.0}
    head.follow([opening, *([answer] if thinks else []), TOKENS["<eos>"]])
    tokens = [event.id for event in chat.stream("hello", "auto") if isinstance(event, Token)]
    assert tokens == ids("<think><answer><eos>" if thinks else "<answer><eos>")
    head.follow([{think: 1.0, answer: 1.0}, TOKENS["<eos>"]])
    assert chat.ask("hello", "auto") == ""
    assert chat.reply is not None
    assert chat.reply.think is None, "among equals it answers"


def test_without_a_budget_auto_is_fast() -> None:
    """The same answers and memories, turn after turn, drawn or not, cut or not."""
    model = chat_model(max_length=64, tokens=BETA.tokens)
    for most in (None, 8):
        fast, auto = (Conversation(model, BETA, max_new_tokens=most) for _ in range(2))
        for query in ("hello there", "my name is Ann"):
            assert fast.ask(query) == auto.ask(query, "auto", budget=0)
            assert torch.equal(fast.memory.slots, auto.memory.slots)


def test_fast_is_the_models_own_respond_and_memorize() -> None:
    model = chat_model(max_length=64, tokens=BETA.tokens)
    chat, memory = Conversation(model, BETA, max_new_tokens=8), model.init_memory(1, seed=0)
    for query in ("hello there", "my name is Ann"):
        prompt = chat.template.prompt(query)
        said = model.generate(torch.tensor([prompt]), memory, max_new_tokens=8)[0, len(prompt) :].tolist()
        assert chat.ask(query, "fast", tools=[]) == chat.template.answer_text(said)
        with torch.no_grad():
            memory = model.memorize(memory, torch.tensor([chat.template.complete(prompt, said)]))
        assert torch.equal(chat.memory.slots, memory.slots)


@pytest.mark.parametrize("mode", ["thinking", "auto"])
@pytest.mark.parametrize("budget", [0, 1, 5])
def test_thinking_ends_with_its_budget(mode: Mode, budget: int) -> None:
    scripted = Scripted(most=4)
    think, word = TOKENS["<think>"], ids("a")[0]
    scripted.head.follow([*([think] if mode == "auto" else []), *repeat(word, 50)])
    assert scripted.chat.ask("hello", mode, budget=budget) == "aaaa", "the answer has its own length"
    reply = scripted.chat.reply
    assert reply is not None
    assert reply.think == (None if mode == "auto" and budget == 0 else "a" * budget)


@pytest.mark.parametrize("mode", ["thinking", "auto"])
@pytest.mark.parametrize("budget", [None, 1000])
def test_thinking_that_never_ends_leaves_the_reserve_for_the_answer(mode: Mode, budget: int | None) -> None:
    scripted = Scripted(48)
    chat, word = scripted.chat, ids("a")[0]
    scripted.head.follow([*([TOKENS["<think>"]] if mode == "auto" else []), *repeat(word, 50)])
    before = chat.memory
    *_, answered, _ = chat.stream("hello", mode, budget=budget)
    assert answered == Answered("a" * (chat.template.reserve - 1), "length")
    assert chat.reply is not None
    assert chat.reply.think is not None
    whole = Interaction("hello", chat.reply.answer, chat.reply.think)
    assert len(chat.template.interaction(whole).ids) == 48, "all the room there is"
    assert torch.equal(chat.memory.slots, slots_after(before, chat, whole))


def test_a_query_that_leaves_no_room_for_thinking_is_answered_at_once() -> None:
    scripted = Scripted(48)
    chat = scripted.chat
    longest = "a" * (48 - chat.template.reserve - 3)
    assert len(chat.template.prompt(longest, mode="thinking")) == 48 - chat.template.reserve
    for mode in ("thinking", "auto"):
        scripted.head.follow([TOKENS["<think>"], *repeat(ids("b")[0], 20)])
        answer = chat.ask(longest, mode)
        assert set(answer) == {"b"}
        assert chat.reply is not None
        assert not chat.reply.think


def test_thinking_is_text_and_goes_over_to_the_answer_where_the_model_would_end() -> None:
    model, tokenizer, head = scripted_model()
    chat = Conversation(model, tokenizer)
    before, word, eos = chat.memory, ids("a")[0], TOKENS["<eos>"]
    markers = {TOKENS[f"<{name}>"]: 60.0 for name in ("think", "query", "tool_call", "tool_use", "internal", "pad")}
    head.follow([{**markers, word: 9.0}, {**markers, word: 9.0}, {**markers, eos: 9.0}, word, eos])
    assert chat.ask("hello", "thinking") == "a"
    assert torch.equal(chat.memory.slots, slots_after(before, chat, Interaction("hello", "a", "aa")))


# Events.


def parts_of(events: list[Event]) -> tuple[str, str, str]:
    tokens = [event for event in events if isinstance(event, Token)]
    return (
        "".join(token.thinking for token in tokens),
        "".join(token.text for token in tokens),
        "".join(token.tool_call for token in tokens),
    )


def test_every_part_is_streamed_apart() -> None:
    chat = Scripted().says(f"<think>I am Ann<answer>hello 🙂<tool_call>{CALL}<eos>")
    events = list(chat.stream("my name", "auto", [ADD]))
    assert parts_of(events) == ("I am Ann", "hello 🙂", CALL)
    thought, called, answered, updated = events[-4:]
    assert chat.call is not None
    assert [thought, called, answered] == [Thought("I am Ann"), Called(chat.call), Answered("hello 🙂", "stop")]
    assert isinstance(updated, MemoryUpdated)
    assert all(isinstance(event, Token) for event in events[:-4])
    tokens = [event for event in events if isinstance(event, Token)]
    shown = [[bool(text) for text in (token.thinking, token.text, token.tool_call)] for token in tokens]
    kinds = [kind for kind in shown if any(kind)]
    assert max(map(sum, kinds)) == 1, "no token is shown in two parts"
    assert kinds == sorted(kinds, reverse=True), "and no part is shown before the one before it is over"


@pytest.mark.parametrize("mode", ["fast", "thinking", "auto"])
@pytest.mark.parametrize("sampling", [Sampling(), HOT])
def test_streamed_is_not_streamed(mode: Mode, sampling: Sampling) -> None:
    model = chat_model(max_length=64, tokens=BETA.tokens)
    streamed, asked = (Conversation(model, BETA, sampling=sampling, max_new_tokens=12) for _ in range(2))
    for query in ("hello there", "my name is Ann", "how are you"):
        events = list(streamed.stream(query, mode, budget=6))
        text = asked.ask(query, mode, budget=6)
        reply = asked.reply
        assert reply == streamed.reply
        assert reply is not None
        assert parts_of(events) == (reply.think or "", text, reply.tool_call or "")
        assert [event.text for event in events if isinstance(event, Thought)] == [
            *([reply.think] if reply.think is not None else [])
        ]
        assert torch.equal(asked.memory.slots, streamed.memory.slots)


REPEATABLE = settings(deadline=None, derandomize=True, database=None)


@REPEATABLE
@given(
    said=st.lists(st.integers(0, BETA.vocab_size - 1) | st.sampled_from(sorted(TOKENS.values())), max_size=30),
    mode=st.sampled_from(["fast", "thinking", "auto"]),
)
def test_the_pieces_of_any_reply_join_to_its_parts(said: list[int], mode: Mode) -> None:
    template = Template(BETA, "beta", 100)
    said = [*(token for token in said if token != BETA.tokens.eos), BETA.tokens.eos]
    stream = PartStream(template, mode)
    pieces = [stream.push(token, index == len(said)) for index, token in enumerate(said, start=1)]
    think, answer, call = ("".join(texts) for texts in zip(*pieces, strict=True))
    reply = template.parse(said, mode)
    assert (think, answer, call) == (reply.think or "", reply.answer, reply.tool_call or "")


PART = st.none() | st.text(max_size=10)


@REPEATABLE
@given(query=st.text(max_size=10), answer=st.text(max_size=10), think=PART, call=PART)
def test_an_interaction_without_its_thinking(query: str, answer: str, think: str | None, call: str | None) -> None:
    template = Template(BETA, "beta", 200)
    whole = Interaction(query, answer, think, call)
    short = template.interaction(replace(whole, think=None)).ids
    assert template.without_thinking(template.interaction(whole).ids) == short


def test_turns_in_a_batch_are_turns_alone() -> None:
    """What modes ask for holds of each conversation where many are answered together."""
    model = chat_model(max_length=64, tokens=BETA.tokens)
    template, memory = Template.of_model(model.config, BETA), model.init_memory(6, seed=1)
    ways: list[tuple[Mode, int | None]] = [("fast", None), ("thinking", 4), ("auto", None)] * 2

    def turn(index: int) -> OpenTurn:
        return OpenTurn(template, "hello there", 9, manner=Manner(*ways[index]))

    batch, turns = BatchDecoder(model, 6), [turn(index) for index in range(6)]
    options = [Sampling(2.0 * (index > 2), seed=index) for index in range(6)]
    vocab_size = model.config.decoder.vocab_size
    handles = [
        batch.admit(
            each.prompt,
            memory.select(index),
            options[index],
            each.limit,
            constraint=reply_constraint(each, vocab_size),
        )
        for index, each in enumerate(turns)
    ]
    while len(batch):
        for handle, word in batch.step().items():
            each = turns[handles.index(handle)]
            each.hear(word.token)
            if each.finish_reason is not None and word.finish_reason is None:
                batch.cancel(handle)
    for index, together in enumerate(turns):
        alone = turn(index)
        prompt = torch.tensor([alone.prompt])
        constraint = reply_constraint(alone, vocab_size)
        for token in generate_tokens(
            model, prompt, memory.select(index), alone.limit, options[index], constraint=constraint
        ):
            alone.hear(int(token))
            if alone.finish_reason is not None:
                break
        assert (alone.said, alone.finish_reason) == (together.said, together.finish_reason)
