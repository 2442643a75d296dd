"""What made-up tools are about: kinds of things, what can be told of one, and what can be wanted of it.

A tool does one wish to one thing (``book`` a ``sauna``), and its arguments are told details of it. None of the things
is one that other tools, or told facts of other kinds, speak of, and no two wishes mean the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from rxt.tasks.hybrid.details import (
    BRANDS,
    COATS,
    DECIMALS,
    FOODS,
    MATERIALS,
    PET_NAMES,
    Detail,
    age,
    being,
    budget,
    colour,
    day,
    detail,
    having,
    number,
    people,
    time,
    town,
    weight,
)
from rxt.tasks.hybrid.values import CITIES, LANGUAGES, phrases

Outcome = Literal["euros", "percent", "minutes", "days", "months", "points", "kilos", "grams", "time", "day", "number"]
"""What a tool's result is: so many of a unit, or a time, a day, a number."""


@dataclass(frozen=True)
class Wish:
    """What a tool does to a thing: find an aspect of it out, or act."""

    words: str
    """``rental fee`` or ``book``."""
    outcome: Outcome | None = None
    """What an aspect is; None of what is done."""


@dataclass(frozen=True)
class Kind:
    """Things of which the same can be told and wanted."""

    things: tuple[str, ...]
    details: tuple[Detail, ...]
    flags: tuple[Detail, ...]
    """Those that are true or false."""
    wishes: tuple[Wish, ...]


def _wishes(actions: str, aspects: dict[str, Outcome]) -> tuple[Wish, ...]:
    return (*map(Wish, phrases(actions)), *(Wish(aspect, outcome) for aspect, outcome in aspects.items()))


_ROOMS = Kind(
    phrases(
        "sauna, tennis court, meeting room, cabin, minibus, studio, ballroom, campsite, swimming pool, stage, barn, "
        "rooftop bar, banquet room, houseboat, beach hut, photo booth, terrace, pavilion, bowling lane, ice rink, "
        "lecture hall, darkroom, squash court, rehearsal room, guest room"
    ),
    (
        people("{It} should be for {v} people.", "For how many people should {it} be?"),
        day("{It} should be free on {v}.", "on {v}", "On which day should {it} be free?"),
        time("{It} should be ready at {v}.", "at {v}", "At what time should {it} be ready?"),
        town("{It} should be in {v}.", "in {v}", "In which town should {it} be?"),
        budget(),
        detail(
            "hours, duration, how long, number of hours",
            "for how many hours",
            DECIMALS,
            "I need {it} for {v} hours.",
            "for {v} hours",
            "For how many hours do I need {it}?",
            "For {v} hours.",
        ),
    ),
    having("insurance, lighting, storage, music, security, heating"),
    _wishes(
        "book, cancel, clean, inspect, decorate, photograph",
        {"rental fee": "euros", "deposit": "euros", "phone number": "number", "rating": "points", "next slot": "time"},
    ),
)
_DEVICES = Kind(
    phrases(
        "bike, violin, telescope, printer, piano, tractor, laptop, wristwatch, kayak, scooter, fridge, drone, harp, "
        "sewing machine, washing machine, camera, lawnmower, motorbike, snowboard, projector, microscope, generator, "
        "treadmill, accordion, cement mixer"
    ),
    (
        number(),
        age(),
        weight(),
        colour("{It} is {v}.", "", "What colour is {it}?"),
        town("{It} is in {v} now.", "", "Where is {it} now?"),
        day("{It} has to be ready on {v}.", "by {v}", "On which day does {it} have to be ready?"),
        detail(
            "brand, maker, company, make, manufacturer",
            "who made it",
            BRANDS,
            "{It} is made by {v}.",
            "",
            "Which company made {it}?",
            "{v} made it.",
        ),
    ),
    being("insured, broken, rented, locked, dusty, scratched"),
    _wishes(
        "insure, repair, sell, register, ship, polish, store",
        {
            "resale value": "euros",
            "insurance fee": "euros",
            "guarantee period": "months",
            "safety score": "points",
            "repair time": "days",
        },
    ),
)
_PAPERS = Kind(
    phrases(
        "contract, passport, permit, visa, diploma, certificate, voucher, patent, prescription, invoice, tax return, "
        "fishing licence, lease, complaint, application, building plan, questionnaire, receipt, manuscript, petition, "
        "logbook, blueprint, testimonial, driving licence"
    ),
    (
        number(),
        town("{It} was issued in {v}.", "", "Where was {it} issued?"),
        day("{It} is due on {v}.", "by {v}", "On which day is {it} due?"),
        detail(
            "pages, page count, sheets, number of pages",
            "how many pages it has",
            range(3, 80),
            "{It} has {v} pages.",
            "",
            "How many pages does {it} have?",
            "{v} pages.",
        ),
        detail(
            "language, tongue, written in, lang",
            "its language",
            LANGUAGES,
            "{It} is written in {v}.",
            "",
            "In which language is {it} written?",
            "In {v}.",
            listed=True,
        ),
    ),
    being("signed, urgent, stamped, private, complete, handwritten, sealed"),
    _wishes(
        "print, copy, check, archive, forward, shred",
        {"processing time": "days", "stamp duty": "euros", "tax rate": "percent", "handling fee": "euros"},
    ),
)
_ANIMALS = Kind(
    phrases(
        "parrot, pony, hamster, rabbit, goat, tortoise, ferret, donkey, canary, guinea pig, sheepdog, llama, goose, "
        "hedgehog, gecko, poodle, kitten, duck, alpaca, lamb, puppy, budgie, foal, turkey"
    ),
    (
        age(),
        weight(),
        town("{It} lives in {v}.", "", "Where does {it} live?"),
        replace(colour("{It} is {v}.", "", "What colour is {it}?"), values=COATS),
        detail(
            "name, called, pet name, animal name",
            "its name",
            PET_NAMES,
            "{It} is called {v}.",
            "",
            "What is {it} called?",
            "It is called {v}.",
        ),
        detail(
            "food, feed, diet, eats",
            "what it eats",
            FOODS,
            "{It} eats {v}.",
            "",
            "What does {it} eat?",
            "It eats {v}.",
            listed=True,
        ),
    ),
    being("chipped, hungry, shy, tame, adopted, deaf"),
    _wishes(
        "feed, wash, brush, register, insure, examine, photograph",
        {
            "vet bill": "euros",
            "feeding time": "time",
            "daily ration": "grams",
            "chip number": "number",
            "ideal weight": "kilos",
        },
    ),
)
_LINES = Kind(
    phrases(
        "ferry, tram, night bus, cable car, sleeper, shuttle, monorail, steamer, hydrofoil, funicular, helicopter, "
        "seaplane, airport bus, school bus, gondola, flight, airship, rickshaw, speedboat, snowmobile"
    ),
    (
        number(),
        people("{It} is booked for {v} people.", "For how many people is {it} booked?"),
        day("{It} leaves on {v}.", "on {v}", "On which day does {it} leave?"),
        time("{It} leaves at {v}.", "at {v}", "At what time does {it} leave?"),
        detail(
            "from, origin, from town, start town, from city",
            "where it leaves from",
            CITIES,
            "{It} leaves from {v}.",
            "from {v}",
            "From where does {it} leave?",
            "From {v}.",
        ),
        detail(
            "to, destination, to town, goal, to city",
            "where it goes",
            CITIES,
            "{It} goes to {v}.",
            "to {v}",
            "Where does {it} go?",
            "To {v}.",
        ),
    ),
    being("direct, full, heated, crowded"),
    _wishes(
        "pay, cancel, postpone, track",
        {
            "delay": "minutes",
            "fare": "euros",
            "arrival time": "time",
            "travel time": "minutes",
            "seat number": "number",
            "baggage limit": "kilos",
        },
    ),
)
_FURNITURE = Kind(
    phrases(
        "sofa, wardrobe, bathtub, bookcase, desk, armchair, bunk bed, cupboard, fireplace, sideboard, greenhouse, "
        "doghouse, sandbox, oven, chandelier, dressing table, garden gate, sink, staircase, railing, birdhouse, shed, "
        "wine rack, side table"
    ),
    (
        budget(),
        colour("{It} should be {v}.", "in {v}", "What colour should {it} be?"),
        town("{It} should be sent to {v}.", "", "Where should {it} be sent?", "To {v}."),
        day("{It} should come on {v}.", "by {v}", "On which day should {it} come?"),
        detail(
            "width, centimetres, cm, how wide, width in cm",
            "its width in centimetres",
            range(40, 250),
            "{It} should be {v} centimetres wide.",
            "",
            "How wide should {it} be?",
            "{v} centimetres.",
        ),
        detail(
            "material, made of, stuff, which material",
            "what it is made of",
            MATERIALS,
            "{It} should be made of {v}.",
            "",
            "What should {it} be made of?",
            "Of {v}.",
            listed=True,
        ),
    ),
    having("handles, ornaments, brackets, lighting, rivets"),
    _wishes(
        "order, return, assemble, measure, paint, recycle",
        {"delivery fee": "euros", "delivery time": "days", "discount": "percent", "assembly time": "minutes"},
    ),
)
_EVENTS = Kind(
    phrases(
        "concert, lecture, wedding, quiz night, opera, ballet, puppet show, gala, picnic, reunion, audition, marathon, "
        "street party, birthday party, dance class, yoga class, cooking class, sailing lesson, chess club, book fair, "
        "job interview, guided tour, wine tasting, fashion show"
    ),
    (
        people("{It} is for {v} people.", "For how many people is {it}?"),
        day("{It} is on {v}.", "on {v}", "On which day is {it}?"),
        time("{It} begins at {v}.", "at {v}", "At what time does {it} begin?"),
        town("{It} is in {v}.", "in {v}", "In which town is {it}?"),
        detail(
            "room, room number, room no, which room",
            "the number of the room",
            range(101, 400),
            "{It} is in room {v}.",
            "in room {v}",
            "In which room is {it}?",
            "In room {v}.",
        ),
    ),
    having("catering, childcare, parking, flowers, security, interpreters"),
    _wishes(
        "announce, cancel, postpone, film, plan, photograph",
        {"entrance fee": "euros", "running time": "minutes", "phone number": "number", "cleaning fee": "euros"},
    ),
)
KINDS = (_ROOMS, _DEVICES, _PAPERS, _ANIMALS, _LINES, _FURNITURE, _EVENTS)
