from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from rxt.data.tokenizer import ChatTokenizer
from rxt.generation.text_stream import TextStream

TOKENIZER = ChatTokenizer.train(["hello there 🙂 naïve Žižek 中文 中文 🙂🙂 hello there"] * 3, 300)

MARKED = ChatTokenizer.train(["hello there 🙂 naïve Žižek 中文 🙂🙂 HELLO There"] * 3, 300, case_marks=True)


def byte_ids() -> dict[int, int]:
    """Which id stands for a lone byte: no text has these alone, so they are looked up by the spelling that byte-level
    BPE gives them."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    spelling = {byte: chr(byte) for byte in printable}
    spelling |= {byte: chr(256 + index) for index, byte in enumerate(sorted(set(range(256)) - set(printable)))}
    with TemporaryDirectory() as folder:
        written = Tokenizer.from_file(str(TOKENIZER.save(folder)))
    found = {byte: written.token_to_id(text) for byte, text in spelling.items()}
    return {byte: token for byte, token in found.items() if token is not None}


BYTE_IDS = byte_ids()


def pieces(ids: list[int], tokenizer: ChatTokenizer = TOKENIZER) -> list[str]:
    stream = TextStream(tokenizer)
    return [*(stream.push(token) for token in ids), stream.finish()]


@given(st.text())
def test_any_text_comes_back_whole_and_no_piece_has_half_a_character(text: str) -> None:
    found = pieces(TOKENIZER.encode(text))
    assert "".join(found) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in found)


@given(st.lists(st.integers(0, TOKENIZER.vocab_size - 1), max_size=40))
def test_any_ids_at_all_join_to_their_decoding(ids: list[int]) -> None:
    assert "".join(pieces(ids)) == TOKENIZER.decode(ids)


@given(st.lists(st.sampled_from([0x41, 0x80, 0x82, 0x9F, 0xAC, 0xC3, 0xE2, 0xF0, 0xFF]), max_size=12))
def test_broken_bytes_join_to_what_python_makes_of_them(values: list[int]) -> None:
    assert "".join(pieces([BYTE_IDS[value] for value in values])) == bytes(values).decode("utf-8", "replace")


def test_text_is_shown_as_soon_as_it_is_certain() -> None:
    ids = [TOKENIZER.encode("A")[0], *(BYTE_IDS[byte] for byte in "€".encode()), TOKENIZER.encode("B")[0]]
    assert pieces(ids) == ["A", "", "", "€", "B", ""]
    assert pieces([BYTE_IDS[0xFF], BYTE_IDS[0xFF], TOKENIZER.encode("A")[0]]) == ["", "\ufffd", "\ufffdA", ""]
    assert pieces([BYTE_IDS[0xF0], BYTE_IDS[0x9F]]) == ["", "", "\ufffd"]


def test_special_tokens_have_no_text_even_inside_a_character() -> None:
    tokens = TOKENIZER.tokens
    assert tokens.bos is not None
    assert tokens.answer is not None
    first, second, third = (BYTE_IDS[byte] for byte in "€".encode())
    assert pieces([tokens.bos, first, tokens.answer, second, third, tokens.eos]) == ["", "", "", "", "€", "", ""]


# Case marks.


@given(st.text("aAbBß '1é🙂中"))
def test_capitals_come_token_by_token(text: str) -> None:
    assert "".join(pieces(MARKED.encode(text), MARKED)) == text


@given(st.lists(st.integers(0, MARKED.vocab_size - 1) | st.sampled_from(MARKED.encode("\x0e\x0f aé")), max_size=40))
def test_any_ids_with_marks_join_to_their_decoding(ids: list[int]) -> None:
    assert "".join(pieces(ids, MARKED)) == MARKED.decode(ids)


def test_a_mark_waits_for_its_letter_and_a_run_goes_on_over_pieces() -> None:
    up, caps = MARKED.encode("A")[0], MARKED.encode("AB")[0]
    vocabulary = MARKED._tokenizer.get_vocab()
    a, b, space, first, second = (vocabulary[piece] for piece in ("a", "b", "Ġ", "Ã", "©"))  # the last are é's bytes
    assert pieces([up, space, a, b, up, first, second], MARKED) == ["", "", "A", "b", "", "", "É", ""]
    run = [caps, space, a, b, MARKED.tokens.answer, a, space, a]
    assert pieces(run, MARKED) == ["", "", "A", "B", "", "A", " ", "a", ""]
    assert pieces([a, up], MARKED) == ["a", "", ""]
