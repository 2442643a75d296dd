"""Calls that are held to their tool's schema are calls of it, whatever the model would like to say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from factories import ScriptedHead, chat_model, scripted_model
from rxt.data.template import Mode, Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.generation.conversation import Answered, Conversation, Token
from rxt.generation.json_answers import json_grammar
from rxt.generation.manner import Manner
from rxt.generation.reply_constraint import reply_constraint
from rxt.generation.sampling import Sampling, sample
from rxt.generation.turn import OpenTurn
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer
from rxt.tools.choice import ToolChoice
from rxt.tools.tool import JsonValue, Tool, call_text, read_call, tools_text
from scripted_chat import ADD, BETA, CALL, LONG, TOKENS, Scripted, ids

pytestmark = pytest.mark.skipif(
    find_spec("llguidance") is None, reason="llguidance is missing: pip install 'reactive-transformers[json]'"
)
STRICT = Manner(strict_calls=True)
EOS, CALLS = TOKENS["<eos>"], TOKENS["<tool_call>"]
PLACE = Tool(
    "Weather_In",
    "",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
            "unit": {"enum": ["Celsius", "Fahrenheit"]},
        },
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
)
LOOSE = Tool("loose", "", {"properties": {"n": {"type": "integer"}}, "required": ["n"]})
"""Its schema does not say that arguments are an object."""
UNKNOWN: Mapping[str, JsonValue] = {
    "name": "set",
    "parameters": {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}},
}
"""What the grammar cannot do."""


def wishes(head: ScriptedHead, first: str, *logits: Mapping[int, float]) -> None:
    """After ``first`` the model would like to say the same at every step."""
    head.follow([*ids(first), *(each for _ in range(LONG) for each in logits)])


# A call is one.


@pytest.mark.parametrize("mode", ["fast", "thinking", "auto"])
def test_every_call_of_a_random_model_is_one(mode: Mode) -> None:
    """Where it has to call, and where it decides itself: its calls are about as likely as any other token."""
    tools, called = (ADD, PLACE, LOOSE), 0
    model = chat_model(max_length=640, tokens=BETA.tokens)
    for choice in ("required", "auto"):
        for seed in range(4):
            chat = Conversation(model, BETA, seed, Sampling(1.5), max_new_tokens=240, manner=replace(STRICT, mode=mode))
            chat.ask("my name", tools=tools, budget=6, tool_choice=choice)
            assert chat.reply is not None
            if chat.call is not None:
                called += 1
                assert (chat.call.error, chat.reply.finished) == (None, True), chat.call.text
                assert chat.tool_result(chat.call.id, "8", budget=6) is not None
                assert chat.call is None or chat.call.error is None
            assert (choice == "auto") or (chat.turns == 2 and chat.reply is not None)
    assert called >= 4


def test_the_model_decides_whether_it_calls_and_writes_a_right_call_as_it_likes() -> None:
    scripted = Scripted(manner=STRICT)
    for said in (f"hello<tool_call>{CALL}<eos>", "hello<eos>", f"<tool_call>{CALL}<eos>"):
        events = list(scripted.says(said).stream("my name", tools=[ADD]))
        assert [event.id for event in events if isinstance(event, Token)] == ids(said)


@pytest.mark.parametrize("strict", [True, False])
def test_a_call_that_would_be_wrong(strict: bool) -> None:
    """No JSON, a tool that is not offered, no text and then no end: each becomes a call of the tool."""
    for wish in ({BETA.encode("x")[0]: 5.0}, {BETA.encode("s")[0]: 5.0}, {EOS: 5.0}, {CALLS: 5.0}):
        model, tokenizer, head = scripted_model(LONG)
        chat = Conversation(model, tokenizer, manner=replace(STRICT, strict_calls=strict), max_new_tokens=120)
        wishes(head, "hello<tool_call>", wish)
        chat.ask("my name", tools=[ADD])
        assert chat.call is not None
        assert (chat.call.error is None) == strict
        assert not strict or (chat.call.name, type(chat.call.arguments["a"])) == ("add", int)


def test_a_tool_may_be_strict_by_itself() -> None:
    model, tokenizer, head = scripted_model(LONG)
    free = Tool("free", "", ADD.parameters)
    chat = Conversation(model, tokenizer, max_new_tokens=100)
    for tools, name, valid in (([ADD], "add", False), ([replace(ADD, strict=True)], "add", True)):
        wishes(head, f'<tool_call>{{"name": "{name}", "arguments": {{', {BETA.encode("}")[0]: 5.0}, {EOS: 5.0})
        chat.ask("my name", tools=tools)
        assert chat.call is not None
        assert (chat.call.error is None) == valid
    wishes(head, '<tool_call>{"name": "free", "arguments": {', {BETA.encode("}")[0]: 5.0}, {EOS: 5.0})
    chat.ask("my name", tools=[replace(ADD, strict=True), free])
    assert chat.call is not None
    assert chat.call.text == call_text("free", {}), "beside one that is strict, others have any arguments"


def test_what_the_tools_of_a_turn_and_of_the_conversation_are() -> None:
    """Both may be called; of two of a name it is the turn's."""
    other = Tool("add", "", {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"]})
    model, tokenizer, head = scripted_model(640)
    chat = Conversation(model, tokenizer, manner=replace(STRICT, tools=(ADD, LOOSE)), max_new_tokens=200)
    for tools, begun, argument in (([], "add", "a"), ([other], "add", "b"), ([other], "loose", "n")):
        wishes(head, f'<tool_call>{{"name": "{begun}", "arguments": {{', {BETA.encode('"')[0]: 5.0})
        chat.ask("my name", tools=tools)
        assert chat.call is not None
        assert (chat.call.name, chat.call.error) == (begun, None)
        assert argument in chat.call.arguments


def test_without_tools_nothing_is_called() -> None:
    model, tokenizer, head = scripted_model()
    chat = Conversation(model, tokenizer, manner=STRICT)
    head.follow([{CALLS: 9.0, BETA.encode("a")[0]: 5.0}, EOS])
    assert chat.ask("my name") == "a"
    assert chat.call is None


# Where it ends.


def test_the_end_is_the_models_eos() -> None:
    """After a whole call nothing else may come, and it comes as the model's own token."""
    model, tokenizer, head = scripted_model(LONG)
    chat = Conversation(model, tokenizer, manner=STRICT)
    wishes(head, f"<tool_call>{CALL}", {BETA.encode(" ")[0]: 9.0})
    *_, answered, _ = chat.stream("my name", tools=[ADD])
    assert answered == Answered("", "stop")
    assert chat.reply is not None
    assert (chat.reply.tool_call, chat.reply.finished) == (CALL, True)


def test_a_call_is_begun_only_where_it_can_end() -> None:
    """With every limit: one token too few, and it is no call; enough, and it is a whole one."""
    model, tokenizer, head = scripted_model(LONG)
    found: dict[int, bool] = {}
    for most in range(1, 60):
        chat = Conversation(model, tokenizer, manner=STRICT, max_new_tokens=most)
        wishes(head, "", {CALLS: 9.0, BETA.encode("a")[0]: 5.0})
        *_, answered, _ = chat.stream("my name", tools=[ADD])
        assert isinstance(answered, Answered)
        found[most] = chat.call is not None
        if chat.call is None:
            assert answered == Answered("a" * most, "length")
        else:
            assert (chat.call.error, answered.finish_reason) == (None, "stop")
    shortest = min(most for most, called in found.items() if called)
    assert [most for most, called in found.items() if called] == list(range(shortest, 60))
    head.follow([*ids("a" * (60 - shortest)), *({CALLS: 9.0, BETA.encode("a")[0]: 5.0} for _ in range(LONG))])
    chat = Conversation(model, tokenizer, manner=STRICT, max_new_tokens=59)
    chat.ask("my name", tools=[ADD])
    assert chat.call is None, "what the answer took is not there for the call"


def test_a_required_call_without_room_is_cut() -> None:
    model, tokenizer, head = scripted_model(LONG)
    chat = Conversation(model, tokenizer, max_new_tokens=5)
    wishes(head, "", {BETA.encode("a")[0]: 5.0})
    *_, answered, _ = chat.stream("my name", tools=[ADD], tool_choice="required")
    assert answered == Answered("", "length")
    assert chat.call is not None
    assert (chat.call.error or "").startswith("the call is not JSON")


def test_a_call_fills_what_the_model_has_left() -> None:
    """It would like to write letters for ever."""
    model, tokenizer, head = scripted_model(240)
    say = Tool("say", "", {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]})
    for most in (None, 70):
        chat = Conversation(model, tokenizer, manner=STRICT, max_new_tokens=most)
        wishes(head, '<tool_call>{"name": "say", "arguments": {"x": "', {BETA.encode("a")[0]: 5.0})
        chat.ask("hi", tools=[say])
        assert chat.call is not None
        assert chat.call.error is None
        assert set(str(chat.call.arguments["x"])) == {"a"}


# Capitals that are marks.


@pytest.fixture(scope="module")
def marked() -> ChatTokenizer:
    """A vocabulary that knows what calls look like, whose capitals are marks."""
    texts = [call_text("Weather_In", {"city": city, "unit": "Celsius"}) for city in ("Oslo", "New York", "Graz")]
    return ChatTokenizer.train([*texts, "the weather in oslo", "NASA is there"] * 4, 420, "beta", case_marks=True)


def marked_chat(tokenizer: ChatTokenizer) -> tuple[Conversation, ScriptedHead]:
    model = chat_model(max_length=LONG, vocab_size=430, tokens=tokenizer.tokens)
    head = ScriptedHead(430)
    model.decoder.head = head  # type: ignore[assignment]
    return Conversation(model, tokenizer, manner=STRICT), head


@pytest.mark.parametrize("city", ["Oslo", "oslo", "New York", "NASA", "in NASA's Oslo", "ABc", 'A"B\\C\nD', "1A Ö", ""])
def test_capitals_are_written_as_the_model_learned_them(marked: ChatTokenizer, city: str) -> None:
    """The tokens of a right call pass as they are, and come out as the text that they stand for."""
    chat, head = marked_chat(marked)
    said = marked.encode(call_text("Weather_In", {"city": city, "unit": "Celsius"}))
    assert marked.tokens.tool_call is not None
    script = [marked.tokens.tool_call, *said, marked.tokens.eos]
    head.follow([{token: 5.0, 70: 1.0} for token in script])
    events = list(chat.stream("the weather", tools=[PLACE]))
    assert [event.id for event in events if isinstance(event, Token)] == script
    assert chat.call is not None
    assert (chat.call.name, chat.call.error) == ("Weather_In", None)
    assert chat.call.arguments == {"city": city, "unit": "Celsius"}


CODES = ["USD", "Usd", "usd", "McDonald", "XMLHttp", "a B", "A", "\u00d6sterreich", "\u00c4\u00d6"]


@pytest.mark.parametrize("code", CODES)
def test_choices_that_differ_in_their_capitals(marked: ChatTokenizer, code: str) -> None:
    """A mark that some of them forbid later on may come for the others."""
    chat, head = marked_chat(marked)
    tool = Tool("Ask", "", {"type": "object", "properties": {"c": {"enum": [*CODES]}}, "required": ["c"]})
    assert marked.tokens.tool_call is not None
    script = [marked.tokens.tool_call, *marked.encode(call_text("Ask", {"c": code})), marked.tokens.eos]
    head.follow([{token: 5.0} for token in script])
    events = list(chat.stream("the weather", tools=[tool]))
    assert [event.id for event in events if isinstance(event, Token)] == script


def test_what_must_be_capital_is_and_marks_stand_nowhere_else(marked: ChatTokenizer) -> None:
    """It would like marks everywhere, then letters; names and choices come out as the schema has them."""
    up, caps = marked.encode("X")[0], marked.encode("XY")[0]
    letter = marked.encode("0c")[-1]
    assert (marked.spell([up]), marked.spell([caps]), marked.spell([letter])) == ("\x0e", "\x0f", "c")
    for wish in ({up: 9.0, letter: 5.0}, {caps: 9.0, letter: 5.0}, {up: 5.0, caps: 9.0}):
        chat, head = marked_chat(marked)
        assert marked.tokens.tool_call is not None
        head.follow([marked.tokens.tool_call, *(wish for _ in range(LONG))])
        chat.ask("the weather", tools=[PLACE])
        assert chat.call is not None
        assert (chat.call.name, chat.call.error) == ("Weather_In", None)
        assert chat.call.arguments["unit"] in ("Celsius", "Fahrenheit")


@pytest.mark.parametrize("case_marks", [True, False])
def test_what_may_come_is_what_a_grammar_of_the_bytes_allows(marked: ChatTokenizer, case_marks: bool) -> None:
    """The naive twin: after every token, the text that stands there so far must begin a call, byte by byte."""
    from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

    from rxt.generation.parts_constraint import schema_of_calls

    class Bytes:
        eos_token_id, bos_token_id, special_token_ids = 256, None, (256,)
        tokens = (*(bytes([value]) for value in range(256)), b"<end>")

        def __call__(self, text: bytes) -> list[int]:
            return list(text)

    tools, names = [PLACE, ADD], frozenset({"Weather_In", "add"})
    rules = LLMatcher.grammar_from_json_schema(
        schema_of_calls(tools, names),
        overrides={"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},
    )
    naive = LLMatcher(LLTokenizer(TokenizerWrapper(Bytes())), rules, log_level=0)
    tokenizer = marked if case_marks else BETA
    grammar, room = json_grammar(tokenizer, 430), 150
    for seed in range(12):
        drawn, said = torch.Generator().manual_seed(seed), list[int]()
        answer = grammar.begin(schema_of_calls(tools, names), room, spaced=True)
        while not said or said[-1] != tokenizer.tokens.eos:
            allowed = answer.allowed()
            for token in allowed.nonzero()[:, 0].tolist()[:: 1 + seed]:
                text = tokenizer.decode([*said, token])
                if token != tokenizer.tokens.eos and "\ufffd" not in text:
                    assert naive.validate_tokens(list(text.encode())) == len(text.encode()), text
            chosen = int(torch.multinomial(allowed.float(), 1, generator=drawn))
            said.append(answer.take(chosen, room - len(said) - 1))
            assert allowed[said[-1]]
        assert read_call(tokenizer.decode(said), tools, "call").error is None


# What is kept, and where it is the same.


def test_a_set_of_tools_is_compiled_once() -> None:
    model = chat_model(max_length=LONG, tokens=BETA.tokens)
    grammar = json_grammar(BETA, model.config.decoder.vocab_size)
    before = grammar._begun.cache_info()
    tool = Tool("only_here", "", ADD.parameters)
    for _ in range(2):
        chat = Conversation(model, BETA, manner=replace(STRICT, tools=(tool,)), max_new_tokens=2)
        for query in ("hello", "my name"):
            chat.ask(query)
            chat.fork().ask(query)
    after = grammar._begun.cache_info()
    assert after.misses == before.misses + 1
    assert after.hits > before.hits


def naive_reply(model: ReactiveTransformer, turn: OpenTurn, memory: Memory, sampling: Sampling) -> list[int]:
    """The reply, each token chosen after reading everything before it again."""
    constraint, said = reply_constraint(turn, model.config.decoder.vocab_size), list[int]()
    assert constraint is not None
    prompt, generator = torch.tensor(turn.prompt), sampling.generator(torch.device("cpu"))
    while len(said) < turn.limit:
        with torch.no_grad():
            logits = model.decode(torch.cat([prompt, torch.tensor(said, dtype=torch.int64)])[None], memory)[0, -1]
        token = int(sample(constraint.narrow(logits)[None], sampling, [generator]))
        said.append(constraint.take(token, turn.limit - len(said) - 1))
        if said[-1] == model.config.tokens.eos:
            break
    return said


@pytest.mark.parametrize("mode", ["fast", "auto"])
def test_a_conversation_says_what_reading_all_again_says(mode: Mode) -> None:
    model, sampling = chat_model(max_length=640, tokens=BETA.tokens), Sampling(1.2, seed=4)
    manner = replace(STRICT, mode=mode, budget=5, tools=(ADD, PLACE), tool_choice=ToolChoice("must"))
    template = Template.of_model(model.config, BETA)
    chat = Conversation(model, BETA, sampling=sampling)
    turn = OpenTurn(template, "my name", manner=manner)
    expected = naive_reply(model, turn, chat.memory, chat._turn_sampling(1))
    chat = Conversation(model, BETA, sampling=sampling, manner=replace(manner, tools=()))
    events = chat.stream("my name", tools=[ADD, PLACE])
    assert [event.id for event in events if isinstance(event, Token)] == expected
    assert chat.call is not None
    assert chat.call.error is None


# Which tools are called.


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("required", None),
        ({"type": "function", "function": {"name": "loose"}}, "loose"),
        ({"type": "function", "name": "add"}, "add"),
    ],
)
def test_a_required_call_comes_and_its_result_is_answered(choice: str | Mapping[str, JsonValue], name: str) -> None:
    model, tokenizer, head = scripted_model(LONG)
    chat = Conversation(model, tokenizer)
    wishes(head, "", {BETA.encode("a")[0]: 5.0})
    assert chat.ask("my name", tools=[ADD, LOOSE], tool_choice=choice) == ""
    assert chat.call is not None
    assert chat.call.error is None
    assert chat.call.name == name or (name is None and chat.call.name in ("add", "loose"))
    head.follow(ids("hello<eos>"))
    assert chat.tool_result(chat.call.id, "8") == "hello", "it need not call again"
    wishes(head, "", {BETA.encode("a")[0]: 5.0})
    assert chat.ask("my name", tools=[ADD], tool_choice=choice if name == "add" else "required") == ""
    assert chat.call is not None


def test_of_tools_that_may_not_be_called_nothing_is_told() -> None:
    model, tokenizer, head = scripted_model(LONG)
    template = Template.of_model(model.config, tokenizer)
    for choice, told in ((ToolChoice("none"), ()), (ToolChoice("may", frozenset({"add"})), (ADD,))):
        turn = OpenTurn(template, "my name", manner=Manner(tools=(ADD, LOOSE), tool_choice=choice))
        assert turn.internal == (tools_text(told) if told else None)
        assert turn.offered == told
    chat = Conversation(model, tokenizer, manner=Manner(tools=(ADD,)))
    head.follow([{CALLS: 9.0, BETA.encode("a")[0]: 5.0}, EOS])
    assert chat.ask("my name", tool_choice="none") == "a"
    head.follow(ids(f"<tool_call>{CALL}<eos>"))
    assert chat.ask("my name") == ""
    assert chat.call is not None


# Mistakes.


def refused(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(UserError) as raised:
        call()
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_a_schema_that_no_grammar_has_is_one_line() -> None:
    model, tokenizer, head = scripted_model(LONG)
    wrong = 'tool set: the JSON schema cannot be used: Unimplemented keys: ["uniqueItems"]'
    refused(lambda: Conversation(model, tokenizer, manner=Manner(tools=(Tool.of(UNKNOWN),), strict_calls=True)), wrong)
    chat = Conversation(model, tokenizer, manner=STRICT)
    refused(lambda: chat.ask("my name", tools=[ADD, UNKNOWN]), wrong)
    refused(lambda: chat.stream("my name", tools=[ADD, UNKNOWN]), wrong)
    free = Conversation(model, tokenizer)
    refused(lambda: free.ask("my name", tools=[UNKNOWN], tool_choice="required"), wrong)
    refused(lambda: free.ask("my name", tools=[{**UNKNOWN, "strict": True}]), wrong)
    never = Tool("never", "", {"type": "string"})
    refused(lambda: chat.ask("my name", tools=[never]), "tool never: the JSON schema cannot be used: Unsatisfiable")
    assert (chat.turns, free.turns) == (0, 0)
    head.follow(ids("hello<eos>"))
    assert free.ask("my name", tools=[UNKNOWN]) == "hello"
    head.follow(ids("hello<eos>"))
    assert chat.ask("my name", tools=[ADD]) == "hello"


def test_choices_that_are_none() -> None:
    chat = Scripted().chat
    refused(lambda: chat.ask("hello", tools=[ADD], tool_choice="add"), "tool_choice is 'auto', 'none', 'required'")
    refused(lambda: Manner(tool_choice="always"), "tool_choice is 'auto'")  # type: ignore[arg-type]
    sub = {"type": "function", "name": "sub"}
    refused(lambda: chat.ask("hello", tools=[ADD], tool_choice=sub), "there is no tool 'sub' to choose; offered are")
    refused(lambda: chat.ask("hello", tool_choice="required"), "a call is required, but no tools are offered")
    assert Manner(tool_choice="none").tool_choice == ToolChoice("none")  # type: ignore[arg-type]
    alpha = Conversation(chat_model(), ChatTokenizer.train(["hello"], 300), max_new_tokens=2)
    refused(lambda: alpha.ask("hello", tool_choice="required"), "the alpha template has no tool call part")
    assert isinstance(alpha.ask("hello", tool_choice="none"), str)


def test_it_needs_the_library_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxt.generation.reply_constraint.can_be_json", lambda: False)
    needs = "calls that are held to their schema need llguidance: pip install 'reactive-transformers[json]'"
    model, tokenizer, head = scripted_model(LONG)
    refused(lambda: Conversation(model, tokenizer, manner=Manner(tools=(ADD,), strict_calls=True)), needs)
    chat = Conversation(model, tokenizer)
    refused(lambda: chat.ask("hello", tools=[ADD], tool_choice="required"), needs)
    refused(lambda: chat.ask("hello", tools=[replace(ADD, strict=True)]), needs)
    head.follow(ids(f"<tool_call>{CALL}<eos>"))
    assert chat.ask("hello", tools=[ADD]) == ""
    assert chat.call is not None
    assert json.loads(chat.call.text) == {"name": "add", "arguments": {"a": 7}}
