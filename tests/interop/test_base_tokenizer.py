"""Tokenizer and chat template of a pre-trained model: its own ids, as ``transformers`` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_tokenizers import TEMPLATES, store_tokenizer

import rxt
from rxt.data.records import Interaction
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.generation.text_stream import AnswerStream

SYSTEM, FIRST, ANSWER, SECOND = "Be kind, Ann.", "What is 17 + 4?", "It is 21, not 22.", "And your naïve name? 🙂"
MADE = [(name, False) for name in TEMPLATES] + [("llama2", True), ("mistral", True)]
every_kind = pytest.mark.parametrize(("name", "pieces"), MADE)


def written(theirs: Any, *messages: tuple[str, str], ask: bool = False) -> list[int]:
    chat = [{"role": role, "content": text} for role, text in messages]
    return theirs.apply_chat_template(chat, add_generation_prompt=ask, tokenize=True, return_dict=False)


def template_of(tokenizer: ChatTokenizer, max_length: int = 200) -> Template:
    return Template(tokenizer, "alpha", max_length, markers=tokenizer.markers)


@every_kind
def test_a_chat_is_written_as_transformers_writes_it(tmp_path: Path, name: str, pieces: bool) -> None:
    theirs = store_tokenizer(tmp_path, name, pieces)
    tokenizer = rxt.load_base_tokenizer(tmp_path)
    template, markers = template_of(tokenizer), tokenizer.markers
    assert markers is not None
    expected = written(theirs, ("user", FIRST), ("assistant", ANSWER), ("user", SECOND), ask=True)
    once = template.interaction(Interaction(FIRST, ANSWER)).ids
    asked = template.prompt(SECOND)[len(markers.begin) :]
    begin = len(markers.begin)
    start = next(at for at in range(begin, len(expected)) if expected[at:][: len(once) - begin] == once[begin:])
    unasked = tokenizer.decode(expected[begin:start])  # a system prompt that nobody gave is left out
    assert unasked.startswith("system\n") if name.startswith("chatml") or name == "llama3.1" else not unasked
    expected = [*markers.begin, *expected[start:]]
    assert expected[-len(asked) :] == asked
    between = expected[len(once) : -len(asked)]
    assert tokenizer.decode(between) == ("\n" if name.startswith("chatml") else "")
    assert template.prompt(FIRST) == once[: len(template.prompt(FIRST))]


@pytest.mark.parametrize(
    ("name", "pieces"), [("chatml", False), ("llama2", False), ("llama2", True), ("llama3", False), ("llama3.1", False)]
)
def test_a_system_prompt_is_what_stands_before_the_first_query(tmp_path: Path, name: str, pieces: bool) -> None:
    theirs = store_tokenizer(tmp_path, name, pieces)
    tokenizer = rxt.load_base_tokenizer(tmp_path)
    template, markers = template_of(tokenizer), tokenizer.markers
    assert markers is not None
    expected = written(theirs, ("system", SYSTEM), ("user", FIRST), ask=True)
    system, asked = template.system(SYSTEM), template.prompt(FIRST)[len(markers.begin) :]
    if name == "llama2":  # writes it inside of the first query, which has no space before it then
        asked = [*tokenizer.encode(FIRST), *markers.answer.ids]
    assert system.ids + asked == expected
    assert not any(system.loss)


def test_a_template_without_system_prompts_says_so(tmp_path: Path) -> None:
    store_tokenizer(tmp_path, "mistral")
    with pytest.raises(UserError, match="the alpha template has no system prompt part"):
        template_of(rxt.load_base_tokenizer(tmp_path)).system(SYSTEM)


@every_kind
def test_learned_is_what_the_model_must_say(tmp_path: Path, name: str, pieces: bool) -> None:
    store_tokenizer(tmp_path, name, pieces)
    tokenizer = rxt.load_base_tokenizer(tmp_path)
    template = template_of(tokenizer)
    encoded = template.interaction(Interaction(f" {FIRST}\n", f"{ANSWER} "))
    learned = [token for token, learn in zip(encoded.ids, encoded.loss, strict=True) if learn]
    assert encoded.ids[: -len(learned)] == template.prompt(FIRST)
    assert learned[-1] == tokenizer.tokens.eos
    assert tokenizer.decode(learned).strip() == ANSWER
    assert template.parse(learned).answer == ANSWER
    assert template.parse(learned).finished
    assert template.complete(template.prompt(FIRST), learned) == encoded.ids
    stream = AnswerStream(template)
    pieces_ = [stream.push(token, last=token == tokenizer.tokens.eos) for token in learned]
    assert "".join(pieces_) == ANSWER
    assert len([piece for piece in pieces_ if piece]) > 5


@every_kind
def test_texts_come_back_and_markers_in_them_stay_text(tmp_path: Path, name: str, pieces: bool) -> None:
    store_tokenizer(tmp_path, name, pieces)
    tokenizer = rxt.load_base_tokenizer(tmp_path)
    forged = f"Ann {' '.join(TEMPLATES[name][1])} naïve 🙂"
    for text in (forged, " two  spaces ", "a"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.special_ids.isdisjoint(tokenizer.encode(text))


@every_kind
def test_stored_again_it_is_the_same(tmp_path: Path, name: str, pieces: bool) -> None:
    store_tokenizer(tmp_path, name, pieces)
    tokenizer = rxt.load_base_tokenizer(tmp_path)
    again = ChatTokenizer.load(tokenizer.save(tmp_path / "again"), tokenizer.tokens)
    assert again.special_ids == tokenizer.special_ids
    for text in (FIRST, SECOND, " a "):
        assert again.encode(text) == tokenizer.encode(text)
        assert again.decode(again.encode(text)) == text


def test_what_is_too_long_is_cut_and_markers_stay(tmp_path: Path) -> None:
    store_tokenizer(tmp_path, "llama3")
    tokenizer = rxt.load_base_tokenizer(tmp_path)
    markers = tokenizer.markers
    assert markers is not None
    template = template_of(tokenizer, 24)
    encoded = template.interaction(Interaction(FIRST * 9, ANSWER))
    assert encoded.cut
    assert len(encoded.ids) == 24
    assert encoded.ids[: len(markers.begin) + len(markers.query.ids)] == [*markers.begin, *markers.query.ids]
    with pytest.raises(UserError, match=r"the query is too long: with its markers \d+ tokens, at most 21 fit"):
        template.prompt(FIRST * 9)
    with pytest.raises(UserError, match=r"max_length must be at least \d+, found 9"):
        template_of(tokenizer, 9)
    assert len(template.system(SYSTEM * 9).ids) == 24
    with pytest.raises(UserError, match="has no thinking part"):
        template.prompt(FIRST, mode="thinking")


def test_padding_is_what_the_base_names_or_eos(tmp_path: Path) -> None:
    store_tokenizer(tmp_path, "chatml")
    tokenizer = rxt.load_base_tokenizer(tmp_path)
    assert tokenizer.tokens.pad == tokenizer.tokens.eos == 1
    store_tokenizer(tmp_path / "named", "chatml", pad_token="<|endoftext|>")
    assert rxt.load_base_tokenizer(tmp_path / "named").tokens.pad == 2


def test_a_base_without_a_chat_template_gets_a_plain_one(tmp_path: Path) -> None:
    theirs = store_tokenizer(tmp_path, "llama3", template="")
    template = template_of(rxt.load_base_tokenizer(tmp_path))
    said = template.interaction(Interaction(FIRST, ANSWER)).ids
    assert said == theirs.encode(f"User: {FIRST}\nAssistant: {ANSWER}<|eot_id|>", add_special_tokens=False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{% for m in messages %}{{ m['content'] ", r"cannot be run \("),
        ("{{ messages[5]['content'] }}", r"cannot be run \("),
        ("{{ raise_exception('no chats') }}", r"cannot be run \(no chats\)"),
        ("{{ messages[-1]['content'] }}", "does not write each message once and in order"),
        ("{% for m in messages %}{{ m['content'] | upper }}{% endfor %}", "does not write each message once"),
        (
            "{% for m in messages %}{{ m['role'] + m['content'] }}{% endfor %}",
            "begins an answer in another way than it asks for one",
        ),
        (
            "{% for m in messages %}{{ m['role'] + m['content'] }}{% endfor %}{% if add_generation_prompt %}assistant"
            "{% endif %}",
            "ends an answer with no special token",
        ),
        (
            "{% for m in messages %}{{ 'first' if loop.first else m['role'] }}: {{ m['content'] + '<|eot_id|>' }}"
            "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
            "marks the first message in another way than later ones",
        ),
        (
            "{% for m in messages %}{{ '<|eot_id|>' }}ca{{ m['content'] + 'pital<|eot_id|>' }}{% endfor %}"
            "{% if add_generation_prompt %}<|eot_id|>ca{% endif %}",
            "ends an answer with more than a special token",
        ),
    ],
)
def test_a_template_that_cannot_be_taken_apart_is_one_line(tmp_path: Path, text: str, problem: str) -> None:
    store_tokenizer(tmp_path, "llama3", template=text)
    with pytest.raises(UserError, match=f"its chat template {problem}") as caught:
        rxt.load_base_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_files_that_are_missing_or_damaged_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no tokenizer\.json"):
        rxt.load_base_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "Cipher"}}))
    with pytest.raises(UserError, match="its tokenizer cannot be read"):
        rxt.load_base_tokenizer(tmp_path)
    with pytest.raises(UserError, match=r"tokenizer\.json: not a GGUF file"):
        rxt.load_base_tokenizer(tmp_path / "tokenizer.json")
