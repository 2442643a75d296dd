"""``rxt train RECIPE --plan``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rxt.cli.main import main
from rxt.cli.plan import in_bytes, in_time

QUICK = ("--set", "joint=null", "--set", "interaction=null", "--set", "memory_aware=null")
"""One stage is enough to look at what is printed."""


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")


def test_a_plan_is_printed_and_written_and_nothing_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "plan.json", tmp_path / "run"
    options = ("--plan", "--tokens", "16", "--gpus", "2", "--json", str(file), "--out", str(out))
    assert main(["train", "smoke", *QUICK, *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("smoke on 2 GPUs of 80 GB")
    (held, work) = (line.split() for line in lines if line.startswith("memory_pretrain"))
    assert held[1:3] == ["4", "4"]
    assert work[1:4] == ["40", "8", "20.5k"]
    assert lines[-1].startswith("fits with --set memory_pretrain.optim.accumulate=2: at most ")
    assert not out.exists()
    values = json.loads(file.read_text())
    assert values["fits"] is True
    (stage,) = values["stages"]
    assert stage["phases"][0]["tokens"] == 40 * 8 * 4 * 16
    assert stage["phases"][0]["held"]["optimiser"] > 2 * stage["phases"][0]["held"]["gradients"]


def test_what_does_not_fit_says_so_in_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "smoke", *QUICK, "--plan", "--gpu-memory", "0.0001"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("does not fit: memory_pretrain needs ")
    assert "shorter interactions" in last


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--gpus", "2"), "for --plan"),
        (("--plan", "--gpus", "0"), "--gpus 0: must be at least 1"),
        (("--plan", "--gpu-memory", "-1"), "--gpu-memory -1.0: must be positive"),
        (("--plan", "--utilisation", "1.5"), "--utilisation 1.5"),
        (("--plan", "--tokens", "65"), "2 to 64 tokens"),
        (("--plan", "--baseline", "history"), "baseline history"),
    ],
)
def test_a_mistake_is_one_line(options: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "smoke", *QUICK, *options]) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mrl", "dmpo", "smollm2"])
def test_what_goes_on_from_a_model_can_be_planned_without_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", name, "--plan", "--tokens", "8"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("fits")


@pytest.mark.slow
def test_the_largest_preset_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "rxt-beta", "--plan", "--gpus", "8", "--gpu-memory", "80"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("rxt-beta on 8 GPUs of 80 GB")
    assert lines[-1].startswith(("fits", "does not fit"))


def test_sizes_and_durations_are_short() -> None:
    assert [in_bytes(size) for size in (12, 3.456e6, 80e9, 123.4e9, 2e12)] == [
        "12 B",
        "3.46 MB",
        "80 GB",
        "123 GB",
        "2 TB",
    ]
    assert [in_time(seconds) for seconds in (3, 600, 7_200, 864_000)] == ["3.0 s", "10.0 min", "2.0 h", "10.0 days"]
