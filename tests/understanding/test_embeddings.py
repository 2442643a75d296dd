"""Embeddings are means over tokens, whatever batch a text stands in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from words import word_tokenizer

import rxt
from factories import tiny_config, tiny_model, tiny_tokenizer
from rxt.errors import UserError

TEXTS = [" ".join(["hello there, Ann"] * (1 + index % 3)) + str(index) for index in range(40)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model(tiny_config()).save_pretrained(tmp_path / "model")
    tiny_tokenizer().save(tmp_path / "model")
    return tmp_path / "model"


def test_a_batch_is_its_texts(folder: Path) -> None:
    model, tokenizer = rxt.ReactiveTransformer.from_pretrained(folder), tiny_tokenizer()
    found = rxt.embed(folder, TEXTS)
    tokens = tokenizer.tokens
    for text, vector in zip(TEXTS, found, strict=True):
        ids = torch.tensor([[tokens.bos, *tokenizer.encode(text), tokens.eos]])
        with torch.no_grad():
            torch.testing.assert_close(vector, model.encode(ids)[-1, 0].mean(0), rtol=0, atol=1e-5)
    assert torch.equal(found, rxt.embed(model, TEXTS, tokenizer))
    assert torch.equal(found, rxt.embed(model.encoder, TEXTS, tokenizer))
    assert rxt.embed(folder, []).shape == (0, 32)


@pytest.mark.parametrize("name", ["encoder", "encoder_beta"])
def test_published_encoders(reference: Path, name: str) -> None:
    encoder = rxt.load_component(reference / name)
    found = rxt.embed(reference / name, ["the dog barked"], word_tokenizer())
    with torch.no_grad():
        expected = encoder(torch.tensor([[1, 7, 8, 10, 2]]))[-1].mean(1)
    torch.testing.assert_close(found, expected)


def test_a_mask_in_a_text_stays_text(folder: Path) -> None:
    """Only fill-mask makes a token of it."""
    first, second = rxt.embed(folder, ["a [MASK]", "a [QUIZ]"])
    assert not torch.equal(first, second)
    tokenizer = tiny_tokenizer()
    assert tokenizer.tokens.mask not in tokenizer.encode("a [MASK]")


def test_mistakes(folder: Path, reference: Path) -> None:
    with pytest.raises(UserError, match="takes a list of texts"):
        rxt.embed(folder, "hello")
    with pytest.raises(UserError, match="does not know its tokenizer"):
        rxt.embed(rxt.ReactiveTransformer.from_pretrained(folder), ["hello"])
    with pytest.raises(UserError, match="the text is empty"):
        rxt.embed(folder, ["hello", " "])
    with pytest.raises(UserError, match=r"the text is too long: \d+ tokens, at most 62 fit"):
        rxt.embed(folder, ["hello " * 80])
    with pytest.raises(UserError, match="holds a MLMHead; an encoder or a whole model is needed here"):
        rxt.embed(reference / "mlm_head", ["the"], word_tokenizer())
