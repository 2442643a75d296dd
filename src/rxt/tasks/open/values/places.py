"""Where: places, streets and addresses, shops and employers, rooms, and the spots where things lie."""

from __future__ import annotations

from random import Random

from rxt.tasks.open.values.coin import coined_brand, coined_family, coined_given, coined_place, coined_word
from rxt.tasks.open.values.people import family, person
from rxt.tasks.open.values.pick import capital, changed, digits, figures, forms, listed, mixed, number, one, table

_plain_place = mixed((45, listed("places")), (55, coined_place))
place = mixed(
    (90, _plain_place),
    (
        7,
        forms(
            "(New|Old|Upper|Lower|Great|Little|North|South|East|West|Saint|Port|Fort|Mount|Bad|San|Santa|Nova|Bois)"
            " {place}",
            place=coined_place,
        ),
    ),
    (
        3,
        forms(
            "{place}-(sur-Mer|on-Sea|am See|upon-Wye|le-Vieux|on-the-Hill|Dolny|les-Bains|am Inn)", place=coined_place
        ),
    ),
)
country = listed("countries")

_new_name = mixed((2, coined_given), (3, coined_family), (3, coined_place))
_named = mixed((4, listed("street_names")), (4, _new_name), (1, listed("surnames")), (1, listed("places")))
street = mixed(
    (
        45,
        forms(
            "{name} (Street|Road|Lane|Avenue|Close|Drive|Row|Way|Terrace|Crescent|Court|Place|Grove|Hill|Gardens|Square"
            "|Walk|Mews|Rise|Parade|View|Boulevard|Alley|Green|Yard|Quay)",
            name=_named,
        ),
    ),
    (
        14,
        forms(
            "{name}(straße|weg|gasse|allee|platz|ring|straat|laan|gracht|plein|gata|gatan|vej|veien|stræde|katu|tie)",
            name=mixed((1, listed("street_names")), (5, _new_name)),
        ),
    ),
    (
        14,
        forms(
            "(Rue|Avenue|Place|Impasse|Quai|Allée|Chemin) (de |du |des |)({name}|{other})",
            "(Via|Viale|Piazza|Vicolo|Corso) {name}",
            "(Calle|Avenida|Plaza|Rua|Travessa|Carrer|Paseo) (de |){name}",
            name=_new_name,
            other=listed("places"),
        ),
    ),
    (
        8,
        forms(
            "ulica {name}",
            "ul. {name}",
            "{name} utca",
            "{name} Caddesi",
            "{name} Sokak",
            "Strada {name}",
            "ulitsa {name}",
            "{name}-dori",
            "{name}-ro",
            "{name}-gil",
            "Jalan {name}",
            "{name} Marg",
            "Odos {name}",
            name=_new_name,
        ),
    ),
    (
        6,
        forms(
            "(2nd|3rd|5th|7th|9th|11th|14th|22nd|48th|North|South|East|West) (Street|Avenue)",
            "(North|South|East|West) {name} (Street|Avenue|Drive)",
            name=_named,
        ),
    ),
)
_house = mixed(
    (6, number(1, 120)), (2, number(100, 999)), (1, figures("%#a", "%b", "%/#", "%#c", "%-%")), (1, figures("%###"))
)
address = mixed(
    (70, forms("{house} {street}", house=_house, street=street)),
    (
        20,
        forms(
            "{name} {house}",
            house=_house,
            name=forms(
                "{new}(straße|weg|gasse|straat|gatan|vej)",
                "Via {new}",
                "Calle {new}",
                "ulica {new}",
                "{new} utca",
                new=_new_name,
            ),
        ),
    ),
    (
        10,
        forms(
            "(flat|apartment|unit) {flat}, {house} {street}",
            flat=figures("%", "%#", "%@", "%b"),
            house=_house,
            street=street,
        ),
    ),
    (8, forms("{house} {street}, {place}", house=_house, street=street, place=place)),
    (
        4,
        forms(
            "(Rose|Ivy|Mill|Lake|Orchard|Gate|Rectory|Harbour|Forge|Oak|Heron|Chapel) (Cottage|House|Lodge|Farm),"
            " {street}",
            street=street,
        ),
    ),
)

venue = mixed(
    (
        24,
        forms(
            "the {venue_words} (and|&) {venue_words}",
            "the {venue_words}",
            "the {how} {venue_words}",
            "the {venue_words} {venue_types}",
            how=changed(mixed((1, listed("adjectives")), (1, listed("colours"))), "title"),
        ),
    ),
    (
        24,
        forms(
            "{name}'s",
            "{name}'s {venue_types}",
            "{name} {venue_types}",
            "{name}'s {venue_types}",
            "{name} & {other}",
            name=mixed((1, person), (1, family)),
            other=family,
        ),
    ),
    (
        20,
        forms(
            "(Café|Bar|Casa|Chez|Trattoria|Osteria|Hotel|Pension|Villa|Bistro|Club|Restaurant|Taverna|Pizzeria) {name}",
            name=mixed((1, person), (1, changed(coined_word, "title")), (1, place)),
        ),
    ),
    (16, forms("{name} {venue_types}", name=mixed((1, place), (1, coined_brand)))),
    (
        8,
        forms(
            "{place} (Town Hall|Community Centre|Village Hall|Library|Leisure Centre|Arena|Opera House|Stadium)",
            "St {saint}'s (Church|Church Hall|Hospital|Hall)",
            place=place,
            saint=person,
        ),
    ),
)
employer = mixed(
    (34, forms("{name} {employer_types}", name=mixed((2, family), (2, coined_brand), (1, place)))),
    (14, forms("{name} (&|and) {other}", "{name} & (Sons|Co|Partners|Daughters|Brothers)", name=family, other=family)),
    (
        16,
        mixed((1, coined_brand), (1, forms("{name}(ex|tec|soft|corp|ware|lab|net|ia|on|ix|mark)", name=coined_brand))),
    ),
    (
        18,
        forms(
            "{place} (Council|University|Hospital|Library|Airport|Zoo|Museum|Water Board|Health Centre|Bus Company"
            "|Police)",
            "the (University|Port|City) of {place}",
            "the {place} (Gazette|Herald|Times|Observer|Courier)",
            place=place,
        ),
    ),
    (8, changed(forms("{adjectives} {nouns} {employer_types}", "{colours} {nouns} {employer_types}"), "title")),
    (6, listed("brands")),
    (4, venue),
)
school = mixed(
    (
        30,
        forms(
            "{name} (Primary|Primary School|High School|Academy|Grammar|Secondary|School|College|Elementary|Middle"
            " School"
            "|Nursery|Infants|Junior School|Sixth Form|Community College)",
            name=mixed((2, place), (1, listed("street_names")), (1, family)),
        ),
    ),
    (10, forms("St {name}'s", "St {name}'s (School|Primary|College|Academy)", name=person)),
    (
        15,
        forms(
            "the University of {place}",
            "{place} University",
            "{place} (Tech|Polytechnic|Art School|Conservatory|Business School)",
            place=place,
        ),
    ),
    (
        10,
        forms(
            "(Lycée|Collège|Gymnasium|Liceo|Colegio|Escola|Institut) {name}",
            "{name}(schule|gymnasium|skolan|skole)",
            name=mixed((1, coined_place), (1, coined_family)),
        ),
    ),
    (6, forms("{one} {two} (School|High|College|Primary)", one=person, two=family)),
)

_box = forms(
    "{containers}",
    "(big|blue|brown|green|grey|little|old|red|small|white|wooden|yellow|black|metal|plastic|other) {containers}",
    "(wooden|metal|plastic|leather|canvas|tin|glass|cardboard|wicker|striped|spare|locked|empty|broken) {containers}",
)
_top = forms("{surfaces}", "{surfaces}", "(blue|brown|green|old|red|white|wooden|big|little) {surfaces}")
_in_room = forms("(in|) the {house_rooms}")
spot = mixed(
    (30, forms("in the {box}", "inside the {box}", "in (the|{who}'s) {box}", box=_box, who=person)),
    (22, forms("(on|under|behind|next to|beside|by) the {top}", "on top of the {top}", top=_top)),
    (
        14,
        forms(
            "in the {house_rooms}",
            "in (Mum|Dad|Grandma|{person})'s (room|car|office|house|bag|garage|kitchen|shed)",
            person=person,
        ),
    ),
    (
        18,
        forms(
            "(in|behind|under|next to) the {box} in the {house_rooms}",
            "(on|under|behind) the {top} in the {house_rooms}",
            box=_box,
            top=_top,
        ),
    ),
    (
        8,
        forms(
            "on the (top|second|third|bottom|middle) shelf (in the {house_rooms}|of the wardrobe|of the bookcase|by"
            " the door|)",
            "on a (hook|nail|shelf) (in|by) the {house_rooms}",
            "in the (top|second|third|bottom|left|right) drawer (of the {surfaces}|)",
        ),
    ),
    (
        8,
        forms(
            "between the {surfaces} and the {two}", "(next to|behind|under|near) the {things}", two=listed("surfaces")
        ),
    ),
    (
        6,
        forms(
            "at {who}'s (place|house|flat)",
            "at the (back|front|bottom) of the {containers}",
            "with {who}",
            "at the {venue_types}",
            who=person,
        ),
    ),
)


def room(rng: Random) -> str:
    """Of a hotel, a hospital, an office: "room 214", "desk B12"."""
    what = one(rng, table("units_rooms"))
    how = rng.random()
    if how < 0.1:
        return (
            f"the {capital(one(rng, table('venue_words')))} Room" if rng.random() < 0.5 else f"the {family(rng)} Room"
        )
    if how < 0.5:
        return f"{what} {digits(one(rng, ('%##', '%##', '%#', '%', '%###')), rng)}"
    return (
        f"{what} {digits(one(rng, ('@%', '@%#', '%@', '%#@', '@-%', '@%##', '%.##', '@', '%#-@', '@@%', '%/%#')), rng)}"
    )


room_of_house = listed("house_rooms")
trip = mixed(
    (70, forms("{trips} to {where}", where=mixed((5, place), (2, country)))),
    (
        12,
        forms(
            "{trip_seasons} (trip to|holiday in|break in|weekend in) {where}",
            "{where} (trip|holiday|weekend|tour)",
            where=place,
        ),
    ),
    (12, forms("{weeks} in {where}", where=mixed((3, place), (1, country)))),
    (6, forms("visit to {who}'s", "{trips} (with|to see) {who}", who=person)),
)
