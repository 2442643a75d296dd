"""Single words that are passwords, and free noun phrases."""

from __future__ import annotations

from rxt.tasks.open.values.coin import coined_given, coined_place, coined_word
from rxt.tasks.open.values.people import person
from rxt.tasks.open.values.pick import a, forms, listed, mixed
from rxt.tasks.open.values.places import place

word = mixed(
    (40, coined_word),
    (20, listed("rare_words")),
    (14, listed("nouns")),
    (8, forms("{nouns}{other}", other=listed("nouns"))),
    (6, forms("{adjectives}{nouns}")),
    (6, coined_given),
    (4, coined_place),
)
_who = forms(
    "{person}'s",
    "(an aunt|a grandfather|a grandmother|an uncle|a neighbour|a cousin|a teacher|a stranger)'s",
    person=person,
)
_noun = mixed((3, forms("{adjectives} {nouns}")), (2, listed("nouns")), (1, forms("{colours} {nouns}")))
phrase = mixed(
    (22, forms("the {phrase_senses} of {phrase_sensed}")),
    (
        16,
        forms(
            "(a|an old|the old|a big|a little|a blue|one last) {phrase_holders} of {phrase_things}",
            "(a|the) {phrase_holders} (full of|with) {phrase_things}",
        ),
    ),
    (
        16,
        forms(
            "{one} (in|by|behind|under|near|above|beyond|outside) the {nouns}",
            "{one} with {two}",
            one=a(_noun),
            two=a(_noun),
        ),
    ),
    (
        14,
        forms(
            "the (first|last|only|second|oldest|longest) {nouns} (of|in|on) the (summer|year|street|village|winter"
            "|world|way home|morning|family)",
            "the {adjectives} {nouns} (in|near|outside|from) {place}",
            place=place,
        ),
    ),
    (
        12,
        forms(
            "{who} {noun}",
            "the {nouns} that {person} (made|found|lost|painted|left behind|kept|broke)",
            who=_who,
            noun=_noun,
            person=person,
        ),
    ),
    (
        10,
        forms(
            "the (way|night|day|time|summer) {person} (laughs|forgot the {nouns}|sang in the {house_rooms}|danced"
            " with the {nouns}|came home|learned to {goal_learn})",
            "the {nouns} and the {nouns}",
            person=person,
        ),
    ),
    (
        10,
        forms(
            "a (story|song|poem|joke|dream|film|rumour|letter) about {two}",
            "{one} made of {materials}",
            one=a(_noun),
            two=a(_noun),
        ),
    ),
)
