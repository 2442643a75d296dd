import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from rxt.cli.arguments import parse_arguments
from rxt.cli.chat import Options, answer_lines, open_conversation
from rxt.cli.main import main
from rxt.cli.terminal import COMMANDS, Terminal, open_history, printable
from rxt.config import PoolConfig
from rxt.errors import UserError
from rxt.generation.conversation import Conversation, Token
from rxt.generation.sampling import Sampling
from rxt.model.memory import Memory
from rxt.model.pool import Pool
from rxt.model.stacked import StackedMemoryAttention
from rxt.pretrained import ReactiveTransformer, load_chat

LENGTH = 6
QUERIES = ["hello there", "my name is Ann", "how are you 🙂"]


@pytest.fixture
def chat(folder: Path) -> Conversation:
    return load_chat(folder, max_new_tokens=LENGTH)


@pytest.fixture
def answers(folder: Path) -> list[str]:
    """What the model says to ``QUERIES`` in one conversation."""
    chat = load_chat(folder, max_new_tokens=LENGTH)
    return [" ".join(chat.ask(query).splitlines()) for query in QUERIES]


@pytest.fixture
def piped(folder: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> "Piped":
    return Piped(folder, monkeypatch, capfdbinary)


class Piped:
    """``rxt chat`` with something at its standard input."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[bytes]) -> None:
        self.folder, self.monkeypatch, self.captured = folder, monkeypatch, captured

    def __call__(self, source: bytes, *options: str) -> tuple[int, list[str], str]:
        self.monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(source)))
        code = main(["chat", str(self.folder), "--max-new-tokens", str(LENGTH), *options])
        out, err = self.captured.readouterr()
        return code, out.decode().split("\n"), err.decode()


def lines(*queries: str) -> bytes:
    return "".join(f"{query}\n" for query in queries).encode()


def test_one_line_in_one_line_out_and_nothing_else(piped: Piped, answers: list[str]) -> None:
    assert piped(lines(*QUERIES)) == (0, [*answers, ""], "")
    assert piped(lines(*QUERIES).rstrip(b"\n")) == (0, [*answers, ""], "")
    assert piped(lines(*QUERIES).replace(b"\n", b"\r\n")) == (0, [*answers, ""], "")
    assert piped(b"") == (0, [""], "")


def test_a_line_break_in_an_answer_becomes_a_space(chat: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conversation, "ask", lambda self, query: "one\ntwo\r\nthree\u2028four")
    out = io.BytesIO()
    answer_lines(chat, io.BytesIO(b"hello\n"), out, None)
    assert out.getvalue() == b"one two three four\n"


@pytest.mark.parametrize(
    ("third", "message"),
    [
        (b"", "empty message"),
        (b"  \t", "empty message"),
        (b"ab\xff", "not UTF-8 (byte 3 of the line)"),
        (b"Graz! " * 40, "the query is too long"),
    ],
)
def test_a_bad_line_is_named_after_the_answers_before_it(
    piped: Piped, answers: list[str], third: bytes, message: str
) -> None:
    code, out, err = piped(lines(*QUERIES[:2]) + third + b"\n" + lines("never reached"))
    assert code == 2
    assert out == [*answers[:2], ""]
    assert err.startswith(f"rxt: standard input line 3: {message}")
    assert err.count("\n") == 1


def test_an_answer_is_written_before_the_next_line_is_read(chat: Conversation, answers: list[str]) -> None:
    out = io.BytesIO()

    class Source(io.BytesIO):
        def __iter__(self) -> Iterator[bytes]:  # type: ignore[override]
            for index, query in enumerate(QUERIES):
                assert out.getvalue().decode().split("\n")[:-1] == answers[:index]
                yield query.encode()

    answer_lines(chat, Source(), out, None)


def test_a_memory_file_continues_the_conversation(piped: Piped, answers: list[str], tmp_path: Path) -> None:
    file = tmp_path / "chat.memory"
    for turn, (query, answer) in enumerate(zip(QUERIES, answers, strict=True), start=1):
        assert piped(lines(query), "--memory", str(file)) == (0, [answer, ""], "")
        assert Memory.load(file).turns == (turn,)
    assert list(tmp_path.iterdir()) == [file]


def test_a_memory_file_of_fragments_continues_the_conversation(folder: Path, piped: Piped, tmp_path: Path) -> None:
    one = load_chat(folder, max_new_tokens=LENGTH)
    model = ReactiveTransformer.from_pretrained(folder).with_pool(PoolConfig(2, new_below=-1, most_writes=1))
    model.save_pretrained(tmp_path / "model")
    one.tokenizer.save(tmp_path / "model")
    piped.folder, file = tmp_path / "model", tmp_path / "chat.memory"
    chat = load_chat(tmp_path / "model", max_new_tokens=LENGTH)
    for turn, query in enumerate(QUERIES, start=1):
        assert piped(lines(query), "--memory", str(file)) == (0, [" ".join(chat.ask(query).splitlines()), ""], "")
        assert len(Pool.load(file).fragments) == turn
    screen = Screen(load_chat(tmp_path / "model", max_new_tokens=LENGTH))
    assert "3 turns remembered" in screen.type(f"/load {file}")
    assert f"active of {Pool.load(file).nbytes:,} bytes, 3 fragments" in screen.type("/memory")
    screen.type("hello again")
    told = r"turn 4 looked up fragment \d and was written into fragment 4; fragment 4 is new"
    assert re.search(told, screen.type("/memory"))


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_bytes(b"half a memory")])
def test_a_memory_file_that_is_none_is_refused_and_kept(piped: Piped, tmp_path: Path, make: object) -> None:
    file = tmp_path / "chat.memory"
    make(file)  # type: ignore[operator]
    before = file.is_dir() or file.read_bytes()
    code, out, err = piped(lines("hello"), "--memory", str(file))
    assert (code, out) == (2, [""])
    assert err.startswith(f"rxt: {file}: ")
    assert err.count("\n") == 1
    assert (file.is_dir() or file.read_bytes()) == before


def test_a_memory_file_that_could_not_be_saved_is_refused_at_once(piped: Piped, tmp_path: Path) -> None:
    code, out, err = piped(lines("hello"), "--memory", str(tmp_path / "no" / "chat.memory"))
    assert (code, out) == (2, [""])
    assert f"there is no folder {tmp_path / 'no'}" in err


def test_sampling_options_reach_the_model(piped: Piped, folder: Path) -> None:
    sampling = Sampling(2.0, 50, 0.95, 0.001, 1.5)
    expected = " ".join(load_chat(folder, 5, sampling, max_new_tokens=LENGTH).ask("hello").splitlines())
    options = [
        "--temperature",
        "2",
        "--top-k",
        "50",
        "--top-p",
        "0.95",
        "--min-p",
        "0.001",
        "--repetition-penalty",
        "1.5",
        "--seed",
        "5",
    ]
    assert piped(lines("hello"), *options) == (0, [expected, ""], "")
    code, _, err = piped(lines("hello"), "--top-p", "2")
    assert (code, err) == (2, "rxt: top_p must be above 0 and at most 1, found 2.0\n")


@pytest.mark.parametrize("updates", ["float32", "bfloat16"])
def test_memory_updates_are_rounded_where_that_is_asked_for(updates: str) -> None:
    chat = open_conversation(parse_arguments(Options, "rxt chat", ["--updates", updates]))
    assert isinstance(chat.model.memory_attention, StackedMemoryAttention) == (updates == "bfloat16")
    chat.ask("My dog is called Rex.")
    assert "Rex" in chat.ask("What is my dog called?")


def test_the_command_itself_in_a_locale_without_utf_8(folder: Path, answers: list[str]) -> None:
    command = [sys.executable, "-m", "rxt", "chat", str(folder), "--max-new-tokens", str(LENGTH)]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    process = subprocess.run(command, input=lines(*QUERIES), capture_output=True, env=environment)
    assert (process.returncode, process.stderr) == (0, b"")
    assert process.stdout.decode().split("\n") == [*answers, ""]


# The terminal.


class Output(io.StringIO):
    """What is printed; the person may press Ctrl-C as something is."""

    interrupts = False

    def write(self, text: str) -> int:
        if self.interrupts:
            self.interrupts = False
            raise KeyboardInterrupt
        return super().write(text)


class Screen:
    """A terminal without a keyboard: lines go in by ``type``, what it prints is in ``output``."""

    def __init__(self, chat: Conversation, memory: Path | None = None) -> None:
        self.output = Output()
        console = Console(file=self.output, width=100, highlight=False, markup=False)
        self.terminal = Terminal(chat, "tiny", memory, console)

    def type(self, line: str) -> str:
        """What is printed in reply."""
        assert self.terminal.handle(line)
        assert self.terminal.handle("")  # does nothing but wait for the memory
        text = self.output.getvalue()
        self.output.seek(0)
        self.output.truncate()
        return text


def test_answers_are_streamed_and_remembered(chat: Conversation, folder: Path) -> None:
    screen, expected = Screen(chat), load_chat(folder, max_new_tokens=LENGTH)
    for turn, query in enumerate(QUERIES, start=1):
        assert printable(expected.ask(query)) in screen.type(query)
        assert chat.turns == turn
        assert f"turn {turn} is remembered" in screen.terminal.status
    assert screen.type("   ") == ""


def test_commands_act_on_the_memory(chat: Conversation, tmp_path: Path) -> None:
    screen = Screen(chat)
    assert "no turn has changed it here yet" in screen.type("/memory")
    screen.type("hello")
    shown = screen.type("/memory")
    assert "1 turn remembered · 1,536 bytes: 2 layers x 6 slots x 32 numbers" in shown
    assert chat.last_update is not None
    for layer, change in enumerate(chat.last_update.change, start=1):
        assert any(line.split()[:2] == [str(layer), f"{change:.4f}"] for line in shown.splitlines())
    screen.type(f"/save {tmp_path / 'a file'}")
    assert Memory.load(tmp_path / "a file").turns == (1,)
    assert "a new conversation" in screen.type("/reset")
    assert chat.turns == 0
    assert "1 turn remembered" in screen.type(f"/load {tmp_path / 'a file'}")
    assert chat.turns == 1
    assert all(name in screen.type("/help") for name in COMMANDS)
    assert not screen.terminal.handle("/quit")


def test_forks_come_and_go(chat: Conversation) -> None:
    screen = Screen(chat)
    screen.type("hello")
    screen.type("/fork")
    screen.type("my name is Ann")
    assert screen.terminal.chat is not chat
    assert screen.terminal.chat.turns == 2
    assert "1 turn remembered" in screen.type("/back")
    assert screen.terminal.chat is chat
    assert "this is no fork" in screen.type("/back")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/memroy", "rxt: /memroy: no such command; did you mean /memory?\n"),
        ("/xyzzy", "rxt: /xyzzy: no such command; /help lists them\n"),
        ("/save", "rxt: /save needs a file name: /save FILE\n"),
        ("/fork now", "rxt: /fork takes nothing after it\n"),
        ("/load nowhere", "rxt: nowhere: no such file\n"),
        ("/save folder", "rxt: folder: cannot be written (Is a directory)\n"),
    ],
)
def test_a_mistake_is_one_line_and_the_chat_goes_on(
    chat: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    assert Screen(chat).type(line) == message


def test_a_query_that_is_too_long_is_one_line(chat: Conversation) -> None:
    screen = Screen(chat)
    shown = screen.type("Graz! " * 40)
    assert shown.startswith("rxt: the query is too long")
    assert shown.count("\n") == 1
    assert chat.turns == 0


def test_the_memory_file_follows_the_conversation_but_not_its_forks(chat: Conversation, tmp_path: Path) -> None:
    file = tmp_path / "chat.memory"
    screen = Screen(chat, file)

    def saved() -> int:
        return Memory.load(file).turns[0]

    screen.type("hello")
    assert saved() == 1
    assert "saved" in screen.terminal.status
    screen.type("/fork")
    screen.type("hello")
    assert saved() == 1
    screen.type("/reset")
    assert saved() == 1
    screen.type("/back")
    screen.type("/reset")
    assert saved() == 0


def test_an_interrupted_answer_is_not_remembered(chat: Conversation) -> None:
    screen = Screen(chat)
    screen.type("hello")
    before = chat.memory
    screen.output.interrupts = True
    assert "stopped; this turn is not remembered" in screen.type("my name is Ann")
    assert chat.memory is before
    screen.type("my name is Ann")
    assert chat.turns == 2


def test_a_failed_update_is_told_and_the_chat_goes_on(
    chat: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen(chat, tmp_path / "chat.memory")
    save = Conversation.save

    def failing(conversation: Conversation, path: Path) -> None:
        raise UserError("the disk is full")

    monkeypatch.setattr(Conversation, "save", failing)
    assert "rxt: the disk is full" in screen.type("hello")
    monkeypatch.setattr(Conversation, "save", save)
    assert "disk" not in screen.type("my name is Ann")
    assert Memory.load(tmp_path / "chat.memory").turns == (2,)


def test_control_characters_never_reach_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07\x9b31m\r\n\tc\x7f ö🙂") == "a[2Jb31m\n\tc ö🙂"


def test_a_person_types_and_leaves(chat: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    screen = Screen(chat)
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text("hello\r" + "not sent\x03" + "/memory\r" + "\x04")
        screen.terminal.run()
    shown = screen.output.getvalue()
    assert "tiny · a new conversation" in shown
    assert "1 turn remembered" in shown
    assert chat.turns == 1
    history = (tmp_path / "rxt" / "chat_history").read_text()
    assert "+hello\n" in history
    assert "not sent" not in history


def test_a_history_that_cannot_be_kept_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    history = open_history()
    (tmp_path / "rxt" / "chat_history").unlink()
    (tmp_path / "rxt" / "chat_history").mkdir()
    history.append_string("hello")
    assert list(history.load_history_strings()) == []
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert isinstance(open_history(), InMemoryHistory)


def test_tokens_come_one_by_one(chat: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[str] = []
    monkeypatch.setattr(Terminal, "_write", lambda self, text: pieces.append(text))
    Screen(chat).type("hello")
    assert len(pieces) == LENGTH
    other = Conversation(chat.model, chat.tokenizer, max_new_tokens=LENGTH)
    assert pieces == [event.text for event in other.stream("hello") if isinstance(event, Token)]
