"""What people do, like, plan and put off: jobs, hobbies, food, books, errands, events."""

from __future__ import annotations

from rxt.tasks.open.values.coin import coined_place, coined_word
from rxt.tasks.open.values.people import family, person
from rxt.tasks.open.values.pick import animals, changed, forms, listed, mixed, one, table
from rxt.tasks.open.values.places import place

job = mixed(
    (50, listed("jobs")),
    (28, forms("{job_fields} {job_heads}")),
    (12, forms("{job_prefixes} {jobs}", "{job_prefixes} {job_fields} {job_heads}")),
    (
        10,
        forms(
            "{makes} maker",
            "{things} (designer|repairer|seller)",
            makes=lambda rng: _singular(one(rng, table("makeables"))),
        ),
    ),
)


def _singular(noun: str) -> str:
    """ "baskets" -> "basket"; what does not end in s stays."""
    first = noun.split(" ")[0] if " and " in noun else noun
    if first.endswith("ss") or not first.endswith("s"):
        return first
    if first.endswith("ies"):
        return "fly" if first.endswith("flies") else first[:-1]
    return first[:-3] + "fe" if first == "knives" else first[:-1]


hobby = mixed(
    (50, listed("hobbies")),
    (
        12,
        forms(
            "collecting {collectables}",
            "collecting (old|tiny|foreign|antique|broken|Japanese|wooden|hand-made|novelty|miniature|painted|rare)"
            " {collectables}",
            "restoring {collectables}",
            "(trading|swapping|photographing) {collectables}",
        ),
    ),
    (8, forms("making {makeables}", "building (tiny|model|miniature|) {makeables}")),
    (
        8,
        forms(
            "playing (the |){instruments}",
            "playing (tennis|football|squash|cricket|chess|golf|hockey|padel|pool|cards|dominoes) (with friends|on"
            " Sundays|in the park|online)",
        ),
    ),
    (7, forms("(cooking|making) {foods}", "baking {flavours} (cakes|bread|biscuits|pies|muffins|buns|tarts)")),
    (
        6,
        forms(
            "learning {languages}",
            "reading about {topics}",
            "(studying|photographing|sketching|cataloguing) {studies}",
            "reading {genres} novels",
            "listening to {genres}",
        ),
    ),
    (
        5,
        forms(
            "growing {growables}",
            "painting {beasts}",
            "watching {beasts}",
            "drawing {plural}",
            plural=listed("plurals"),
            beasts=animals,
        ),
    ),
)
sport = mixed(
    (60, listed("sports")),
    (
        25,
        forms(
            "(indoor|beach|street|five-a-side|wheelchair|underwater|women's|junior|amateur|competitive|walking"
            "|mixed) {sports}"
        ),
    ),
    (15, forms("{place}(-style|) {sport_heads}", place=coined_place)),
)
instrument = mixed(
    (58, listed("instruments")),
    (
        27,
        forms(
            "(bass|alto|tenor|soprano|electric|baroque|Irish|Turkish|toy|left-handed|jazz|twelve-string|wooden)"
            " {instruments}",
            "(Spanish|Cuban|Bulgarian|Persian|Scottish|contrabass|pocket|silent|antique|half-size) {instruments}",
        ),
    ),
    (15, forms("{word}", "{word} (flute|drum|lute|harp|horn|pipes)", word=coined_word)),
)
language = mixed(
    (75, listed("languages")),
    (
        10,
        forms(
            "(Old|Swiss|Brazilian|Egyptian|Moroccan|Canadian|Ancient|Middle|Levantine|Low|Northern|Southern)"
            " {languages}"
        ),
    ),
    (15, forms("{place}(ish|ese|ian|i|)", place=coined_place)),
)
subject = mixed(
    (48, listed("subjects")),
    (20, forms("{subject_modifiers} {subject_bases}")),
    (
        14,
        forms("the history of {topics}", "the (biology|physics|chemistry|economics|psychology|sociology) of {topics}"),
    ),
    (18, forms("{languages} (literature|history|grammar|and {subjects}|translation|)", "{subjects} and {subjects}")),
)
genre = mixed(
    (55, listed("genres")),
    (
        40,
        forms(
            "(old|early|modern|Scandinavian|Japanese|Nigerian|Brazilian|Italian|Polish|German|Korean|French|Turkish"
            "|Irish"
            "|Swedish|Indian|Mexican|acoustic|electronic|experimental|instrumental|symphonic|psychedelic|progressive"
            "|dark"
            "|sixties|seventies|eighties|nineties|underground|vintage|melodic|southern|northern) {genres}"
        ),
    ),
    (5, forms("{word}(core|wave|step|beat|hop)", word=coined_word)),
)
team = mixed(
    (
        40,
        forms("the {x}", x=changed(forms("{plurals}", "{adjectives} {plurals}", "{colours} {plurals}"), "title")),
    ),
    (
        35,
        forms(
            "(the |){place} {animal}",
            "{place} (United|City|Rovers|Athletic|Wanderers|Town|Albion|FC)",
            place=place,
            animal=changed(listed("plurals"), "title"),
        ),
    ),
    (15, forms("(FC|SC|AC|Real|Sporting|Dynamo|Lokomotiv|Racing|Olympique|Athletic|Inter) {place}", place=place)),
    (10, forms("(SV|TSV|IFK|FK|AFC|RC|HC|KS) {place}", "{family}'s (XI|Eleven|Lot|Army)", place=place, family=family)),
)

food = mixed(
    *((45, listed("foods")), (25, forms("{food_modifiers} {food_bases}"))),
    (20, forms("{flavours} {flavour_foods}", "{flavours} and {flavours} {flavour_foods}")),
    (
        10,
        forms(
            "{foods} with {flavours} (sauce|butter|dressing|cream|)",
            "{food_bases} (and|with) {food_bases}",
            "{food_bases} in {flavours} sauce",
        ),
    ),
)
dish = mixed(
    (40, listed("foods")),
    (
        30,
        forms(
            "{food_bases} (curry|pie|stew|soup|bake|casserole|tart|salad|risotto|gratin|pasta|stir-fry|hotpot|kebabs"
            "|goulash)",
            "{food_bases} and {food_bases} (curry|pie|stew|soup|bake|casserole|tart|salad|risotto|gratin|pasta)",
        ),
    ),
    (15, forms("{food_modifiers} {food_bases}")),
    (15, forms("{flavours} {flavour_foods}")),
)
drink = mixed(
    *((50, listed("drinks")), (30, forms("{flavours} {drink_bases}", "{flavours} and {flavours} {drink_bases}"))),
    (
        20,
        forms(
            "(iced|hot|cold|spiced|sparkling|decaf|diet|frozen|strong|weak|sweet|warm|home-made|alcohol-free) {drinks}",
            "{drinks} with (lemon|milk|honey|ice|oat milk|two sugars|ginger|lime|mint|cream|no sugar|cinnamon|soda)",
        ),
    ),
)

_proper = mixed((2, place), (1, person), (1, family))
title = mixed(
    (
        62,
        changed(
            forms(
                "the {adjectives} {nouns}",
                "the {nouns} of {plurals}",
                "the {nouns}'s {nouns}",
                "{adjectives} {plurals}",
                "{plurals} and {plurals}",
                "the {nouns} and the {nouns}",
                "a {nouns} for {name}",
                "the {plurals} of {name}",
                "{nouns} in {name}",
                "the last {nouns}",
                "{name}'s {nouns}",
                "no {nouns} for {plurals}",
                "the {nouns} under the {nouns}",
                "my {adjectives} {nouns}",
                "(three|seven|nine|twelve|forty|a hundred|two) {plurals}",
                "{adjectives} {nouns}",
                "waiting for {name}",
                "goodbye, {name}",
                "(letters|postcards|tales|a train|news) from {name}",
                "return to {name}",
                name=_proper,
            ),
            "title",
        ),
    ),
    (10, forms("{name}", "{name} {family}", name=_proper, family=family)),
    (
        14,
        changed(
            forms(
                "{word}",
                "{word} (rising|II|III|online|quest|falls|nights)",
                "the {word} (chronicles|affair|saga|code|cycle|papers)",
                word=coined_word,
            ),
            "title",
        ),
    ),
    (
        14,
        changed(
            forms(
                "how to (love|catch|lose|paint|draw|steal|forget|find) {plurals}",
                "what the {nouns} (knew|saw|said)",
                "when the {nouns} (sings|sleeps|falls|came)",
                "if {plurals} could (talk|fly|dream)",
                "the day the {nouns} (left|stopped|burned)",
                "where {plurals} (go|sleep|grow)",
                "(don't|never) (feed|wake|trust|follow) the {nouns}",
            ),
            "title",
        ),
    ),
)

animal = mixed(
    (55, listed("animals")),
    (12, forms("{where} {breed_heads}", where=mixed((1, coined_place), (1, listed("places"))))),
    (
        40,
        forms(
            "(black|white|brown|grey|spotted|miniature|giant|rescue|baby|ginger|three-legged|blind|golden|striped"
            "|old) {animals}",
            "(one-eyed|deaf|young|fat|skinny|tame|wild|orphaned|long-haired|short-haired|albino|red|Arctic|dwarf)"
            " {animals}",
        ),
    ),
)
plant = mixed(
    (58, listed("plants")),
    (10, forms("{name}(ia|eria|ula|anthus|wort|weed|lily|fern|moss)", name=coined_word)),
    (
        35,
        forms(
            "(big|little|white|pink|red|yellow|purple|dwarf|potted|climbing|variegated|old|young|trailing|orange)"
            " {plants}",
            "(giant|miniature|blue|wild|Japanese|Chilean|Cape|Alpine|half-dead|indoor|double|weeping|striped"
            "|scented) {plants}",
        ),
    ),
)
