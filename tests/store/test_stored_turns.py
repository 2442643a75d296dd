"""Turns keep their checksums over versions."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from hashlib import sha256

from rxt.store.records import Call, Turn

LATER = {
    "status",
    "lead",
    "role",
    "name",
    "mode",
    "internal",
    "think",
    "thinking_tokens",
    "call",
    "result_of",
    "chosen",
    "knowledge",
    "user",
    "follows",
}


def test_a_turn_of_before_a_field_keeps_its_checksum() -> None:
    turn = Turn("resp_1", "me", 1.5, "f", query="hello", answer="hi", prompt=(1, 3, 4), said=(5, 2))
    before = {name: value for name, value in asdict(turn).items() if name not in LATER}
    assert turn.digest() == sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()[:32]
    changed = [
        replace(turn, lead=((1, 2),)),
        replace(turn, role="system"),
        replace(turn, name="0"),
        replace(turn, mode="auto"),
        replace(turn, internal="tools"),
        replace(turn, think="so"),
        replace(turn, thinking_tokens=1),
        replace(turn, call=Call("call_1", "add", "{}")),
        replace(turn, call=Call("call_1", "add", "{}", "wrong")),
        replace(turn, role="tool", result_of="call_1"),
        replace(turn, chosen=(2, 0)),
        replace(turn, knowledge="k"),
    ]
    assert len({one.digest() for one in (turn, *changed)}) == 13, "what such a field says is part of it"
    read = Turn.from_json(json.dumps({name: value for name, value in asdict(turn).items() if name not in LATER}))
    assert read == turn
    assert [Turn.from_json(one.to_json()) for one in changed] == changed
