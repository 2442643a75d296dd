"""Who people are: names, what they are like, what ails them."""

from __future__ import annotations

import re
import unicodedata
from random import Random

from rxt.tasks.open.values.coin import coined_family, coined_given, coined_pet, coined_place, coined_word
from rxt.tasks.open.values.pick import changed, digits, forms, listed, mixed, one, table

_given = mixed((45, listed("given_names")), (55, coined_given))
person = mixed((97, _given), (3, forms("{first}-{second}", first=listed("given_names"), second=_given)))
family = mixed(
    (45, listed("surnames")), (52, coined_family), (3, forms("{one}-{two}", one=listed("surnames"), two=coined_family))
)
full_name = mixed(
    (92, forms("{person} {family}", person=person, family=family)),
    (
        8,
        forms(
            "{person} {initial}. {family}",
            "{person} {second} {family}",
            person=person,
            second=_given,
            family=family,
            initial=lambda rng: one(rng, "ABCDEFGHIJKLMNOPRSTVWYZ"),
        ),
    ),
)


def _short(rng: Random) -> str:
    """A name's beginning with an ending on it: "Fredo", "Wilkie"."""
    name = person(rng).split("-")[0]
    vowel = next((at for at, sign in enumerate(name[1:], 1) if sign in "aeiouyéáíóöüäø"), 1)
    stem = name[: vowel + 2]
    if stem[-1] in "aeiouy":
        return stem if len(stem) > 2 else stem + "z"
    return stem + one(rng, ("", "", "y", "ie", "o", "i", "a", "er", "s", "ey", "zy", "ster", "inho", "ka"))


def _doubled(rng: Random) -> str:
    """A syllable twice: "Zuzu"."""
    part = one(rng, ("B", "D", "F", "G", "J", "K", "L", "M", "N", "P", "R", "S", "T", "V", "W", "Z", "Ch", "Sh")) + one(
        rng, ("a", "e", "i", "o", "u", "oo", "ee")
    )
    return part + part.lower()


nickname = mixed(
    *((3, listed("nicknames")), (5, _short), (1, _doubled), (2, coined_pet)),
    (2, forms("(Big|Little|Lucky|Crazy|Uncle|Captain|Mad|Old|Young|DJ|Doctor|Miss|Mister) {name}", name=_short)),
    (2, changed(forms("{adjectives} {nouns}", "{foods}", "{nouns}"), "title")),
)
pet = mixed(
    *((30, listed("pets")), (35, coined_pet), (8, person), (10, changed(listed("nouns"), "title"))),
    (
        6,
        forms(
            "(Mr|Mrs|Miss|Lady|Lord|Sir|Captain|Professor|Princess|Duke|Count|Señor|Doctor|Colonel) {it}",
            it=mixed((1, listed("pets")), (1, coined_pet), (1, changed(listed("nouns"), "title"))),
        ),
    ),
    (6, changed(listed("flavours"), "title")),
    (5, listed("nicknames")),
)

_band_words = mixed((3, listed("adjectives")), (1, coined_word), (1, listed("colours")))
artist = mixed(
    (40, full_name),
    (8, coined_given),
    (
        22,
        changed(
            forms(
                "the {what} {plurals}",
                "the {plurals}",
                "{what} {nouns}",
                "{plurals} of {where}",
                what=_band_words,
                where=mixed((1, listed("places")), (1, coined_place)),
            ),
            "title",
        ),
    ),
    (
        10,
        changed(
            forms(
                "{one} and the {plurals}",
                "the {other} (quartet|trio|brothers|sisters|orchestra|ensemble|band)",
                one=_given,
                other=family,
            ),
            "title",
        ),
    ),
    (6, forms("(DJ|MC|Lil|Big|Young|Lady|Saint|King|Queen) {name}", name=mixed((1, coined_given), (1, _given)))),
    (4, forms("{name} & {other}", name=_given, other=_given)),
)

_kept = re.compile(r"[^a-z0-9]+")
_SPECIAL = str.maketrans({"ł": "l", "ø": "o", "ß": "ss", "æ": "ae", "đ": "d", "ı": "i", "þ": "th", "ð": "d", "œ": "oe"})


def plain(text: str) -> str:
    """In small letters without accents, spaces or signs, as an address has it."""
    text = unicodedata.normalize("NFKD", text.lower().translate(_SPECIAL)).encode("ascii", "ignore").decode()
    return _kept.sub("", text) or "x"


def username(rng: Random) -> str:
    """As people call themselves: "otter_88", "ilse.markovic"."""
    how = rng.random()
    if how < 0.4:
        text = plain(person(rng)) + one(rng, ("", "_", ".", "-")) + plain(family(rng))
        text = text if rng.random() < 0.6 else text[:1] + text[text.find("_") + 1 or 1 :]
    elif how < 0.75:
        text = plain(one(rng, table("adjectives"))) + one(rng, ("", "_", "-", ".")) + plain(one(rng, table("nouns")))
    elif how < 0.9:
        text = plain(coined_word(rng))
    else:
        text = one(rng, ("the", "real", "its", "mr", "miss", "just", "not")) + one(rng, ("", "_")) + plain(person(rng))
    if rng.random() < 0.5:
        text += digits(one(rng, ("#", "##", "##", "19##", "20##", "###", "_##", "_%")), rng)
    return text[:24].strip("._-")


_DOMAINS = (
    *("gmail.com", "outlook.com", "yahoo.com", "hotmail.com", "icloud.com", "proton.me", "gmx.de", "web.de", "mail.ru"),
    *(
        "orange.fr",
        "free.fr",
        "libero.it",
        "wp.pl",
        "seznam.cz",
        "bluewin.ch",
        "btinternet.com",
        "live.nl",
        "telenet.be",
    ),
)
_ENDINGS = tuple(
    [
        "com",
        "org",
        "net",
        "co.uk",
        "de",
        "fr",
        "it",
        "es",
        "pl",
        "nl",
        "se",
        "no",
        "fi",
        "dk",
        "pt",
        "gr",
        "cz",
        "io",
        "eu",
        "ca",
        "com.au",
        "co.nz",
        "in",
        "jp",
        "br",
        "ie",
        "ch",
        "at",
    ]
)


def email(rng: Random) -> str:
    """An address as one types it."""
    how = rng.random()
    if how < 0.5:
        first, last = plain(person(rng)), plain(family(rng))
        first = first if rng.random() < 0.7 else first[:1]
        name = first + one(rng, (".", ".", "_", "-", "")) + last
    elif how < 0.8:
        name = username(rng)
    else:
        name = one(rng, ("info", "hello", "office", "contact", "bookings", "team", "post", "mail", "me", "family"))
    if how < 0.55:
        return f"{name}@{one(rng, _DOMAINS)}"
    site = plain(one(rng, (family(rng), one(rng, table("venue_words")), coined_word(rng))))
    if rng.random() < 0.4:
        site += one(rng, ("", "-")) + plain(one(rng, table("employer_types")))
    return f"{name}@{site}.{one(rng, _ENDINGS)}"


trait = mixed(
    *((60, listed("traits")), (30, forms("{trait_adverbs} {traits}"))),
    (
        10,
        forms("{traits} (and|but) {traits}", "{traits} (in the mornings|with strangers|with money|at work|about food)"),
    ),
)
ailment = mixed(
    (32, listed("ailments")),
    (
        10,
        forms("(chronic|mild|bad|severe|recurring|awful|terrible|occasional) {ailments}", "{ailments} and {ailments}"),
    ),
    (
        22,
        forms(
            "a (sore|swollen|bad|stiff|itchy|numb|bruised|burnt|painful|tender) {body_parts}",
            "a (broken|sprained|dislocated|fractured|twisted|cracked|crushed) {bones}",
        ),
    ),
    (
        14,
        forms(
            "(pain|an infection|a rash|a cyst|eczema|arthritis|cramp|a trapped nerve|swelling|a lump) in the"
            " {body_parts}",
            "a (itchy|stabbing|dull|tingling|burning) feeling in the {body_parts}",
            "(trouble|problems) with the {body_parts}",
        ),
    ),
    (14, forms("an allergy to {allergens}", "(a reaction|an intolerance) to {allergens}", "a {allergens} allergy")),
    (
        8,
        forms(
            "{name}('s|) (syndrome|disease|palsy)", "{word}(itis|osis|algia|emia)", name=coined_family, word=coined_word
        ),
    ),
)


_generic = forms("{medicine_stems}{medicine_ends}", "{medicine_stems}{medicine_stems}{medicine_ends}")
"""A medicine that there is not: "velotrapine"."""
medicine = mixed(
    *((40, listed("medicines")), (35, _generic)),
    (10, forms("{medicines} (5|10|20|25|40|50|75|100|200|250|400|500) mg")),
    (
        15,
        forms(
            "{flavours} (drops|syrup|lozenges|tablets)",
            "{it} (tablets|drops|cream|gel|spray|syrup|patches)",
            it=_generic,
        ),
    ),
)
