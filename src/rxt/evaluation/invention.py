"""Whether an answer names what nobody has said: the worst that a memory can do.

A word is invented when it is neither ordinary nor among what was said. Ordinary words say nothing that could be true or
false of somebody ("your", "is called", "lovely", "job"); a value ("banker", "Felix", "9:30") is never one. Letters of
any case, accents, plurals and the endings of verbs make no difference, and "three" is "3". Spelling does:
"Plumaria" for "Plumeria" is a name that nobody said.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from rxt.data.asked import UNKNOWN
from rxt.evaluation.text_vectors import FUNCTION_WORDS, NUMBERS, ORDINAL

_ORDINARY = """
    able actually ago agree ah alike almost alone along alright alternatively always amount anybody anyone
    anytime anyway apart apparently around aside away back based basically besides best better bit certain
    certainly clear clearly close common completely couple course current currently definitely different
    difficult easily easy either else enough especially etc exact exactly example except extra far fast finally
    first forever former free front full fully further generally guess haha half hardly hmm honestly hopefully
    huh important indeed instead known last lately later least less level likely literally little long longer
    lot lots main mainly middle moment mostly nah near nearly necessary neither never newest next none nope
    normal normally obviously often oldest once originally otherwise part particular particularly pity plenty
    plus point possible possibly pretty probably problem proper properly question quick quickly quiet real
    really reason recent recently regular right round sadly seldom several similar simple simply since slow
    slowly sometime sometimes somewhat somewhere soon sort special straight sure surely themselves thing
    together total totally towards true truly twice type unfortunately unless upon useful usual usually via
    whatever whenever wherever whoever whole wow wrong yeah yep yup

    absolutely afraid amazing awesome awful bad beautiful big biggest bright brilliant busy calm careful
    charming cheerful clever comfortable cool cosy crazy curious cute dear delicious delightful enjoyable
    excellent excited exciting exhausting familiar famous fantastic fascinating favorite favorites favourite
    favourites fine fluent fond friendly fun funny gentle glad good great handy happy hard healthy heavy high
    huge impressive incredible interested interesting kind large light lovely low lucky memorable native nearest
    neat new nice noted old older perfect personal pleasant pleased poor popular precious proud pure rare ready
    relaxing rich sad safe scared sensible serious shame short silly small smallest smart sorry splendid strange
    strong super superb surprised surprising sweet tasty terrible terrific tiny tired tough unique unusual warm
    weird welcome wise wonderful worried worse worst worth young younger

    add allow answer apologise apologize appear appreciate arrive ask asked assume await became become began
    begin believe belong bet born borrow bought break bring bringing brought call came care celebrate change
    changed chat check cheer choose chose chosen come coming congratulations consider continue correct cost
    count cut dare deal decide depend describe deserve discuss doubt dream drink earn eat end enjoy enter expect
    explain fail feel felt find fix forget forgot forgotten found gave get getting give given giving goes going
    gone gonna got gotten greet grew grow happen happened hate hear heard help hide hold hope hurt imagine
    improve include interest introduce invite join keep kept knowing last laugh lead learn learned leave left
    lend lent let like listen live lived look lose lost love made make making mark matter meant meet memorize
    mention met mind miss move need note offer owe paid pass pay pick plan play practise prefer promise put read
    realise realize recall receive reckon recognise recognize refer rely remain remind repeat reply respect rest
    return run save saw see seem seen send sent set share show shown sing sleep sound speak spell spend stand
    start stay stop study suffer suggest suit support suppose take taken talk talked taste taught teach telling
    took travel treat trust try turn understand understood update use used visit visited wait want watch wear
    weigh went wish wonder wondering work worry write written wrote

    address age allergy amount animal anniversary appointment author band birthday book brand buddy budget
    chance choice city code color colour company computer conversation cost country customer date day deadline
    detail distance dude employer everybody everyone experience fact family feeling fellow film food friend game
    goal goodness group guy guys height hello hey hobby home hour idea info information instrument issue item
    job joke kid language length licence license life list luck match meal meaning medicine memory message
    minute mistake model month movie name nickname number object occupation opinion order password people person
    pet phone place pleasure price profession program relative reminder room score secret sense sentence series
    shift sibling size somebody song speed spot step story stuff subject surname target task team terms text
    ticket time title today topic town toy trip trouble truth username value view way week weight word world
    year

    bye cant couldnt didnt doesnt dont goodbye gotta hadnt hasnt havent herself hes himself isnt itself ive
    kinda lets oops shes shouldnt thats theres theyre wasnt werent whats whos wont wouldnt youd youll youre
    youve
"""
"""Frequent words of answers to anything, by hand: how, of what sort, doing what, kinds of things, and spellings without
an apostrophe. A kind ("animal", "job", "day") may be here, none of its values."""

_WORD = re.compile(r"[^\W_]+(?:['.:+-][^\W_]+)*")
_CLAUSES = re.compile(r"[.!?;,]+\s+|\s[-–—]\s")
_CONTRACTED = re.compile(r"(?:n't|'(?:s|m|re|ve|ll|d))$")
_ENDING = re.compile(r"(?<=\w{3})(?:ing|ed|es|s|e)$")
_LETTERS = 3
"""Shorter words are ordinary: "is", "to", "ok"."""


def invented_words(answer: str, said: Iterable[str]) -> tuple[str, ...]:
    """The words of an answer that nobody has said, in lower case, in their order.

    Clauses that say that something is not known are left out: they may name what it is.

    Args:
        said: everything that the person has said until now, the question as well.
    """
    known = _ORDINARY_STEMS.union(*(_stems(word) for text in said for word in _words(text)))
    clauses = (clause for clause in _CLAUSES.split(answer) if not UNKNOWN.search(clause))
    return tuple(word for clause in clauses for word in _words(clause) if not _is_known(word, known))


def _words(text: str) -> list[str]:
    """Words with their inner signs, without case, accents and contracted endings."""
    apart = unicodedata.normalize("NFKD", text.replace("’", "'")).casefold()
    plain = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return [_CONTRACTED.sub("", word) for word in _WORD.findall(plain)]


def _parts(word: str) -> list[str]:
    return re.split(r"[^\w]", word)


def _stems(word: str) -> set[str]:
    """What a word that was said makes known: itself without signs, and each of its parts."""
    return {_stem("".join(_parts(word))), *map(_stem, _parts(word))}


def _stem(word: str) -> str:
    """A number in digits; a word without the ending of a plural or of a verb."""
    word = NUMBERS.get(word, word)
    if _is_number(word):
        return ORDINAL.sub(r"\1", word)
    singular = re.sub(r"(?<=\w{2})ie[sd]$", "y", word)
    return re.sub(r"(\w)\1$", r"\1", _ENDING.sub("", singular))  # planning, plan


def _is_known(word: str, known: frozenset[str]) -> bool:
    if _stem("".join(_parts(word))) in known:
        return True
    if _is_number(word):
        return False  # the parts of 9:30 may come from 9:15 and 14:30
    return all(_is_short(part) or _stem(part) in known for part in _parts(word))


def _is_number(word: str) -> bool:
    return any(sign.isdigit() for sign in word)


def _is_short(word: str) -> bool:
    return word.isascii() and len(word) < _LETTERS


_ORDINARY_STEMS = frozenset(_stem(word) for word in (*FUNCTION_WORDS, *_ORDINARY.split()) if "'" not in word)
