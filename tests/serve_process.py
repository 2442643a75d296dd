"""``rxt serve`` as a process, for tests that stop or kill it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path


class Process:
    """A server of its own."""

    def __init__(self, db: Path | str, *options: str, before: Callable[[], None] | None = None) -> None:
        """``before`` is called in the process before the server begins."""
        command = [sys.executable, "-m", "rxt", "serve", *options, "--port", "0", "--db", str(db)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, preexec_fn=before
        )
        assert self.process.stdout is not None
        found = re.search(r"http://\S+", self.process.stdout.readline())
        assert found is not None
        self.url = found[0]

    def post(self, path: str, body: object) -> dict[str, object]:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as reply:
            return json.load(reply)

    def say(self, text: str, previous: object = None) -> tuple[object, str]:
        """The response's id, and its text."""
        reply = self.post("/v1/responses", {"input": text, "previous_response_id": previous})
        output: object = reply["output"]
        return reply["id"], json.dumps(output)

    def stream(self, text: str, most: int | None = None) -> Iterator[dict[str, object]]:
        """The events of a turn, as long as they come."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=600)
        try:
            body = json.dumps({"input": text, "stream": True, "max_output_tokens": most})
            connection.request("POST", "/v1/responses", body, {"Content-Type": "application/json"})
            with connection.getresponse() as reply:
                for line in reply:
                    if line.startswith(b"data: "):
                        yield json.loads(line[6:])
        except http.client.IncompleteRead:
            return
        finally:
            connection.close()

    def end(self, how: signal.Signals) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(how)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        code = self.process.wait(120)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code
