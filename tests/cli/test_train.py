"""``rxt train``: every mistake is one clear line and leaves nothing behind; a run goes on where it stopped."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rxt.cli.main import main
from rxt.training.run_folder import locked

TINY = {
    "model.decoder.max_length": 48,
    "model.encoder.max_length": 48,
    "tokenizer.vocab_size": 400,
    "tokenizer.conversations": 20,
    "joint.steps": 2,
    "joint.batch_size": 2,
    "interaction.steps": 2,
    "interaction.batch_size": 8,
    "memory_pretrain.steps": 2,
    "memory_pretrain.batch_size": 2,
    "memory_aware.phases": '[{"steps": 3, "turns": 2, "batch_size": 2}]',
    "validate_every": 100,
    "validation_batches": 1,
    "checkpoint_every": 1,
    "log_every": 1,
}
GOOD = {
    "interactions": [
        {"query": "my name is Ann", "answer": "Hello Ann!"},
        {"query": "who am I?", "answer": "You are Ann."},
    ]
}


def train(out: Path, *options: str) -> int:
    """The smoke recipe in an even smaller size."""
    settings = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
    return main(["train", "smoke", "--out", str(out), *settings, *options])


def data(path: Path, *rows: object) -> str:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return str(path)


def files(out: Path) -> list[str]:
    return sorted(path.name for path in out.rglob("*") if path.name != ".lock") if out.exists() else []


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[int], str]:
    """The one line of an exit code 2."""

    def line(code: int) -> str:
        out, err = capsys.readouterr()
        assert code == 2, err
        assert out == ""
        assert err.startswith("rxt: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        return err.removeprefix("rxt: ").removesuffix("\n")

    return line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["smok"], "there is no recipe 'smok'; did you mean smoke"),
        (["--steps", "3"], "unrecognized options: --steps"),
        (["--set", "joint.step=3"], "--set joint.step=3: the recipe has no field joint.step"),
        (["--set", "memory_aware.phases.9.steps=3"], "--set memory_aware.phases.9.steps=3: the recipe has no field"),
        (
            ["--set", "memory_attention.gate.longest=3"],
            "--set memory_attention.gate.longest=3: the recipe has no field memory_attention.gate.longest "
            "(did you mean model.memory_attention.gate.longest? rxt train",
        ),
        (["--slots", "4"], "--memory-layers, --slots and --lora-rank go with --base"),
        (["--lora-rank", "0"], "--memory-layers, --slots and --lora-rank go with --base"),
        (["adapt", "--base", "x", "--slots", "0"], "--slots 0: must be at least 1"),
        (["--set", "joint"], "--set joint: write KEY=VALUE"),
        (["--set", "joint.steps=many"], "recipe: joint.steps: input should be a valid integer"),
        (["--set", "joint.steps=1.5"], "recipe: joint.steps: input should be a valid integer"),
        (["--set", "joint.steps=-1"], "recipe: steps cannot be negative, found -1"),
        (["--set", "joint=3"], "recipe: joint: input should be"),
        (["--set", "joint.optim.beta1=1"], "recipe: optim.beta1 must lie in [0, 1), found 1"),
        (["--set", "joint.optim.weight_decay=-1"], "recipe: optim.weight_decay cannot be negative"),
        (["--set", "joint.optim.learning_rate=Infinity"], "recipe: optim.learning_rate must be positive, found inf"),
        (["--set", "memory_aware.phases=[]"], "recipe: memory_aware.phases must be one at least"),
        (["--set", "memory_aware.phases.0.shortest=99"], "recipe: phase.shortest must lie in 1"),
        (
            ["--set", 'memory_aware.phases.0.trains=["head"]'],
            "recipe: memory_aware.phases.0.trains: 'head' names no parameter; names look like decoder.",
        ),
        (["--set", "memory_pretrain.turns=0"], "recipe: memory_pretrain.turns must be at least 1"),
        (["--set", "model.decoder.width=33"], "recipe: decoder.self_attention.heads 4 must divide width 33"),
        (["--patience", "0"], "--patience 0: must lie in (0, 10,000] minutes"),
        (["--seed", "-1"], "recipe: seed must lie in 0"),
        (["--seed", "99999999999999999999"], "recipe: seed must lie in 0"),
        (["--everyday-share", "1.5"], "--everyday-share 1.5: must lie in [0, 1]"),
        (["--everyday-share", "0.5"], "--everyday-share 0.5: name the files for the rest, --data FILE"),
        (["--validation-data", "x.jsonl"], "--validation-data x.jsonl: name the files to train on too"),
        (["--device", "toaster"], "--device toaster: there is no such device here; use cpu"),
        (["--device", "meta"], "--device meta: there is no such device here; use cpu"),
        (["--device", "hpu"], "--device hpu: there is no such device here; use cpu"),
    ],
)
def test_a_wrong_option_is_one_line(
    options: list[str], message: str, tmp_path: Path, refused: Callable[[int], str]
) -> None:
    out = tmp_path / "run"
    argv = (
        ["train", "smoke", "--out", str(out), *options]
        if options[0].startswith("--")
        else ["train", *options, "--out", str(out)]
    )
    assert refused(main(argv)).startswith(message)
    assert files(out) == []


def test_no_compiler_is_one_line(tmp_path: Path, refused: Callable[[int], str]) -> None:
    import torch._inductor.config as inductor

    out = tmp_path / "run"
    with inductor.patch({"cpp.cxx": ("no/such/compiler",)}):
        code = main(["train", "smoke", "--compiled", "--out", str(out)])
    assert refused(code) == (
        "--compiled: no C++ compiler is found; install one (CXX names it), or leave --compiled out"
    )
    assert files(out) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": holds no record"),
        (b"\n \n", ": holds no record"),
        (json.dumps(GOOD).encode() + b"\nhello\n", ":2: not JSON ("),
        (json.dumps(GOOD).encode()[:-20], ":1: not JSON ("),
        (b'{"text": "hello"}\n', ":1: interactions: missing"),
        (b'{"interactions": []}\n', ":1: interactions: the conversation is empty"),
        (b'{"interactions": [{"query": "a"}]}\n', ":1: interactions[0].answer: missing"),
        (
            b'{"interactions": [{"query": "a", "answer": 3}]}\n',
            ":1: interactions[0].answer: must be a string, found a number",
        ),
        (
            json.dumps(GOOD).encode() + b'\n{"interactions": [{"query": "\xff", "answer": "b"}]}\n',
            ":2: not UTF-8 (byte 0xff",
        ),
        (gzip.compress(json.dumps(GOOD).encode() * 50)[:-30], ": the gzip file is cut off or damaged"),
        (json.dumps(GOOD).encode(), "one conversation is too little to train on: add more, or name --validation-data"),
    ],
)
def test_bad_data_is_one_line_and_leaves_nothing(
    content: bytes, message: str, tmp_path: Path, refused: Callable[[int], str]
) -> None:
    path, out = tmp_path / "chat.jsonl", tmp_path / "run"
    path.write_bytes(content)
    found = refused(train(out, "--data", str(path)))
    assert found.startswith(f"{path}{message}" if message.startswith(":") else message)
    assert files(out) == []
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD) + "\n")
    assert train(out, "--data", str(path)) == 0, "the same command works when the data is mended"


def test_missing_data_is_one_line(tmp_path: Path, refused: Callable[[int], str]) -> None:
    out, missing = tmp_path / "run", tmp_path / "none.jsonl"
    assert refused(train(out, "--data", str(missing))) == f"{missing}: no such file"
    assert "is a folder" in refused(train(out, "--data", str(tmp_path)))
    good = data(tmp_path / "good.jsonl", GOOD, GOOD)
    assert refused(train(out, "--data", good, "--validation-data", str(missing))) == f"{missing}: no such file"
    assert files(out) == []


@pytest.mark.parametrize(("option", "least"), [("vocab_size", 262), ("piece_length", 2)])
def test_too_small_a_tokenizer_leaves_nothing(
    option: str, least: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", "--set", f"tokenizer.{option}=1") == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith(f"rxt: tokenizer: {option} must be at least {least}")
    assert files(tmp_path / "run") == []


def test_a_part_that_the_template_lacks_is_one_line(
    tmp_path: Path, refused: Callable[[int], str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    turn = {"query": "my name is Ann", "answer": "b", "think": "c"}
    path = data(tmp_path / "thinking.jsonl", *[{"interactions": [turn]}] * 3)
    assert train(out, "--data", path) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith(
        "rxt: the conversation that begins 'my name is Ann': the alpha template has no thinking part"
    )
    assert files(out) == []


def test_warnings_are_counted_and_one_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = {"interactions": [{"query": "why? " * 60, "answer": "So."}, {"query": "and?", "answer": "because " * 60}]}
    single = {"interactions": GOOD["interactions"][:1]}
    path = data(tmp_path / "a[b].jsonl", GOOD, long, "nonsense", single, single, "{}")
    assert train(tmp_path / "run", "--data", path, "--skip-bad-records") == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert warnings[0].startswith(f"warning: {path}: 2 bad records skipped, the first: {path}:3: not JSON")
    single_turn, too_long = warnings[1:]
    assert single_turn == "warning: 2 training conversations have a single turn: they teach answering, not remembering"
    assert too_long.startswith(
        "warning: 2 of 6 interactions are longer than 48 tokens and are split into several turns"
    )
    assert re.search(r"--set model\.decoder\.max_length=\d+ --set model\.encoder\.max_length=\d+ makes room", too_long)


def test_one_conversation_beside_validation_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = data(tmp_path / "one.jsonl", GOOD)
    assert train(tmp_path / "run", "--data", path, "--validation-data", path, "--everyday-share", "0") == 0
    assert (tmp_path / "run" / "model" / "config.json").exists()


def test_data_that_changed_under_a_run_is_refused(
    tmp_path: Path,
    refused: Callable[[int], str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, out = data(tmp_path / "chats.jsonl", GOOD, GOOD), tmp_path / "run"
    options = ("--data", path, "--validation-data", path, "--everyday-share", "0")
    assert train(out, *options) == 0
    before = (tmp_path / "chats.jsonl").read_text()
    with open(path, "a") as file:
        file.write(before.splitlines()[0] + "\n")
    capsys.readouterr()
    assert refused(train(out, *options)) == (
        f"{path}: has changed since the run in {out} began; bring it back as it was, or choose another --out"
    )
    (tmp_path / "chats.jsonl").write_text("\n" + before)  # a blank line is no record
    monkeypatch.delattr("rxt.training.corpus.Corpus.lengths")  # nothing is tokenized again
    assert train(out, *options) == 0


def test_a_folder_that_is_taken(
    tmp_path: Path, refused: Callable[[int], str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    assert (
        refused(train(out))
        == f"{out}: the folder is not empty (it holds thesis.tex) and holds no run; choose another --out"
    )
    (out / "thesis.tex").unlink()
    assert train(out) == 0
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert refused(train(out, "--seed", "5")).startswith(
        f"{out}: holds another run: seed was 0, now 5; choose another --out"
    )
    message = refused(train(out, "--set", "memory_aware.optim.learning_rate=0.5"))
    assert "holds another run: memory_aware.optim.learning_rate was 0.003, now 0.5" in message
    (out / "run.json").write_text("{")
    assert refused(train(out)).startswith(f"{out / 'run.json'}: not JSON (")
    (out / "run.json").write_bytes(b"\xff")
    assert refused(train(out)).startswith(f"{out / 'run.json'}: not JSON (")
    after = {
        path: path.stat().st_mtime_ns
        for path in out.rglob("*")
        if path.is_file() and path.name not in ("run.json", ".lock")
    }
    assert after == {path: time for path, time in before.items() if path in after}


def test_a_folder_that_cannot_be_made(
    tmp_path: Path, refused: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    assert refused(train(tmp_path / "file")) == f"{tmp_path / 'file'}: the folder cannot be made (File exists)"
    assert (
        refused(train(tmp_path / "file" / "run"))
        == f"{tmp_path / 'file' / 'run'}: the folder cannot be made (Not a directory)"
    )
    assert "the folder cannot be made (" in refused(train(Path("/proc/run")))
    monkeypatch.setattr(
        "os.open", lambda *_, **__: (_ for _ in ()).throw(PermissionError(errno.EACCES, "Permission denied"))
    )
    locked_out = refused(train(tmp_path / "run"))
    assert (
        locked_out == f"{tmp_path / 'run'}: the folder cannot be written to (Permission denied); choose another --out"
    )


def test_a_second_process_is_refused(tmp_path: Path, refused: Callable[[int], str]) -> None:
    out = tmp_path / "run"
    with locked(out):
        assert refused(train(out)) == f"{out}: another process is training there; wait for it or choose another --out"
    assert files(out) == []


@pytest.mark.parametrize("call", [3, 9])
def test_a_full_disk_stops_and_the_run_goes_on_later(
    call: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, original = tmp_path / "run", os.fsync
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls >= call:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    assert train(out) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith(f"rxt: {out}")
    assert "No space left on device" in last
    assert not [name for name in files(out) if name.endswith(".tmp")]
    monkeypatch.setattr(os, "fsync", original)
    assert train(out) == 0


def test_what_cannot_be_used_outside_of_the_run_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, elsewhere = tmp_path / "run", tmp_path / "base" / "model.safetensors"

    def gone(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error", str(elsewhere))

    monkeypatch.setattr("rxt.training.pipeline.reactive_work", gone)
    assert train(out) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith(f"rxt: {elsewhere}: Input/output error; ")


def test_a_log_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("rxt.training.metrics.MetricsLog.write", full)
    assert train(tmp_path / "run") == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last == (
        f"rxt: {tmp_path / 'run'}: the disk is full; "
        "what was checkpointed is whole, and the same command goes on from there"
    )


def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = [
        word
        for name, value in {**TINY, "memory_aware.phases.0.steps": 5000}.items()
        for word in ("--set", f"{name}={value}")
    ]
    command = [sys.executable, "-m", "rxt", "train", "smoke", "--out", str(out), *settings]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stderr is not None
    line = "begins"
    while not line.startswith("3-memory-pretrain"):
        line = process.stderr.readline()
        assert line, "it ended too early"
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate()
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    *_, last = rest.splitlines()
    found = re.fullmatch(r"(.*)  stopped and saved after step (\d+); the same command goes on from there", last)
    assert found
    assert (out / found[1] / f"step-{int(found[2]):06d}" / "state.json").exists()


def test_show_json_prints_the_resolved_recipe_and_trains_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", "--seed", "3", "--data", "mine.jsonl", "--show-json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["seed"] == 3
    generated, files = shown["data"].pop("conversations")
    assert generated.pop("settings")["novelty"] == 1.0
    assert generated == {"name": "everyday", "weight": 0.5, "kind": "task"}
    assert files == {"files": ["mine.jsonl"], "validation_files": [], "weight": 0.5, "kind": "files"}
    assert shown["data"] == {"interactions": [], "text": [], "preferences": [], "on_bad": "stop", "long": "split"}
    assert {stage["kind"]: stage for stage in shown["stages"]}["joint"]["steps"] == 2
    assert not (tmp_path / "run").exists()


def test_the_smoke_recipe_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert train(out) == 0
    text, progress = capsys.readouterr()
    assert text == ""
    *stages, last = [line.split("  ")[0] for line in progress.splitlines()]
    assert stages == ["0-tokenizer", "1-joint", "2-interaction", "3-memory-pretrain", "4-memory-aware"]
    assert last == f"The model is in {out / 'model'}: talk to it with"
    assert main(["info", str(out / "model")]) == 0
    metrics = [json.loads(line) for line in (out / "4-memory-aware" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics if line["split"] == "train"] == [1, 2, 3]
    assert {"loss", "answer", "accuracy"} <= set(metrics[-1])
    from rxt.pretrained import load_chat

    chat = load_chat(out / "model")
    chat.ask("hello")
    assert chat.turns == 1


@pytest.mark.parametrize("kind", ["history", "no-memory", "recurrent"])
def test_a_baseline_is_trained_by_the_same_loop_and_measured(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    longer = ["--set", "model.decoder.max_length=128", "--set", "model.encoder.max_length=128"]  # every question fits
    assert train(out, *longer, "--baseline", kind) == 0
    assert "measure it with rxt eval retention" in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in sorted(out.glob("[0-9]-*"))] == ["1-joint", "2-interaction", "4-memory-aware"]
    assert json.loads((out / "model" / "config.json").read_text())["baseline"] == kind
    assert json.loads((out / "model" / "config.json").read_text())["trained_turns"] == 2
    assert train(out, *longer) == 2, "another run is in this folder"
    assert f"baseline was '{kind}'" in capsys.readouterr().err
    numbers = tmp_path / "numbers.json"
    asked = ["--distances", "1", "--questions", "2", "--facts", "none", "--json", str(numbers)]
    assert main(["eval", "retention", str(out / "model"), *asked]) == 0
    assert json.loads(numbers.read_text())["trained_turns"] == 2


def test_every_kind_of_stage_has_data_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "story.txt"
    text.write_text("Once there was a cat who lived in a lighthouse by the sea. " * 80)
    single = data(tmp_path / "single.jsonl", *[{"query": f"what is {n}?", "answer": f"it is {n}."} for n in range(60)])
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    chats = data(tmp_path / "chats.jsonl", *[{"messages": said * 2}] * 3)
    out = tmp_path / "run"
    own = ["--text", str(text), "--interactions", single, "--conversations", chats]
    assert train(out, *own) == 0, capsys.readouterr().err
    shown = json.loads((out / "run.json").read_text())["data"]
    assert [shown[kind][-1]["files"] for kind in ("text", "interactions", "conversations")] == [
        [str(text)],
        [single],
        [chats],
    ]
    assert (out / "model" / "config.json").exists()
    capsys.readouterr()
    bad = data(tmp_path / "bad.jsonl", {"query": "a", "answer": "b"}, {"query": "a"})
    assert train(tmp_path / "other", "--interactions", bad) == 2
    assert capsys.readouterr().err == f"rxt: {bad}:2: answer: missing\n"
    assert train(tmp_path / "other", "--text", str(tmp_path / "none.txt")) == 2
    assert capsys.readouterr().err == f"rxt: {tmp_path / 'none.txt'}: no such file\n"
