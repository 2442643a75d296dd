"""``rxt serve`` when it is stopped, its disk is full, or its model is changed on the way."""

from __future__ import annotations

import json
import shutil
import signal
import urllib.error
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from factories import chat_model, tiny_tokenizer
from rxt.cli.main import main
from rxt.store.sqlite import SqliteStore
from serve_process import Process

MISSING = [name for name in ("fastapi", "uvicorn", "prometheus_client", "redis") if find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MISSING), reason=f"{', '.join(MISSING)} missing: pip install 'reactive-transformers[serve]'"
    ),
]
ENDED = {"response.completed", "response.incomplete"}


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def begin(db: Path, *options: str, before: Callable[[], None] | None = None) -> Process:
        made.append(Process(db, *options, before=before))
        return made[-1]

    yield begin
    for one in made:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of a small model whose answers end only where there is no more room."""
    folder, tokenizer, model = tmp_path_factory.mktemp("endless"), tiny_tokenizer(), chat_model(max_length=2048)
    with torch.no_grad():
        head = model.decoder.head.weight
        head[model.config.tokens.eos] = 0
        head[tokenizer.encode("a")[0]] += head.abs().max()
    model.save_pretrained(folder)
    tokenizer.save(folder)
    return str(folder)


def verified(db: Path) -> SqliteStore:
    """The store, which is what was written."""
    assert main(["db", "verify", str(db)]) == 0
    return SqliteStore(db)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_what_is_being_answered(
    start: Callable[..., Process], endless: str, tmp_path: Path, how: signal.Signals
) -> None:
    server, db = start(tmp_path / "db", endless, "--grace", "300"), tmp_path / "db"
    events = server.stream("hello", most=200)
    seen = [next(event for event in events if event["type"] == "response.output_text.delta")]
    server.process.send_signal(how)
    seen += events
    assert ENDED & {str(event["type"]) for event in seen}
    assert server.ended() == 0
    store = verified(db)
    assert (store.stats().turns, store.stats().unfinished) == (1, 0)
    store.close()


def test_a_stop_without_patience_leaves_nothing_half_there(
    start: Callable[..., Process], endless: str, tmp_path: Path
) -> None:
    server, db = start(tmp_path / "db", endless, "--grace", "0.05"), tmp_path / "db"
    events = server.stream("hello")
    next(event for event in events if event["type"] == "response.output_text.delta")
    server.process.send_signal(signal.SIGTERM)
    complete = bool(ENDED & {str(event["type"]) for event in events})
    assert server.ended() == 0
    store = verified(db)
    assert store.stats().turns == complete, "a turn is there if, and only if, the client has seen it complete"
    store.close()


def test_a_second_interrupt_ends_at_once(start: Callable[..., Process], endless: str, tmp_path: Path) -> None:
    server = start(tmp_path / "db", endless)
    events = server.stream("hello")
    next(event for event in events if event["type"] == "response.output_text.delta")
    server.process.send_signal(signal.SIGINT)
    assert server.end(signal.SIGINT) == 0
    events.close()  # type: ignore[attr-defined]
    verified(tmp_path / "db").close()


def test_a_full_disk_refuses_turns_and_loses_none(start: Callable[..., Process], tmp_path: Path) -> None:
    """The process may not write files beyond a size, so the system refuses its writes as it does where there is no more
    room."""

    def bounded() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    db, seen = tmp_path / "db", list[object]()
    server = start(db, before=bounded)

    def said(most: int) -> None:
        for _ in range(most):
            seen.append(server.say("Hello!", seen[-1] if seen else None)[0])

    with pytest.raises(urllib.error.HTTPError) as caught:
        said(most=100)
    with caught.value as refused:
        assert (refused.code, refused.headers["Retry-After"]) == (503, "1")
        assert json.load(refused)["error"]["code"] == "store_failed"
    assert len(seen) > 1
    assert server.end(signal.SIGTERM) == 0
    store = verified(db)
    assert list(store.scan()) == seen, "every turn that was seen, and no other"
    store.close()
    server = start(db)
    again, _ = server.say("Hello!", seen[-1])
    assert server.end(signal.SIGTERM) == 0
    store = verified(db)
    assert (list(store.scan()), store.stats().unfinished) == ([*seen, again], 0)
    store.close()


@pytest.mark.parametrize("option", ["--compile", "--quantize"])
def test_a_model_that_was_made_faster_answers(
    start: Callable[..., Process], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, option: str
) -> None:
    if option == "--compile" and shutil.which("c++") is None:
        pytest.skip("no C++ compiler here, which torch.compile needs")
    folder, tokenizer = tmp_path / "model", tiny_tokenizer()
    chat_model(max_length=64).save_pretrained(folder)
    tokenizer.save(folder)
    server = start(tmp_path / "db", str(folder), option, "--places", "2")
    first = server.post("/v1/responses", {"input": "hello", "max_output_tokens": 8})
    second = server.post(
        "/v1/responses", {"input": "how are you", "previous_response_id": first["id"], "max_output_tokens": 8}
    )
    for reply in (first, second):
        assert reply["status"] in ("completed", "incomplete")
        assert reply["usage"]["output_tokens"] > 0  # type: ignore[index]
    assert server.end(signal.SIGTERM) == 0
