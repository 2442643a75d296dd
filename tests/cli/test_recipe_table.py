"""``rxt train RECIPE --show``."""

from __future__ import annotations

from pathlib import Path

import pytest

from rxt.cli.main import main


def shown(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    """The printed lines."""
    assert main(["train", "smoke", *options, "--show"]) == 0
    return capsys.readouterr().out.splitlines()


def row(lines: list[str], name: str) -> list[str]:
    """The words of the line that begins with a name."""
    (found,) = [line.split() for line in lines if line.split()[:1] == [name]]
    return found


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")


def test_each_stage_and_phase_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "--set", "joint.steps=1234", "--set", "joint.decoder_weight=0.5")
    assert row(lines, "tokenizer")[-2:] == ["byte-level", "BPE"]
    assert row(lines, "joint")[1:7] == ["1,234", "8", "–", "plain", "text", "decoder,"]
    assert row(lines, "joint")[-3:] == ["0.5·L_AR", "+", "1·L_MLM"]
    assert row(lines, "memory_pretrain")[1:5] == ["40", "8", "4", "conversations"]
    phases = [line.split() for line in lines if line.startswith("  phases.")]
    assert [line[:4] for line in phases] == [
        ["phases.0", "20", "16", "2"],
        ["phases.1", "20", "16", "2"],
        ["phases.2", "60", "16", "4"],
    ]
    assert phases[0][-1] == "decoder"
    assert phases[2][-1] == "all"


def test_data_seed_and_options_are_shown_and_nothing_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--data", "chats[1].jsonl", "--seed", "3", "--baseline", "history", "--out", str(tmp_path / "run"))
    lines = shown(capsys, *options)
    assert row(lines, "seed") == ["seed", "3"]
    assert "chats[1].jsonl" in "\n".join(lines), "brackets are no markup"
    assert row(lines, "baseline")[1] == "history,"
    assert not (tmp_path / "run").exists()


def test_patterns_of_parameters_stand_as_they_were_given(capsys: pytest.CaptureFixture[str]) -> None:
    phases = '[{"steps": 5, "turns": 3, "batch_size": 2, "trains": ["encoder.*[01].*"], "echo": true}]'
    found = row(shown(capsys, "--set", f"memory_aware.phases={phases}"), "memory_aware")
    assert found[1:4] == ["5", "2", "–"]
    assert "encoder.*[01].*" in found


def test_80_columns_cut_no_word(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = shown(capsys)
    assert max(map(len, lines)) <= 80
    words = {word for line in lines for word in line.split()}
    assert {"conversations", "attention", "cross-entropy,", "memory_pretrain"} <= words
