"""The kinds of values that open conversations are about."""

from __future__ import annotations

from random import Random

import pytest

from rxt.tasks.open import values
from rxt.tasks.open.values import Kind, ValueSplit, core, split_of
from rxt.tasks.open.values.kinds import KINDS
from rxt.tasks.open.values.pick import plural, table, with_article

FEWER = {"country": 150, "duration": 400, "temperature": 600, "size": 700, "appliance": 1000, "language": 1000}
"""Open kinds of which there are fewer than 1,500 in 5,000 draws, and how many there are at least."""

ASKED_FOR = """
person full_name nickname pet animal plant place country street address venue employer school job hobby sport
instrument language subject genre team food drink title artist thing object spot vehicle brand colour material
size event day date time when month year duration frequency count age price code phone email username room
number score distance weight temperature errand goal reason trait ailment medicine phrase word appliance
room_of_house account task dish trip project
"""


def drawn(name: str, how_many: int, seed: int = 0) -> list[str]:
    rng = Random(seed)
    return [KINDS[name].draw(rng) for _ in range(how_many)]


def test_there_is_every_kind() -> None:
    assert set(KINDS) == set(ASKED_FOR.split())


@pytest.mark.parametrize("name", KINDS)
def test_values_are_clean(name: str) -> None:
    for value in drawn(name, 500):
        assert value == value.strip()
        assert "  " not in value
        assert not set(value) & set("\n\t{}[]|")
        assert core(value).strip()
        assert len(value) < 110


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if not kind.closed])
def test_there_are_many_of_an_open_kind(name: str) -> None:
    assert len(set(drawn(name, 5_000))) >= FEWER.get(name, 1_500)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.closed])
def test_there_are_few_of_a_closed_kind(name: str) -> None:
    assert 7 <= len(set(drawn(name, 5_000))) < 300


@pytest.mark.parametrize("name", KINDS)
def test_a_draw_is_a_function_of_the_seed(name: str) -> None:
    assert drawn(name, 50, seed=3) == drawn(name, 50, seed=3)
    assert drawn(name, 50, seed=3) != drawn(name, 50, seed=4)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if not kind.closed])
def test_splits_share_no_value(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "reserved", frozenset)
    cores: dict[ValueSplit, set[str]] = {"train": set(), "validation": set(), "test": set()}
    rng = Random(1)
    for split, found in cores.items():
        for _ in range(40):
            value = values.draw(KINDS[name], split, rng, ())
            assert value is not None
            assert split_of(value) == split
            found.add(core(value).casefold())
    assert not cores["train"] & cores["test"]
    assert not cores["train"] & cores["validation"]
    assert not cores["validation"] & cores["test"]


def test_what_is_taken_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "reserved", frozenset)
    rng = Random(0)
    kind = Kind(lambda rng: "abc"[int(rng.random() * 3)], closed=True)
    assert {values.draw(kind, "test", rng, {"a"}) for _ in range(30)} == {"b", "c"}


def test_names_hold_every_letter() -> None:
    letters = {sign for value in drawn("person", 5000) for sign in value.casefold()}
    assert set("abcdefghijklmnopqrstuvwxyzäöüéèñçłšøåīőğß") - {"ß"} <= letters
    lengths = {len(value) for value in drawn("person", 5000)}
    assert set(range(3, 13)) <= lengths


@pytest.mark.parametrize(
    ("noun", "whole"),
    [("umbrella", "an umbrella"), ("ukulele", "a ukulele"), ("old map", "an old map"), ("record", "a record")],
)
def test_an_article_sounds_right(noun: str, whole: str) -> None:
    assert with_article(noun) == whole


@pytest.mark.parametrize(
    ("noun", "several"),
    [
        ("border collie", "border collies"),
        ("wolf", "wolves"),
        ("pony", "ponies"),
        ("donkey", "donkeys"),
        ("fox", "foxes"),
    ],
)
def test_a_plural_is_formed(noun: str, several: str) -> None:
    assert plural(noun) == several


def test_no_value_speaks_of_its_owner() -> None:
    """It is said by the person and by the model, of anybody."""
    for name in set(KINDS) - {"title", "artist", "word", "username"}:
        for value in drawn(name, 2000):
            assert not {"my", "our", "your", "his", "her", "we", "me", "us"} & set(value.split()), value


def test_lists_have_each_word_once() -> None:
    for name in ("given_names", "surnames", "places", "jobs", "foods"):
        assert len(set(table(name))) == len(table(name)) > 300
