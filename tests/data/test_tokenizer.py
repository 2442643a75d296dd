"""The tokenizer: exact round trips, no forged special tokens, files that can be trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from rxt.config import SpecialTokens, TemplateName
from rxt.data.tokenizer import TOKEN_TEXTS, ChatTokenizer
from rxt.errors import UserError

REPEATABLE = settings(deadline=None, derandomize=True, database=None)
CORPUS = [
    "the cat sat on the mat",
    "My name is Ann. What is my name?",
    "[A] [A] [EOS] [EOS]",
    "naïve café 東京 123 123",
    "the cat, the hat",
] * 3
ALPHA = ChatTokenizer.train(CORPUS, 300, "alpha")
BETA = ChatTokenizer.train(CORPUS, 300, "beta")
TOKENIZERS = {"alpha": ALPHA, "beta": BETA}
MARKS = st.sampled_from(list(TOKEN_TEXTS.values()))
TEXTS = st.lists(
    st.one_of(st.text(), MARKS, st.sampled_from([" ", "\n", "the cat", "\x00", "👨‍👩‍👧", "é", "\ufffd"]))
).map("".join)


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
@REPEATABLE
@given(text=TEXTS)
@example(text="[A]")
@example(text=" leading and trailing  ")
@example(text="\ufeffmark of order, \u2028 and \r\n")
@example(text="".join(TOKEN_TEXTS.values()))
def test_any_text_comes_back_and_makes_no_special_token(tokenizer: ChatTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.special_ids.isdisjoint(ids)
    assert all(0 <= index < tokenizer.vocab_size for index in ids)


def test_special_tokens_never_show() -> None:
    ids = ALPHA.encode("cat")
    tokens = ALPHA.tokens
    assert tokens.bos is not None
    assert tokens.answer is not None
    assert ALPHA.decode([tokens.bos, *ids, tokens.answer, *ids, tokens.eos, tokens.pad]) == "catcat"


def test_ids_of_the_special_tokens() -> None:
    assert ALPHA.tokens == SpecialTokens(pad=0, bos=1, eos=2, query=3, answer=4, mask=5)
    assert BETA.tokens == SpecialTokens(
        pad=0, bos=1, eos=2, query=3, answer=4, think=5, tool_call=6, tool_use=7, internal=8, mask=9
    )


def test_merges_shorten_text_but_never_join_digits_or_words() -> None:
    assert len(ALPHA.encode("the cat")) < len("the cat")
    assert ALPHA.encode("123")[1:] == [ALPHA.encode(digit)[0] for digit in "23"]


def test_training_is_deterministic(tmp_path: Path) -> None:
    first = ChatTokenizer.train(iter(CORPUS), 290).save(tmp_path / "a.json")
    second = ChatTokenizer.train(CORPUS, 290).save(tmp_path / "b.json")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("template", "least"), [("alpha", 262), ("beta", 266)])
def test_smallest_vocabulary(template: TemplateName, least: int) -> None:
    tokenizer = ChatTokenizer.train(CORPUS, least, template)
    assert tokenizer.vocab_size == least
    assert tokenizer.decode(tokenizer.encode("ü")) == "ü"
    with pytest.raises(UserError, match=f"vocab_size must be at least {least} .* found {least - 1}"):
        ChatTokenizer.train(CORPUS, least - 1, template)


def test_a_small_corpus_gives_a_smaller_vocabulary() -> None:
    assert ChatTokenizer.train(["ab ab"], 10_000).vocab_size == 262 + 1, "only ab is seen twice"


def test_no_text_to_train_on() -> None:
    with pytest.raises(UserError, match="no text to train on"):
        ChatTokenizer.train([], 300)


def test_lone_surrogate() -> None:
    with pytest.raises(UserError, match="half of a surrogate pair"):
        ALPHA.encode("a\ud83d")


# Files.


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
@pytest.mark.parametrize("name", ["tokenizer.json", "other.json", "."])
def test_save_and_load(tokenizer: ChatTokenizer, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    written = tokenizer.save(folder / name)
    assert [path.name for path in folder.iterdir()] == [written.name], "no temporary file is left"
    loaded = ChatTokenizer.load(folder / name)
    assert (loaded.tokens, loaded.vocab_size) == (tokenizer.tokens, tokenizer.vocab_size)
    text = "the [A] cat [EOS] 東京"
    assert loaded.encode(text) == tokenizer.encode(text)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ALPHA.save(tmp_path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"tokenizer\.json: cannot be written \(No space left on device\)"):
        BETA.save(tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"not json", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not a tokenizer"),
        (b'{"version": "1.0"}', "not a tokenizer"),
        (b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["b", "c"]]}}', "not a tokenizer"),
    ],
)
def test_files_that_are_no_tokenizer(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(UserError, match=rf"tokenizer\.json: {problem}") as error:
        ChatTokenizer.load(tmp_path)
    assert "\n" not in str(error.value)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        with pytest.raises(UserError, match=r"tokenizer\.json: cannot be read \(No such file or directory\)"):
            ChatTokenizer.load(path)


# Tokenizers of another make.


def foreign(tmp_path: Path, special: bool = True, *more: str) -> Path:
    """A byte-level tokenizer with its own names for the special tokens, a prefix of its own, truncation and padding."""
    alphabet = {character: index for index, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(
        models.BPE(vocab=alphabet | {text: 256 + index for index, text in enumerate(more)}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(text, special=special) for text in ("<pad>", "<s>", "</s>", "<user>", "<bot>")])
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=99)
    path = tmp_path / "foreign.json"
    tokenizer.save(str(path))
    return path


FOREIGN_IDS = SpecialTokens(pad=256, bos=257, eos=258, query=259, answer=260)


@pytest.mark.parametrize("special", [True, False])
def test_foreign_tokenizer_with_explicit_ids(tmp_path: Path, special: bool) -> None:
    tokenizer = ChatTokenizer.load(foreign(tmp_path, special), FOREIGN_IDS)
    assert tokenizer.tokens == FOREIGN_IDS
    assert tokenizer.vocab_size == 261
    text = "I <bot> say </s> much more than three tokens"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.special_ids.isdisjoint(ids)
    assert tokenizer.decode([260, *ids, 258]) == text


def test_special_token_that_is_an_ordinary_entry_of_the_vocabulary(tmp_path: Path) -> None:
    tokens = SpecialTokens(pad=257, bos=258, eos=259, query=260, answer=261, mask=256)
    tokenizer = ChatTokenizer.load(foreign(tmp_path, True, "<hidden>"), tokens)
    ids = tokenizer.encode("<hidden>")
    assert tokenizer.decode([256, *ids]) == "<hidden>"


def test_foreign_tokenizer_without_ids(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"foreign\.json: has no token \[PAD\], \[BOS\], \[EOS\], \[Q\], \[A\]; say which ids"
    ):
        ChatTokenizer.load(foreign(tmp_path))


@pytest.mark.parametrize(
    ("tokens", "problem"),
    [
        (
            SpecialTokens(pad=256, bos=257, eos=258, query=259, answer=261),
            "has no token 261, the id given for tokens.answer",
        ),
        (SpecialTokens(pad=256, bos=257, eos=258, query=259, answer=259), "two special tokens share one id"),
        (
            SpecialTokens(pad=256, bos=257, eos=258, query=259, answer=0),
            "becomes a special token, so users could forge one",
        ),
    ],
)
def test_foreign_ids_that_cannot_be(tmp_path: Path, tokens: SpecialTokens, problem: str) -> None:
    with pytest.raises(UserError, match=rf"foreign\.json: .*{problem}"):
        ChatTokenizer.load(foreign(tmp_path), tokens)


def test_merges_that_spell_a_special_token_are_refused(tmp_path: Path) -> None:
    values: dict[str, Any] = json.loads(ALPHA.save(tmp_path).read_text())
    values["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    values["model"]["vocab"]["[A"] = ALPHA.vocab_size
    values["model"]["merges"] = [["[", "A"], ["[A", "]"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"the plain text \[A\] becomes a special token"):
        ChatTokenizer.load(tmp_path)
