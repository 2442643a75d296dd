"""What people own and give, and what it is made of."""

from __future__ import annotations

from rxt.tasks.open.values.coin import coined_brand, coined_word
from rxt.tasks.open.values.people import person
from rxt.tasks.open.values.pick import a, forms, listed, mixed, number
from rxt.tasks.open.values.places import place

colour = mixed(
    (55, listed("colours")),
    (30, forms("{colour_modifiers} {colour_bases}", "(light|dark|pale|bright|soft|deep|dusty|dull) {colours}")),
    (15, forms("{colour_bases} and {colour_bases}", "{flavours} (red|green|yellow|brown|pink|purple|white|orange)")),
)
material = mixed(
    (60, listed("materials")),
    (30, forms("{material_modifiers} {materials}")),
    (10, forms("{materials} and {materials}", "{colours} {materials}")),
)
thing = mixed(
    (40, listed("things")),
    (35, forms("{thing_adjectives} {things}")),
    (
        10,
        forms(
            "{colours} {things}",
            "{materials} (box|chair|bowl|ring|bag|belt|lamp|tray|comb|cup|spoon|hat|bracelet|bench)",
        ),
    ),
    (10, forms("{who}'s {things}", "{instruments}", "{gifts}", who=person)),
    (5, forms("{brand} {things}", brand=mixed((1, listed("brands")), (1, coined_brand)))),
)
object_ = mixed(
    (30, a(listed("gifts"))),
    (
        40,
        a(
            forms(
                "{thing_adjectives} {gifts}",
                "{materials} {keepsakes}",
                "{colours} (scarf|hat|vase|bag|mug|teapot|lamp|cushion|rug|shawl|tie|kite)",
                "(hand-made|home-made|antique|personalised|miniature|funny) {gifts}",
            )
        ),
    ),
    (
        16,
        a(
            forms(
                "book about {topics}",
                "(book|record|film|card) by {who}",
                "(jar|box|bag|tin|basket) of {foods}",
                "{flavours} (candle|soap|cake)",
                "(map|print|photo|painting) of {place}",
                "(subscription|ticket|voucher) (to|for) (the opera|the zoo|a {event_topics} class|a massage)",
                who=person,
                place=place,
            )
        ),
    ),
    (
        14,
        forms(
            "a pair of {colours} (gloves|socks|slippers|earrings|boots|trainers)",
            "a set of {materials} (spoons|bowls|knives|coasters|cups)",
            "two (tickets to {place}|{plurals} made of {materials}|{flavours} candles)",
            "some {flavours} (soap|tea|chocolates|bath salts)",
            place=place,
        ),
    ),
)
brand = mixed(
    (45, listed("brands")), (50, coined_brand), (5, forms("{one} & {two}", one=coined_brand, two=coined_brand))
)
vehicle = mixed(
    (25, forms("{colours} {make}", make=mixed((4, listed("car_makes")), (1, coined_brand)))),
    (
        15,
        forms("(old|little|second-hand|battered|electric|vintage|silver|big|tiny|new|rusty|hired|shared) {car_makes}"),
    ),
    (20, forms("{car_makes} {vehicle_types}", "{car_makes}", "{colours} {car_makes} {vehicle_types}")),
    (
        40,
        forms(
            "{vehicle_types}",
            "{colours} {vehicle_types}",
            "(old|red|electric|hired|folding|second-hand|rusty|new) {vehicle_types}",
        ),
    ),
)
appliance = mixed(
    (
        12,
        forms(
            "(Bosch|Siemens|Philips|Miele|Beko|Kenwood|Braun|LG|Samsung|{brand}|{brand}) {appliances}",
            brand=coined_brand,
        ),
    ),
    (55, listed("appliances")),
    (40, forms("(old|new|big|little|upstairs|downstairs|kitchen|office|garage|spare|white|neighbour's) {appliances}")),
)
account = mixed(
    (
        60,
        forms(
            "{account_services} account",
            "{account_services} account",
            "(home|office|guest|hotel|flat|school|library|café|garage|new|old|upstairs) wifi",
            "{account_services} (login|app|website|portal)",
        ),
    ),
    (25, forms("{name} account", name=mixed((2, coined_brand), (1, listed("brands"))))),
    (15, forms("{word} (wifi|app|forum|account|site)", word=coined_word)),
)
size = mixed(
    (30, forms("{n}", "size {n}", n=number(2, 52))),
    (12, forms("{n}.5", "size {n}.5", n=number(3, 12))),
    (10, forms("(UK|US|EU) {n}", "(UK|US) size {n}", n=number(4, 46))),
    (
        30,
        forms(
            "(small|medium|large|extra small|extra large|petite|one size|tall|XS|S|M|L|XL|XXL|3XL|4XL|double|single"
            "|king size)",
            "(child's|men's|women's|kids'|tall|slim|junior) (small|medium|large|extra large)",
            "(between|) (small|medium) (and|or) (medium|large)",
            "(A2|A3|A4|A5|A6|age 3-4|age 5-6|age 7-8|age 9-10|age 11-12|age 12-13)",
        ),
    ),
    (10, forms("{n} by {m} cm", "{n} x {m}", n=number(20, 200, 10), m=number(30, 240, 30))),
    (8, forms("{n} (waist|collar|inches|cm)", "{n}/{m}", n=number(26, 60), m=number(28, 36, 2))),
)
