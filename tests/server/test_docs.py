"""The examples of docs/serving.md do what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from live import Live

TEXT = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_examples_in_python(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"URL": live.url}
    code = blocks("python")
    assert len(code) == 4
    for block in code:
        exec(block, names)
    said = capsys.readouterr().out
    assert said.count("Rex") >= 2
    assert "user What is my name?" in said
    assert "remembered turn 3" in said


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_the_examples_with_curl(live: Live, tmp_path: Path) -> None:
    client = live.client()
    conversation = client.conversations.create().id
    client.responses.create(model="rxt", input="My dog is called Rex.", conversation=conversation)
    commands = [line for block in blocks("sh") for line in block.strip().splitlines()]
    assert len(commands) == 6
    for command in commands:
        done = subprocess.run(
            command.replace("curl -s", "curl -sf"),
            shell=True,
            env={"URL": live.url, "CONVERSATION": conversation, "PATH": "/usr/bin:/bin"},
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, command
    assert (
        "Rex"
        in client.responses.create(model="rxt", input="What is my dog called?", conversation=conversation).output_text
    )
