"""Talking with a model in a folder of the published layout, whose tokenizer is of another make."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from factories import chat_model
from rxt.config import SpecialTokens
from rxt.data.tokenizer import TOKEN_TEXTS, ChatTokenizer
from rxt.errors import UserError
from rxt.generation.conversation import Answered, Token
from rxt.generation.text_stream import TextStream
from rxt.pretrained import load_chat, load_model

TEXTS = ["hello there 🙂 naïve Žižek 中文 中文", " my name is Ann and I live in Graz", "Graz is nice, Ann is nice"] * 3
ALPHA, BETA = ("pad", "bos", "eos", "query", "answer"), tuple(name for name in TOKEN_TEXTS if name != "mask")
STEADY = settings(deadline=None, derandomize=True, database=None)


def published_tokenizer(names: tuple[str, ...] = BETA, space: bool = True, decoder: bool = False) -> Tokenizer:
    """Byte-level BPE as others train it: a space before every text, special tokens last, a frame around every text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    if decoder:
        tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.add_special_tokens([TOKEN_TEXTS[name] for name in reversed(names)])
    ends = [(text, tokenizer.token_to_id(text)) for text in ("[BOS]", "[EOS]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[BOS] $A [EOS]", special_tokens=ends)
    tokenizer.enable_padding(length=64)
    tokenizer.enable_truncation(32)
    return tokenizer


def ids_of(tokenizer: Tokenizer) -> SpecialTokens:
    found = {name: tokenizer.token_to_id(text) for name, text in TOKEN_TEXTS.items()}
    return SpecialTokens(**{name: token for name, token in found.items() if token is not None})


def published(folder: Path, names: tuple[str, ...] = BETA, vocab_size: int = 320) -> Path:
    """A whole model in the published layout with its tokenizer."""
    tokenizer = published_tokenizer(names)
    chat_model(vocab_size=vocab_size, tokens=ids_of(tokenizer)).save_pretrained(folder, layout="published")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def change(path: Path, values: dict[str, Any]) -> None:
    found = json.loads(path.read_text())
    found["tokenizer_config"] |= values
    path.write_text(json.dumps(found))


@pytest.mark.parametrize(("names", "template"), [(ALPHA, "alpha"), (BETA, "beta")])
def test_a_chat_has_the_ids_and_the_template_of_the_checkpoint(
    tmp_path: Path, names: tuple[str, ...], template: str
) -> None:
    chat = load_chat(published(tmp_path, names), max_new_tokens=12)
    tokens = chat.tokenizer.tokens
    assert chat.template.name == chat.model.config.template == template
    assert tokens == chat.model.config.tokens == ids_of(published_tokenizer(names))
    assert min(chat.tokenizer.special_ids) > 280
    prompt = chat.template.prompt("who is Ann? [A]")
    assert (prompt[0], prompt[1], prompt[-1]) == (tokens.bos, tokens.query, tokens.answer)
    assert chat.tokenizer.special_ids.isdisjoint(prompt[2:-1])
    *said, answered, _ = chat.stream("who is Ann?")
    assert isinstance(answered, Answered)
    assert "".join(token.text for token in said if isinstance(token, Token)) == answered.text
    assert not any(sign in answered.text for sign in ("Ġ", "Ċ", *TOKEN_TEXTS.values()))
    assert chat.turns == 1


def test_a_beta_chat_has_a_system_prompt(tmp_path: Path) -> None:
    chat, plain = load_chat(published(tmp_path), system="be brief"), load_chat(tmp_path)
    assert chat.turns == 0
    assert not chat.memory.slots.equal(plain.memory.slots)


TOKENIZERS = {
    f"space={space}, decoder={decoder}": (space, decoder) for space in (True, False) for decoder in (True, False)
}


@pytest.fixture(scope="module", params=TOKENIZERS.values(), ids=list(TOKENIZERS))
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    theirs = published_tokenizer(BETA, *request.param)
    theirs.save(str(path))
    return ChatTokenizer.load(path, ids_of(theirs))


@STEADY
@given(
    text=st.text()
    | st.lists(st.sampled_from([" ", "  ", "\n", "Ann", " is", "Ġ", "é", "👨‍👩‍👧", "[A]", "中文"])).map("".join)
)
@example(text="")
@example(text=" ")
@example(text="  hello there")
def test_any_text_comes_back_at_once_and_while_it_streams(tokenizer: ChatTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.special_ids.isdisjoint(ids)
    assert tokenizer.decode(ids) == text
    stream, tokens = TextStream(tokenizer), tokenizer.tokens
    assert tokens.answer is not None
    pieces = [*(stream.push(token) for token in (tokens.answer, *ids, tokens.eos)), stream.finish()]
    assert "".join(pieces) == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


@STEADY
@given(ids=st.lists(st.integers(0, 298), max_size=20))
def test_any_ids_join_to_their_decoding(tokenizer: ChatTokenizer, ids: list[int]) -> None:
    stream = TextStream(tokenizer)
    assert "".join([*map(stream.push, ids), stream.finish()]) == tokenizer.decode(ids)


def test_a_text_is_encoded_as_the_model_has_learned_it(tmp_path: Path) -> None:
    """Theirs puts a space before every text, and so do we; where the text opens with one, both stay, so that both come
    back."""
    theirs = published_tokenizer()
    theirs.save(str(tmp_path / "tokenizer.json"))
    theirs.no_padding()
    ours = ChatTokenizer.load(tmp_path, ids_of(theirs))
    assert ours.encode("Ann is nice") == theirs.encode("Ann is nice", add_special_tokens=False).ids
    assert len(ours.encode(" Ann")) == len(ours.encode("Ann")) + 1


def test_saved_again_it_is_the_same_tokenizer(tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    again = ChatTokenizer.load(tokenizer.save(tmp_path), tokenizer.tokens)
    for text in ("Ann is nice", "  中文 "):
        assert again.encode(text) == tokenizer.encode(text)
        assert again.decode(tokenizer.encode(text)) == text
    assert again.save(tmp_path / "more").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()


def test_a_vocabulary_larger_than_the_embedding_is_refused_with_both_numbers(tmp_path: Path) -> None:
    published(tmp_path, ALPHA)
    size = ChatTokenizer.load(tmp_path).vocab_size
    larger = published_tokenizer(ALPHA)
    larger.add_tokens([f"word{index}" for index in range(40)])
    larger.save(str(tmp_path / "tokenizer.json"))
    message = rf"tokenizer\.json: its vocabulary has {size + 40} tokens, the model's embedding only 320"
    with pytest.raises(UserError, match=message):
        load_chat(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"query_token_id": 7}, r"tokenizer\.json: \[Q\] has the id 29\d, but the configuration's tokens.query is 7"),
        ({"eos_token_id": 319}, r"tokenizer\.json: \[EOS\] has the id 29\d, but the configuration's tokens.eos is 319"),
        ({"eos_token_id": 320}, r"config\.json: tokens.eos 320 is outside the vocabulary of 320"),
        (
            {"eos_token_id": "[EOS]"},
            r"config\.json: tokenizer_config: eos_token_id must be of type int, found '\[EOS\]'",
        ),
        ({"tool_use_token_id": None}, r"config\.json: tokens.tool_use is needed by the beta template"),
    ],
)
def test_ids_that_do_not_agree_are_named(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    change(published(tmp_path) / "config.json", values)
    with pytest.raises(UserError, match=message) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_mask_that_only_the_tokenizer_has_is_no_contradiction(tmp_path: Path) -> None:
    tokenizer = published_tokenizer((*ALPHA, "mask"))
    tokens = replace(ids_of(tokenizer), mask=None)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = ChatTokenizer.load(tmp_path, tokens)
    assert loaded.decode(loaded.encode("[MASK]")) == "[MASK]"
