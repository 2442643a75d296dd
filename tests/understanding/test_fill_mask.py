"""Hidden words are what encoder and MLM head compute together; mistakes are one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from words import SPECIAL, WORDS, word_tokenizer

import rxt
from factories import draw_matrices, tiny_config, tiny_model, tiny_tokenizer
from rxt.cli.main import main
from rxt.errors import UserError
from rxt.model.encoder import Encoder
from rxt.model.heads import MLMHead

WHOLE = ("alpha_legacy_moe", "alpha_vectorized_moe", "beta")


def head_of(reference: Path) -> MLMHead:
    head = rxt.load_component(reference / "mlm_head")
    assert isinstance(head, MLMHead)
    return head


def encoder_of(folder: Path) -> Encoder:
    encoder = rxt.load_component(folder)
    assert isinstance(encoder, Encoder)
    return encoder


@pytest.fixture
def model(reference: Path, tmp_path: Path) -> Path:
    """The reference encoder with its tokenizer, and the reference MLM head inside."""
    folder = tmp_path / "encoder"
    for source, target in ((reference / "encoder", folder), (reference / "mlm_head", folder / "mlm_head")):
        target.mkdir()
        for name in ("config.json", "model.safetensors"):
            shutil.copy(source / name, target)
    word_tokenizer().save(folder)
    return folder


@pytest.mark.parametrize("name", ["encoder", "encoder_beta"])
def test_reference_encoders(reference: Path, name: str) -> None:
    expected, head = load_file(reference / name / "expected.safetensors"), head_of(reference)
    found = rxt.FillMask(encoder_of(reference / name), head).logits(expected["ids"], expected["mask"])
    with torch.no_grad():
        logits = head(expected["encoded"][-1])
    assert logits.abs().max() > 0.1
    torch.testing.assert_close(found, logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", WHOLE)
def test_encoders_of_reference_models(reference: Path, name: str) -> None:
    expected = load_file(reference / name / "expected.safetensors")
    encoder = rxt.ReactiveTransformer.from_pretrained(reference / name).encoder
    head = MLMHead(encoder.config.width, encoder.config.vocab_size)
    draw_matrices(head, 0.5)
    found = rxt.FillMask(encoder, head).logits(expected["batch.ids"], expected["batch.mask"])
    with torch.no_grad():
        logits = head(expected["batch.encoded"][-1])
    torch.testing.assert_close(found, logits, rtol=0, atol=1e-3)
    assert logits.abs().max() > 1


def test_guesses_are_the_best_of_the_softmax(reference: Path, model: Path) -> None:
    ids = [1, *((*SPECIAL, *WORDS).index(word) for word in ("the", "[MASK]", "barked", ".")), 2]
    encoder, head = encoder_of(reference / "encoder"), head_of(reference)
    with torch.no_grad():
        chances = head(encoder(torch.tensor([ids]))[-1][0, 2]).softmax(-1)
    found = rxt.FillMask.from_pretrained(model)("the [MASK] barked.", top_k=48)[0]
    tokenizer = word_tokenizer()
    best = sorted(range(48), key=lambda token: -float(chances[token]))
    assert [guess.token for guess in found] == [tokenizer.piece(token) for token in best]
    assert [guess.probability for guess in found] == pytest.approx([float(chances[token]) for token in best], rel=1e-4)
    assert sum(guess.probability for guess in found) == pytest.approx(1)


def test_several_masks_and_the_command(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "words.json"
    two = rxt.FillMask.from_pretrained(model)("[MASK] dog [MASK]", 3)
    assert main(["fill-mask", str(model), "[MASK] dog [MASK]", "--top-k", "3", "--json", str(out)]) == 0
    assert json.loads(out.read_text()) == [[vars(guess) for guess in guesses] for guesses in two]
    assert main(["fill-mask", str(model), "the [MASK].", "--top-k", "1", "--json", str(out)]) == 0
    one = rxt.FillMask.from_pretrained(model)("the [MASK].", 1)[0][0]
    assert json.loads(out.read_text()) == [vars(one)]
    assert capsys.readouterr().out.endswith(f"{one.probability:.4f}  {one.token}\n")


def test_parts_from_elsewhere(reference: Path, model: Path, tmp_path: Path) -> None:
    options = ["--mlm-head", str(reference / "mlm_head"), "--tokenizer", str(model), "--json", str(tmp_path / "a")]
    assert main(["fill-mask", str(reference / "encoder"), "the [MASK]", *options]) == 0
    assert main(["fill-mask", str(model), "the [MASK]", "--json", str(tmp_path / "b")]) == 0
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("hello [MASK] how are you", ("hello", " how are you")),
        ("[MASK] there", ("", " there")),
        ("my name is [MASK]", ("my name is", "")),
        ("un[MASK]able", ("un", "able")),
        ("hello[MASK], how", ("hello", ", how")),
    ],
)
def test_what_stands_around_a_mask_is_tokenized_as_without_it(text: str, ends: tuple[str, str]) -> None:
    tokenizer = tiny_tokenizer()
    found = tokenizer.encode_around(text, "[MASK]", tokenizer.mask)
    assert found == [*tokenizer.encode(ends[0]), tokenizer.mask, *tokenizer.encode(ends[1])]


@pytest.mark.parametrize("case_marks", [False, True])
def test_a_prefix_stands_before_the_text_alone(case_marks: bool, tmp_path: Path) -> None:
    """The pieces after a mask are those that the whole text would have there."""
    texts = ["hello there Ann, how are you", "My name is Ann and I live in Graz"] * 3
    tokenizer = rxt.ChatTokenizer.train(texts, 330, case_marks=case_marks)
    if not case_marks:  # one that puts a space before every text
        path = tokenizer.save(tmp_path / "tokenizer.json")
        path.write_text(path.read_text().replace('"add_prefix_space": false', '"add_prefix_space": true'))
        tokenizer = rxt.ChatTokenizer.load(path)
    for hidden, text in (("Ann", "hello there Ann, how"), ("is", "My name is Ann"), ("live", "I live In Graz")):
        whole, piece = tokenizer.encode(text), tokenizer.encode(hidden)
        at = next(at for at in range(len(whole)) if whole[at : at + len(piece)] == piece)
        masked = tokenizer.encode_around(text.replace(hidden, "[MASK]", 1), "[MASK]", tokenizer.mask)
        assert masked == [*whole[:at], tokenizer.mask, *whole[at + len(piece) :]]


def test_memory_cross_attention_is_left_out() -> None:
    config = tiny_config()
    plain = tiny_model(config).encoder
    assert isinstance(plain, Encoder)
    with_memory = replace(config.encoder, cross_attention=config.decoder.cross_attention)
    reading = tiny_model(replace(config, encoder=with_memory)).encoder
    reading.load_state_dict(plain.state_dict(), strict=False)
    head, ids = MLMHead(32, 320), torch.randint(320, (2, 7))
    assert reading.reads_memory
    torch.testing.assert_close(rxt.FillMask(reading, head).logits(ids), rxt.FillMask(plain, head).logits(ids))


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line of a command that fails with exit code 2."""

    def line(*argv: object) -> str:
        assert main([str(word) for word in argv]) == 2
        out, err = capsys.readouterr()
        assert (out, err[:5], err.count("\n")) == ("", "rxt: ", 1)
        return err[5:-1]

    return line


def test_mistakes_are_one_line(reference: Path, model: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    ask = ("fill-mask", model)
    assert refused(*ask, "the dog") == "the text has no [MASK]; write it where a word is to be guessed"
    assert refused(*ask, "the [MASK] " * 20).startswith("the text is too long: 40 tokens, at most 22 fit")
    assert refused(*ask, "the [MASK]", "--top-k", 0) == "--top-k 0: must be at least 1"
    assert "there is no folder" in refused(*ask, "the [MASK]", "--json", tmp_path / "none" / "x.json")
    assert refused(*ask, "a [MASK]", "--mlm-head", reference / "encoder").endswith("holds a Encoder, not an MLM head")
    assert "no such folder" in refused(*ask, "a [MASK]", "--mlm-head", tmp_path / "none")
    (model / "tokenizer.json").unlink()
    assert "tokenizer.json: cannot be read" in refused(*ask, "a [MASK]")
    shutil.rmtree(model / "mlm_head")
    assert refused(*ask, "a [MASK]").startswith(f"{model}: has no MLM head, which guesses the words")
    parts = ("--mlm-head", reference / "mlm_head", "--tokenizer", tmp_path)
    assert "holds a MemoryAttention" in refused("fill-mask", reference / "memory_self", "a [MASK]", *parts)


def test_parts_that_do_not_fit(reference: Path) -> None:
    encoder = encoder_of(reference / "encoder")
    with pytest.raises(UserError, match="the MLM head is for width 16 and a vocabulary of 48, the encoder"):
        rxt.FillMask(encoder, MLMHead(16, 48))
    with pytest.raises(UserError, match="its vocabulary has 60 tokens, the encoder's embedding only 48"):
        rxt.FillMask(encoder, head_of(reference), word_tokenizer(60))
    with pytest.raises(UserError, match="needs a tokenizer"):
        rxt.FillMask(encoder, head_of(reference))("the [MASK]")
