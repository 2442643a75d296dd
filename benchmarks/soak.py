"""Many conversations at once for a while: ``python benchmarks/soak.py [--connections 200] [--active 64] [--seconds 60]
[--db ADDRESS] [--replicas N [--kill]]``.

It starts ``rxt serve`` as a process of its own, tells each conversation a name, keeps them talking while idle
connections stay open, and asks each for its name at the end. It prints load, errors, times to the first token, memory
of the server, and two checks: every turn that was seen as complete is among what the server has kept, and nothing
crossed over: some conversations are held again alone, and every answer must be the same. Exit code 1 if anything but
a documented 429 or 503 came, a turn is lost, or an answer differs.

``--replicas`` serves so many by Ray, and needs a Redis (``--db redis://…``); ``--kill`` kills one of them with SIGKILL
halfway through. The streams that it was sending are cut then, which is counted and no failure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import httpx2

import rxt
from rxt.tasks.everyday.values import CITIES, NAMES

CUT = ("RemoteProtocolError", "ReadError", "not completed")
"""How a stream ends whose server has died."""
TALK = ["Hello!", "How are you?", "Thanks!", "Good morning!", "See you soon."]


class Secret(NamedTuple):
    """What one conversation is told, and nobody else."""

    value: str
    told: str
    asked: str


class Soak:
    """What was seen."""

    def __init__(self, address: str, secrets: list[Secret]) -> None:
        self.address = address
        self.secrets = secrets
        self.seen: dict[str, list[tuple[str, str]]] = {}
        """What each conversation has said, as far as it was told that a turn is complete."""
        self.kept: dict[str, list[tuple[str, str]]] = {}
        """What the server says of it at the end."""
        self.errors: Counter[str] = Counter()
        self.first: list[float] = []
        self.whole: list[float] = []
        self.turns = 0

    async def ask(self, client: httpx2.AsyncClient, conversation: str, text: str) -> str:
        """One streamed turn; tries again where the server asks for it."""
        while True:
            began, first, said, completed = time.perf_counter(), None, "", False
            try:
                body = {"input": text, "conversation": conversation, "stream": True}
                async with client.stream("POST", "/v1/responses", json=body) as reply:
                    if reply.status_code in (429, 503):
                        self.errors[f"{reply.status_code} (documented)"] += 1
                        await asyncio.sleep(float(reply.headers.get("retry-after", 1)))
                        continue
                    if reply.status_code != 200:
                        self.errors[f"status {reply.status_code}"] += 1
                        return ""
                    async for line in reply.aiter_lines():
                        if not line.startswith("data: "):
                            continue
                        event = json.loads(line[6:])
                        if event["type"] == "response.output_text.delta":
                            first = first or time.perf_counter()
                            said += event["delta"]
                        elif event["type"] in ("response.completed", "response.incomplete"):
                            completed = True
                            self.whole.append(time.perf_counter() - began)
            except httpx2.HTTPError as error:
                self.errors[type(error).__name__] += 1
                return ""
            if not completed:
                self.errors["not completed"] += 1
                return ""
            if first is not None:
                self.first.append(first - began)
            self.turns += 1
            self.seen.setdefault(conversation, []).append((text, said))
            return said

    async def read(self, client: httpx2.AsyncClient, conversation: str) -> None:
        """Ask the server for what was said."""
        said, after = list[str](), ""
        while True:
            place = f"/v1/conversations/{conversation}/items?order=asc&limit=1000" + (after and f"&after={after}")
            page = (await client.get(place)).raise_for_status().json()
            said += [item["content"][0]["text"] for item in page["data"]]
            if not page["has_more"]:
                break
            after = page["last_id"]
        self.kept[conversation] = list(zip(said[::2], said[1::2], strict=True))

    def lost(self) -> int:
        """Conversations in which something that was seen as complete is not kept, or not in its order."""
        return sum(not is_part(seen, self.kept[name]) for name, seen in self.seen.items())

    async def talk(self, client: httpx2.AsyncClient, index: int, ends: float) -> str:
        """One conversation -> its answer about its secret."""
        secret = self.secrets[index]
        conversation = (await client.post("/v1/conversations", json={})).json()["id"]
        await self.ask(client, conversation, secret.told)
        count = 0
        while time.monotonic() < ends:
            count += 1
            if count % 8 == 0:  # the model remembers for some tens of turns: the fact is told again
                await self.ask(client, conversation, secret.told)
            else:
                await self.ask(client, conversation, TALK[count % len(TALK)])
        await self.ask(client, conversation, secret.told)
        return await self.ask(client, conversation, secret.asked)

    async def run(self, connections: int, seconds: float) -> list[str]:
        """All conversations, beside connections that are only open."""
        host, port = self.address.removeprefix("http://").split(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(max(0, connections - len(self.secrets)))]
        limits = httpx2.Limits(max_connections=connections)
        async with httpx2.AsyncClient(base_url=self.address, timeout=120, limits=limits) as client:
            ends = time.monotonic() + seconds
            answers = await asyncio.gather(*(self.talk(client, index, ends) for index in range(len(self.secrets))))
            for conversation in self.seen:
                await self.read(client, conversation)
        for _, writer in idle:
            writer.close()
        return answers


def is_part(some: list[tuple[str, str]], whole: list[tuple[str, str]]) -> bool:
    """Whether all of ``some`` are in ``whole``, in their order."""
    rest = iter(whole)
    return all(each in rest for each in some)


def memory_of(process: int) -> float:
    """Megabytes that a process and those that it has started have in use; what they share is counted for each."""
    used = 0
    for each in (process, *descendants(process)):
        with suppress(OSError):
            used += int(*re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{each}/status").read_text()) or [0])
    return used / 1024


def descendants(process: int) -> list[int]:
    """The processes that it, or one of these, has started."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            parents[int(status.parent.name)] = int(re.findall(r"PPid:\s+(\d+)", status.read_text())[0])
    found = [process]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


def kill_one(server: int) -> None:
    """Kill a replica of the model, of those that a server has."""
    for process in descendants(server):
        with suppress(OSError):
            if Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::ServeReplica:rxt:Model"):
                os.kill(process, signal.SIGKILL)
                return
    raise SystemExit("there is no replica to kill")


def percentile(values: list[float], part: float) -> float:
    return statistics.quantiles(values, n=100)[round(part * 100) - 1] if len(values) > 1 else values[0]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--active", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--places", type=int, default=64)
    parser.add_argument("--replay", type=int, default=8, help="conversations that are held again alone")
    parser.add_argument("--db", default="")
    parser.add_argument("--replicas", type=int, default=0, help="by Ray; 0: one server without it")
    parser.add_argument("--kill", action="store_true", help="kill one of the replicas halfway")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        db = options.db or f"{folder}/db"
        command = [
            sys.executable,
            "-m",
            "rxt",
            "serve",
            "--port",
            "0",
            "--db",
            db,
            "--places",
            str(options.places),
            "--per-key",
            "1000",
        ]
        if options.replicas:
            command += ["--ray", "--replicas", str(options.replicas)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found is not None
        try:
            while httpx2.get(f"{found[0]}/readyz").status_code != 200:
                time.sleep(0.1)
            before = memory_of(server.pid)
            soak, began = Soak(found[0], known_secrets(options.active)), time.perf_counter()
            if options.kill:
                threading.Timer(options.seconds / 2, kill_one, [server.pid]).start()
            answers = asyncio.run(soak.run(options.connections, options.seconds))
            lasted, after = time.perf_counter() - began, memory_of(server.pid)
        finally:
            server.terminate()
            code = server.wait()
    told = {secret.value for secret in soak.secrets}
    pairs = list(zip((secret.value for secret in soak.secrets), answers, strict=True))
    own = sum(value in answer for value, answer in pairs)
    crossed = sum(bool((told - {value}) & set(re.findall(r"\w+", answer))) for value, answer in pairs)
    lost = soak.lost()
    replayed = list(soak.kept.values())[:: max(1, options.active // options.replay)]
    differing = sum(differences(transcript) for transcript in replayed)
    print(f"load: {options.active} conversations, {options.connections} connections, {lasted:.0f} s")
    print(
        f"turns: {soak.turns}, {soak.turns / lasted:.1f} a second; "
        f"errors: {dict(soak.errors) or 'none'}; exit code of the server: {code}"
    )
    for what, values in (("time to the first token", soak.first), ("time to the whole answer", soak.whole)):
        print(f"{what}: p50 {percentile(values, 0.5):.3f} s, p99 {percentile(values, 0.99):.3f} s")
    print(f"memory of the server: {before:.0f} MB at the start, {after:.0f} MB at the end")
    print(f"secrets at the end: {own} of {options.active} its own, {crossed} of somebody else")
    print(f"turns seen as complete: {soak.turns}; conversations in which one is not kept: {lost}")
    print(
        f"cross-talk: {len(replayed)} conversations held again alone, "
        f"{sum(map(len, replayed))} turns, {differing} answers differ"
    )
    wrong = [name for name in soak.errors if "documented" not in name and not (options.kill and name in CUT)]
    return 1 if wrong or differing or lost else 0


def known_secrets(count: int) -> list[Secret]:
    """Secrets that the model can repeat at all: it is small, and has not seen every name in training."""
    known: list[Secret] = []
    names = [Secret(name, f"My name is {name}.", "What is my name?") for name in NAMES]
    cities = [Secret(city, f"I live in {city}.", "Where do I live?") for city in CITIES]
    for secret in [*names, *cities]:
        chat = rxt.load_chat()
        chat.ask(secret.told)
        if secret.value in chat.ask(secret.asked):
            known.append(secret)
        if len(known) == count:
            return known
    sys.exit(f"the model can repeat {len(known)} secrets only: --active {len(known)} at most")


def differences(transcript: list[tuple[str, str]]) -> int:
    """How many answers of a conversation are others when it is held alone."""
    chat = rxt.load_chat()
    return sum(chat.ask(query) != answer for query, answer in transcript)


if __name__ == "__main__":
    sys.exit(main())
