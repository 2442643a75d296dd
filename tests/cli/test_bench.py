"""``rxt bench``: what is told, the JSON that is written, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rxt.cli.main import main

QUICK = ["--repeats", "2", "--warm-up", "0", "--threads", "1"]


@pytest.fixture(autouse=True)
def _small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits are measured with small matrices: here they only have to be there."""
    torch.set_num_threads(1)
    monkeypatch.setattr("rxt.bench.machine.PRODUCT", 32)
    monkeypatch.setattr("rxt.bench.machine.LARGE", (64, 32))


def bench(argv: list[str], out: Path) -> dict[str, float]:
    assert main(["bench", *argv, *QUICK, "--json", str(out)]) == 0
    return json.loads(out.read_text())


def check_limits(limits: object) -> None:
    assert isinstance(limits, dict)
    assert set(limits) == {"matmul_gflops", "matvec_gbps", "read_gbps"}
    assert all(value > 0 for value in limits.values())


def test_decode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = bench(
        ["decode", "--preset", "smoke", "--batch", "3", "--prompt-tokens", "4", "--new-tokens", "5"],
        tmp_path / "x.json",
    )
    told, errors = capsys.readouterr()
    assert errors == ""
    for words in ("steps/s", "tokens/s", "first token", "very first call", "matrix–vector", "MB read", "threads 1"):
        assert words in told
    settings = {
        "model": "smoke",
        "device": "cpu",
        "threads": 1,
        "dtype": "float32",
        "batch_size": 3,
        "prompt_tokens": 4,
        "new_tokens": 5,
    }
    assert {name: found[name] for name in settings} == settings
    assert found["tokens_per_second"] == pytest.approx(15 / found["answer"]["median"])  # type: ignore[index]
    assert 0 < found["first_token"]["median"] < found["answer"]["median"]  # type: ignore[index]
    assert found["share"] == pytest.approx(found["steps_per_second"] / found["bound_steps_per_second"])
    assert found["first_use_seconds"] > 0
    check_limits(found["limits"])


def test_memorize(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = bench(
        ["memorize", "--preset", "smoke", "--batch", "2", "--tokens", "9", "--dtype", "float64"], tmp_path / "x.json"
    )
    assert "memory update" in capsys.readouterr().out
    assert found["seconds"] == found["update"]["median"] > 0  # type: ignore[index]
    assert (found["dtype"], found["batch_size"], found["tokens"]) == ("float64", 2, 9)
    assert found["share"] == pytest.approx(found["bound_seconds"] / found["seconds"])
    check_limits(found["limits"])


@pytest.mark.parametrize("extra", [[], ["--checkpointing"]])
def test_train(extra: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["train", "--preset", "smoke", "--batch", "2", "--turns", "3", "--tokens", "8", *extra]
    found = bench(argv, tmp_path / "x.json")
    told = capsys.readouterr().out
    for words in ("joint step", "memory-aware step", "memory peak", "MFLOP a token"):
        assert words in told
    joint, aware = found["joint"], found["memory_aware"]
    assert isinstance(joint, dict)
    assert isinstance(aware, dict)
    assert (joint["tokens"], aware["tokens"]) == (16, 48)
    assert found["joint_tokens_per_second"] == joint["tokens_per_second"] == pytest.approx(16 / joint["step"]["median"])
    assert found["memory_aware_tokens_per_second"] == aware["tokens_per_second"]
    assert aware["peak_bytes"] is None or aware["peak_bytes"] > 2**20
    check_limits(found["limits"])
    best = 1e9 * found["limits"]["matmul_gflops"]  # type: ignore[index]
    assert "model FLOPs utilisation" in told
    assert joint["utilisation"] == pytest.approx(joint["flops"] / joint["step"]["median"] / best)


def test_utilisation_is_a_share_of_what_is_stated(tmp_path: Path) -> None:
    argv = ["train", "--preset", "smoke", "--batch", "1", "--turns", "2", "--tokens", "8", "--flops-per-gpu", "1e12"]
    aware = bench(argv, tmp_path / "x.json")["memory_aware"]
    assert isinstance(aware, dict)
    assert aware["utilisation"] == pytest.approx(aware["flops"] / aware["step"]["median"] / 1e12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_used(tmp_path: Path) -> None:
    argv = ["train", "--preset", "rxt-alpha-nano", "--batch", "8", "--turns", "4", "--tokens", "256"]
    for options in ([], ["--compiled"]):
        found = bench([*argv, "--device", "cuda", *options], tmp_path / "x.json")
        for kind in ("joint", "memory_aware"):
            step = found[kind]
            assert isinstance(step, dict)
            assert 0 < step["utilisation"] < 1


def test_a_model_folder_is_timed(folder: Path, tmp_path: Path) -> None:
    assert bench(["decode", str(folder), "--new-tokens", "2", "--prompt-tokens", "1"], tmp_path / "x.json")[
        "model"
    ] == str(folder)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 0
    assert "decode|memorize|train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["fly"], "there is no bench 'fly': there are decode, memorize and train"),
        (["decode", "--batch", "0"], "--batch 0: must be at least 1"),
        (["train", "--repeats", "0"], "--repeats 0: must be at least 1"),
        (["train", "--turns", "0"], "--turns 0: must be at least 1"),
        (["train", "--flops-per-gpu", "0"], "--flops-per-gpu 0: must be positive"),
        (["decode", "--preset", "smoke", "--new-tokens", "1"], "--new-tokens 1: must be at least 2"),
        (
            ["decode", "--preset", "smoke", "--new-tokens", "40"],
            "--prompt-tokens and --new-tokens: 72 tokens do not fit",
        ),
        (
            ["memorize", "--preset", "smoke", "--tokens", "65"],
            "--tokens: 65 tokens do not fit, an interaction of this model has at most 64",
        ),
        (["memorize", "--preset", "smoke", "--tokens", "0"], "--tokens: at least one token is read, found 0"),
        (["memorize", "nowhere", "--preset", "smoke"], "a model (nowhere) or a preset (smoke), not both"),
        (["memorize", "--json", "no/such/x.json"], "no/such/x.json: there is no folder no/such"),
        (["memorize", "--preset", "smoek"], "there is no preset 'smoek'"),
    ],
)
def test_a_mistake_is_one_line(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *argv]) == 2
    told, errors = capsys.readouterr()
    assert told == ""
    assert errors.count("\n") == 1
    assert errors.startswith(f"rxt: {message}")
