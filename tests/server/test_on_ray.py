"""Replicas by Ray, as processes over one Redis: they answer as one server does, and one that is killed under load loses
nothing that was seen."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
from live import Live

from redis_server import RedisServer, running_redis
from rxt.cli.main import main
from rxt.cli.serve_options import Options
from rxt.errors import UserError
from rxt.serving_on_ray import app, read_options
from serve_process import Process

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's own, when it is imported
ROOT = Path(__file__).parents[2]
SOAK = ROOT / "benchmarks" / "soak.py"
HAS_RAY = find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is missing: pip install 'reactive-transformers[ray]'")
TALK = ["My dog is called Rex.", "Hello!", "What is my dog called?"]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path) as server:
        yield server


def text_of(reply: dict[str, object]) -> str:
    return re.findall(r'"text": "(.*?)", "annotations"', json.dumps(reply["output"]))[0]


@needs_ray
@pytest.mark.slow
def test_two_replicas_answer_as_one_process(redis: RedisServer, serve: Callable[..., Live]) -> None:
    alone = serve()

    def talk(post: Callable[[str, object], dict[str, object]], number: int) -> list[str]:
        """A conversation and a chain of responses, drawn by a seed and not."""
        name = post("/v1/conversations", {})["id"]
        said, previous = list[str](), None
        for query in TALK:
            said.append(text_of(post("/v1/responses", {"input": query, "conversation": name})))
            drawn = {"input": query, "temperature": 0.9, "seed": number, "previous_response_id": previous}
            reply = post("/v1/responses", drawn)
            said.append(text_of(reply))
            previous = reply["id"]
        return said

    server = Process(redis.address, "--ray", "--replicas", "2")
    try:
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda number: talk(server.post, number), range(6)))
        expected = [talk(lambda path, body: alone.http.post(path, json=body).json(), number) for number in range(6)]
        assert found == expected
        with alone.http.stream("GET", f"{server.url}/metrics") as reply:
            page = reply.read().decode()
        counts = re.findall(r'rxt_turns_total\{end="stop",replica="\w+"\} (\S+)', page)
        assert len(counts) == 2, "both have answered"
        assert sum(map(float, counts)) == 6 * 2 * len(TALK)
    finally:
        assert server.end(signal.SIGTERM) == 0
    assert main(["db", "verify", redis.address]) == 0


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, 4])
def test_a_replica_killed_under_load_loses_nothing_that_was_seen(redis: RedisServer, replicas: int) -> None:
    load = ["--active", "6", "--connections", "6", "--seconds", "15", "--replay", "6"]
    command = [sys.executable, str(SOAK), "--db", redis.address, "--replicas", str(replicas), "--kill", *load]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "in which one is not kept: 0" in done.stdout
    assert "0 answers differ" in done.stdout
    assert main(["db", "verify", redis.address]) == 0


@needs_ray
@pytest.mark.slow
def test_a_replica_is_added_while_more_is_asked_than_one_answers(
    redis: RedisServer, serve: Callable[..., Live]
) -> None:
    """Ray looks for half a minute before it adds one; the answers are the same before and after."""
    alone, asked = serve(), {"input": TALK[0], "store": False}
    expected = text_of(alone.http.post("/v1/responses", json=asked).json())

    def replicas() -> int:
        return len(set(re.findall(r'replica="(\w+)"', alone.http.get(f"{server.url}/metrics").text)))

    server = Process(redis.address, "--ray", "--replicas", "1", "--most-replicas", "2", "--places", "1")
    try:
        assert replicas() == 1
        gives_up = time.monotonic() + 300
        with ThreadPoolExecutor(8) as pool:
            while replicas() < 2:
                assert time.monotonic() < gives_up, "no replica is added"
                answers = list(pool.map(lambda _: text_of(server.post("/v1/responses", asked)), range(64)))
                assert answers == [expected] * 64
    finally:
        assert server.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ray", "--db", "{0}/db"], "replicas cannot share this store; name a Redis"),
        (["--ray", "--db", ":memory:"], "replicas cannot share this store; name a Redis"),
        (["--replicas", "2"], "--replicas and --most-replicas need --ray"),
        (["--ray", "--replicas", "3", "--most-replicas", "2"], "--most-replicas not below it, found 3 and 2"),
        (
            ["--ray", "--db", "redis://127.0.0.1:1/0"],
            "Redis failed" if HAS_RAY else "replicas need Ray: pip install 'reactive-transformers[ray]'",
        ),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--port", "0", *(word.replace("{0}", str(tmp_path)) for word in words)]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not list(tmp_path.iterdir()), "no store was made"


def test_options_come_by_name_from_a_configuration() -> None:
    options = read_options({"db": "redis://redis:6379/0", "places": "4", "hosts": ["a.example"], "keys": "keys.txt"})
    assert options == Options(
        db="redis://redis:6379/0", places=4, hosts=("a.example",), keys=Path("keys.txt"), ray=True
    )
    for wrong, message in (({"palces": 4}, "palces: rxt serve has no such option"), ({"places": "x"}, "places: ")):
        with pytest.raises(UserError, match=message):
            read_options(wrong)


def test_the_configuration_that_ships_is_one() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is missing: the extra ray brings it")
    told = yaml.safe_load((ROOT / "deploy" / "ray.yaml").read_text())
    (application,) = told["applications"]
    options = read_options(application["args"])
    model, _ = application["deployments"]
    assert model["autoscaling_config"]["target_ongoing_requests"] == options.places
    if HAS_RAY:
        from ray.serve.schema import ServeDeploySchema  # pyright: ignore[reportMissingImports]

        ServeDeploySchema.model_validate(told)
        assert app(application["args"])._bound_deployment.name == "Ingress"
