"""``rxt serve`` and ``rxt db`` as processes: started, killed, started again."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from rxt.cli.arguments import parse_arguments
from rxt.cli.main import main
from rxt.cli.serve_options import Options, open_sessions
from rxt.model.stacked import StackedMemoryAttention
from rxt.server.logs import logged_to_stderr
from serve_process import Process

MISSING = [name for name in ("fastapi", "uvicorn", "prometheus_client", "redis") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"{', '.join(MISSING)} missing: pip install 'reactive-transformers[serve]'"
)


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def begin(db: Path, *options: str) -> Process:
        made.append(Process(db, *options))
        return made[-1]

    yield begin
    for one in made:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


def test_killed_right_after_an_answer_it_remembers(
    start: Callable[..., Process], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db, previous = tmp_path / "db", None
    for text in ("My dog is called Rex.", "Hello!", "My name is Anna."):
        server = start(db)
        previous, _ = server.say(text, previous)
        server.end(signal.SIGKILL)
        assert main(["db", "verify", str(db)]) == 0
    server = start(db)
    assert "Rex" in server.say("What is my dog called?", previous)[1]
    assert "Anna" in server.say("What is my name?", previous)[1]
    assert server.end(signal.SIGTERM) == 0
    assert main(["db", "verify", str(db)]) == 0
    assert "5 turns, 0 conversations: all as it was written" in capsys.readouterr().out


def test_the_store_from_outside(
    start: Callable[..., Process], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = tmp_path / "db"
    server = start(db, "--half-memory", "--keep-turns", "100")
    conversation = server.post("/v1/conversations", {"metadata": {"title": "dogs"}})["id"]
    reply = server.post("/v1/responses", {"input": "My dog is called Rex.", "conversation": conversation})
    server.end(signal.SIGTERM)

    def said(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(["db", *words]) == code
        return capsys.readouterr().out

    assert f"{conversation}" in said("list", str(db))
    assert json.loads(said("list", str(db), "--json").splitlines()[0])["metadata"] == {"title": "dogs"}
    assert "> My dog is called Rex." in said("show", str(db), str(conversation))
    memory = tmp_path / "rex.memory"
    said("export", str(db), str(memory), "--name", str(reply["id"]), "--memory")
    chat = [sys.executable, "-m", "rxt", "chat", "--memory", str(memory)]
    assert (
        "Rex"
        in subprocess.run(chat, input="What is my dog called?\n", capture_output=True, text=True, check=True).stdout
    )
    said("export", str(db), str(tmp_path / "all.jsonl"))
    other = tmp_path / "other"
    assert "2 turns and conversations added" in said("import", str(other), str(tmp_path / "all.jsonl"))
    assert "1 turns, 1 conversations" in said("verify", str(other))
    assert "1 turns forgotten" in said("prune", str(other), "--turns", "0")
    assert "0 conversations, 0 turns" in said("list", str(other))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["serve", "no/such/model", "--db", "{0}/db"], "no/such/model"),
        (["serve", "--db", "{0}/no/db"], "no folder"),
        (["serve", "--db", "{0}"], "is a folder"),
        (["serve", "--port", "99999"], "cannot be listened at"),
        (["serve", "--host", "999.1.1.1"], "cannot be listened at"),
        (["serve", "--places", "0"], "--places must be at least 1"),
        (["serve", "--keep-days", "-1"], "--keep-days must be above 0, found -1.0"),
        (["serve", "--keep-turns", "0"], "--keep-turns must be above 0, found 0"),
        (["serve", "--keep-days", "x"], "error parsing --keep-days: could not convert string to float: 'x'"),
        (["serve", "--threads", "-3"], "--threads must be at least 0, found -3"),
        (["serve", "--hosts", "http://a.example"], "--hosts takes names such as chat.example.com"),
        (["serve", "--hosts", "a.example:80"], "--hosts takes names such as chat.example.com"),
        (["serve", "{0}/none"], "a bundled model (babi, fragments, smollm2), or a model of the Hugging Face Hub"),
        (["serve", "--keys", "{0}/missing"], "the keys cannot be read"),
        (["serve", "--db", "redis://127.0.0.1:1/0"], "Redis failed"),
        (["db", "frob"], "no such action"),
        (["db", "list", "{0}/missing"], "no such file"),
        (["db", "prune", "{0}/missing"], "name a limit"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.replace("{0}", str(tmp_path)) for word in words]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


def test_logs_go_where_they_went_when_the_server_has_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard error of then may be closed: here it is one that is read after each test."""
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    assert main(["serve", "no/such/model", "--port", "0", "--db", str(tmp_path / "db")]) == 2
    assert (root.level, root.handlers) == before
    with logged_to_stderr():
        capsys.readouterr()
        logging.getLogger("rxt.access").info("request", extra={"fields": {"status": 200}})
        line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["logger"], line["status"]) == ("request", "rxt.access", 200)


@pytest.mark.parametrize(("told", "pieces"), [("pieces", 64), ("refuse", 1)])
def test_long_messages_come_in_pieces_unless_they_are_refused(tmp_path: Path, told: str, pieces: int) -> None:
    options = parse_arguments(Options, "rxt serve", ["--db", str(tmp_path / "db"), "--long-messages", told])

    async def scene() -> int:
        sessions = open_sessions(options)
        try:
            return sessions.rules.pieces
        finally:
            await sessions.close()

    assert asyncio.run(scene()) == pieces


@pytest.mark.parametrize("updates", ["float32", "bfloat16"])
def test_memory_updates_are_rounded_where_that_is_asked_for(tmp_path: Path, updates: str) -> None:
    """With 8-bit weights in the decoder too, which say nothing of updates."""
    options = parse_arguments(
        Options, "rxt serve", ["--db", str(tmp_path / "db"), "--updates", updates, "--quantize", "--threads", "1"]
    )

    async def scene() -> bool:
        sessions = open_sessions(options)
        try:
            return isinstance(sessions.engine.model.memory_attention, StackedMemoryAttention)
        finally:
            await sessions.close()

    assert asyncio.run(scene()) == (updates == "bfloat16")


def test_connections_stay_open_as_long_as_they_are_told_to(start: Callable[..., Process], tmp_path: Path) -> None:
    """Without the option it would be longer than this waits."""
    server = start(tmp_path / "db", "--keep-alive", "1")
    with closing(http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)) as connection:
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b'{"status":"ok"}'
        assert connection.sock.recv(1) == b"", "closed by the server"
    assert server.end(signal.SIGTERM) == 0


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["db"]) == 0
    assert "verify" in capsys.readouterr().out
