"""``rxt chat`` with thinking and tools."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import pytest
import torch
from rich.console import Console

from factories import chat_model, scripted_model, tiny_tokenizer
from rxt.cli.chat import Options, answer_lines, strict_calls
from rxt.cli.main import main
from rxt.cli.terminal import Terminal
from rxt.cli.tool_loop import MOST_CALLS, results
from rxt.generation.conversation import Conversation
from rxt.generation.manner import Manner
from rxt.model.memory import Memory
from rxt.pretrained import load_chat
from rxt.tools.builtin import BUILT_IN, Clock, ToolBox
from rxt.tools.tool import Tool, call_text

DIM = "\x1b[2m"
SUM = call_text("calculator", {"expression": "34 * 12"})
NO_SUM = call_text("calculator", {"expression": "34 * "})


class Screen:
    """A terminal with a model that says what it is told to."""

    def __init__(self, tools: ToolBox | None = None, manner: Manner | None = None) -> None:
        model, self.tokenizer, self.head = scripted_model(320)
        self.chat = Conversation(model, self.tokenizer, manner=manner or Manner("auto"))
        self.output = io.StringIO()
        console = Console(file=self.output, width=300, highlight=False, markup=False, force_terminal=True)
        self.terminal = Terminal(self.chat, "tiny", None, console, tools)

    def ids(self, said: str) -> list[int]:
        tokens, found = self.tokenizer.tokens, list[int]()
        markers = {"T": tokens.think, "A": tokens.answer, "C": tokens.tool_call, "E": tokens.eos}
        for piece in said.replace("<", "\0<").replace(">", "\0").split("\0"):
            marker = markers.get(piece.removeprefix("<")) if piece.startswith("<") else None
            found += [marker] if marker is not None else self.tokenizer.encode(piece)
        return found

    def type(self, line: str, *replies: str) -> str:
        """What is printed where the model says this, one turn after another."""
        self.head.follow(itertools.chain.from_iterable(self.ids(reply) for reply in replies))
        assert self.terminal.handle(line)
        assert self.terminal.handle("")
        text = self.output.getvalue()
        self.output.seek(0)
        self.output.truncate()
        return text


def plain(shown: str) -> str:
    """Without styles."""
    for code in (DIM, "\x1b[0m", "\x1b[31m"):
        shown = shown.replace(code, "")
    return shown


def test_thoughts_are_dimmed_and_the_answer_is_not() -> None:
    screen = Screen()
    shown = screen.type("my name", "<T>I am Ann<A>hello there<E>")
    assert plain(shown) == "I am Ann\nhello there\n"
    thoughts, answer = shown.split("\n")[:2]
    assert thoughts.startswith(DIM)
    assert answer == "hello there"
    assert screen.type("my name", "<A>hello<E>") == "hello\n"


def test_thoughts_can_be_folded_away() -> None:
    screen = Screen()
    assert "thoughts are folded away" in screen.type("/thoughts")
    assert plain(screen.type("my name", "<T>I am Ann<A>hello<E>")) == "(thinking …)\nhello\n"
    assert screen.chat.reply is not None
    assert screen.chat.reply.think == "I am Ann"
    assert "thoughts are shown" in screen.type("/thoughts")
    assert plain(screen.type("my name", "<T>I am Ann<A>hello<E>")) == "I am Ann\nhello\n"


def test_calls_are_run_and_their_results_answered_to() -> None:
    tools = ToolBox.of_names("calculator")
    screen = Screen(tools, Manner(tools=tools.tools))
    shown = plain(screen.type("34 by 12", f"so<C>{SUM}<E>", f"<C>{NO_SUM}<E>", "408<E>"))
    assert shown == (
        'so\n[calculator {"expression": "34 * 12"}] → 408\n'
        '\n[calculator {"expression": "34 * "}] → error: the expression ends where a number is expected\n'
        "408\n"
    )
    assert screen.chat.turns == 3


def test_a_model_that_calls_without_end_is_stopped() -> None:
    tools = ToolBox.of_names("calculator")
    screen = Screen(tools, Manner(tools=tools.tools))
    shown = plain(screen.type("hello", *[f"<C>{SUM}<E>"] * (MOST_CALLS + 1)))
    assert shown.count("→ 408") == MOST_CALLS
    assert shown.endswith('[calculator {"expression": "34 * 12"}] → not run\n')
    assert plain(screen.type("hello", "hi<E>")) == "hi\n", "the chat goes on"


@pytest.mark.parametrize(
    ("called", "told"),
    [
        (call_text("clock", {}), "[clock {}] → error: there is no tool 'clock'; there is calculator\n"),
        ("34 * 12", "[34 * 12 {}] → error: the call is not JSON"),
    ],
)
def test_a_wrong_call_is_told_to_the_person_and_to_the_model(called: str, told: str) -> None:
    tools = ToolBox.of_names("calculator")
    screen = Screen(tools, Manner(tools=tools.tools))
    shown = plain(screen.type("hello", f"<C>{called}<E>", "hi<E>"))
    assert told in shown
    assert shown.endswith("\nhi\n")
    without = Screen()
    assert "→ error: " in plain(without.type("hello", f"<A>so<C>{called}<E>"))
    assert without.chat.turns == 1


def test_a_result_longer_than_the_model_can_read_is_told_it_as_such() -> None:
    tools = ToolBox.of_names("notebook")
    notebook = tools._by_name["notebook"]
    notebook.run({"action": "put", "key": "a", "value": "x" * 1000})
    screen = Screen(tools, Manner(tools=tools.tools))
    call = call_text("notebook", {"action": "get", "key": "a"})
    assert plain(screen.type("hello", f"<C>{call}<E>", "hi<E>")).endswith("\nhi\n")
    assert screen.chat.turns == 2


def test_piped_a_line_is_answered_after_all_its_calls() -> None:
    tools = ToolBox.of_names("calculator")
    screen = Screen(tools, Manner("auto", tools=tools.tools))
    replies = (f"<T>I am<A>so<C>{SUM}<E>", "<T>how<A>408<E>", "<A>hello<E>")
    screen.head.follow(itertools.chain.from_iterable(screen.ids(reply) for reply in replies))
    out = io.BytesIO()
    answer_lines(screen.chat, io.BytesIO(b"34 by 12\nhello\n"), out, None, tools)
    assert out.getvalue() == b"so 408\nhello\n", "without thoughts"


@pytest.fixture(scope="module")
def beta_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, tokenizer = tmp_path_factory.mktemp("models") / "beta", tiny_tokenizer("beta")
    chat_model(max_length=640, tokens=tokenizer.tokens).save_pretrained(path)
    tokenizer.save(path)
    return path


class Command:
    """``rxt chat`` with a message at its standard input."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[bytes]) -> None:
        self._monkeypatch, self._captured = monkeypatch, captured

    def __call__(self, folder: Path, *options: str) -> tuple[int, str, str]:
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"hello\n")))
        code = main(["chat", str(folder), "--max-new-tokens", "6", *options])
        out, err = self._captured.readouterr()
        return code, out.decode(), err.decode()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Command:
    return Command(monkeypatch, capfdbinary)


def test_options_reach_the_conversation(command: Command, beta_folder: Path, tmp_path: Path) -> None:
    tools = ToolBox.of_names("clock,calculator").tools
    chat = load_chat(beta_folder, max_new_tokens=6, manner=Manner("thinking", 5, tools))
    answer = " ".join(chat.ask("hello").splitlines())
    options = ["--thinking", "thinking", "--thinking-budget", "5", "--tools", "clock,calculator"]
    for index, left_out in enumerate([0, 2, 4, 6]):
        file = tmp_path / f"{index}.memory"
        code, out, err = command(beta_folder, *options[left_out:], "--memory", str(file))
        assert (code, err) == (0, "")
        assert torch.equal(Memory.load(file).slots, chat.memory.slots) == (left_out == 0)
        assert left_out or out == f"{answer}\n"


@pytest.mark.parametrize("there", [True, False])
def test_calls_are_strict_where_the_library_is(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr("rxt.generation.json_answers.can_be_json", lambda: there)
    assert strict_calls(Options(tools="clock")) == there
    assert strict_calls(Options(tools="clock", calls="strict")), "what is missing is said when it is needed"
    assert not strict_calls(Options(tools="clock", calls="free"))
    assert not strict_calls(Options())


def test_without_the_library_only_who_asks_for_it_is_told(
    command: Command, beta_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("json_answers", "reply_constraint"):
        monkeypatch.setattr(f"rxt.generation.{place}.can_be_json", lambda: False)
    for options in ([], ["--calls", "auto"], ["--calls", "free"]):
        code, _, err = command(beta_folder, "--tools", "clock", *options)
        assert (code, err) == (0, "")
    code, out, err = command(beta_folder, "--tools", "clock", "--calls", "strict")
    assert (code, out) == (2, "")
    needs = "calls that are held to their schema need llguidance: pip install 'reactive-transformers[json]'"
    assert err == f"rxt: {needs}\n"


@pytest.mark.parametrize("calls", ["strict", "free"])
def test_a_built_in_tool_is_called_as_its_schema_says(calls: str) -> None:
    """The model begins a call, and would then like to write letters for ever."""
    pytest.importorskip("llguidance")
    tools = ToolBox.of_names("calculator")
    screen = Screen(tools, Manner(tools=tools.tools, strict_calls=calls == "strict"))
    begun, letters = screen.ids("<C>"), ({screen.ids("1")[0]: 5.0} for _ in range(320))
    screen.head.follow(itertools.chain(begun, letters))
    steps = results(screen.chat, tools)
    screen.chat.ask("34 by 12")
    found, result = next(steps)
    if calls == "strict":
        assert (found.name, found.error) == ("calculator", None)
        assert set(str(found.arguments["expression"])) == {"1"}
    else:
        assert result.startswith("error: the call is not")


def test_a_schema_that_no_grammar_has(command: Command, beta_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llguidance")

    class Odd(Clock):
        @property
        def tool(self) -> Tool:
            return Tool("clock", "", {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}})

    monkeypatch.setitem(BUILT_IN, "clock", Odd)
    code, out, err = command(beta_folder, "--tools", "clock")
    assert (code, out) == (2, "")
    assert err == 'rxt: tool clock: the JSON schema cannot be used: Unimplemented keys: ["uniqueItems"]\n'
    assert command(beta_folder, "--tools", "clock", "--calls", "free")[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--calls", "strict"], "--calls strict: there are no tools to call; name some with --tools"),
        (["--thinking", "auto"], "the alpha template has no thinking part; leave it out or use a model with the beta"),
        (["--tools", "clock"], "the alpha template has no tool call part; leave it out or use a model with the beta"),
        (["--tools", "clok"], "there is no built-in tool 'clok'; there are calculator, clock, notebook"),
        (["--thinking-budget", "-1"], "the budget of thinking tokens must be 0 or more, found -1"),
    ],
)
def test_what_cannot_be_is_one_line(command: Command, folder: Path, options: list[str], message: str) -> None:
    code, out, err = command(folder, *options)
    assert (code, out) == (2, "")
    assert err.startswith(f"rxt: {message}")
    assert err.count("\n") == 1
