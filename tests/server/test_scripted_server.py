"""The scripted server that other tests stand on."""

from __future__ import annotations

import time

import pytest
from scripted_server import Scripted
from torch import Tensor

from factories import ScriptedHead


def test_a_reply_that_was_ended_early_reads_nothing_of_the_next_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is at its next step when the server ends the reply; with slow steps it still is when the next script
    comes."""
    forward = ScriptedHead.forward

    def slow(head: ScriptedHead, states: Tensor) -> Tensor:
        time.sleep(0.3)
        return forward(head, states)

    monkeypatch.setattr(ScriptedHead, "forward", slow)
    served = Scripted(":memory:")

    def answer() -> str:
        asked = {"messages": [{"role": "user", "content": "my name"}], "stop": " there"}
        return served.post("/v1/chat/completions", **asked)["choices"][0]["message"]["content"]

    try:
        served.says("hello there, how are you<eos>")
        assert answer() == "hello"
        served.says("Ann<eos>")
        assert answer() == "Ann"
    finally:
        served.live.stop()
