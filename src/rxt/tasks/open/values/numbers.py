"""Numbers with and without a unit, and codes."""

from __future__ import annotations

from random import Random

from rxt.tasks.open.values.pick import digits, figures, forms, mixed, number, one, table, whole

_WORDS = (
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
)


def count(rng: Random) -> str:
    """A number of things: "17", "four"."""
    how = rng.random()
    if how < 0.4:
        return one(rng, _WORDS) if rng.random() < 0.55 else one(rng, _WORDS[:8])
    if how < 0.75:
        return str(whole(rng, 2, 30))
    return str(whole(rng, 31, 150)) if how < 0.95 else str(10 * whole(rng, 16, 60))


def age(rng: Random) -> str:
    return str(whole(rng, 3, 60) if rng.random() < 0.75 else whole(rng, 61, 99))


def any_number(rng: Random) -> str:
    """Any figure: "8", "4 215", "0.75"."""
    how = rng.random()
    if how < 0.6:
        return digits(one(rng, ("%#", "%##", "%##", "%###", "%####", "%")), rng)
    if how < 0.8:
        return digits(one(rng, ("%,###", "%#,###", "%##,###", "%#.#", "%.#", "0.##", "%##.#")), rng)
    return digits(one(rng, ("%#####", "%##%", "%%", "%0", "%00", "%,#00", "%#%#%")), rng)


_MONEY = (
    "euros",
    "euros",
    "pounds",
    "pounds",
    "dollars",
    "dollars",
    "francs",
    "kronor",
    "zloty",
    "rupees",
    "yen",
    "dirhams",
    "pesos",
    "lira",
    "rand",
    "shekels",
    "quid",
    "bucks",
    "crowns",
    "forint",
    "lei",
    "naira",
    "won",
    "reais",
    "kroner",
)


def price(rng: Random) -> str:
    """ "38 euros", "£12.50", "1,250 dollars"."""
    how = rng.random()
    amount = digits(one(rng, ("%", "%#", "%#", "%#", "%##", "%##", "%,###", "%#0", "%00", "%#,#00")), rng)
    if how < 0.5:
        return f"{amount if amount != '1' else '2'} {one(rng, _MONEY)}"
    cents = one(rng, ("", "", ".50", ".99", ".20", ".75", ".80", digits(".##", rng))) if len(amount) < 4 else ""
    if how < 0.85:
        return f"{one(rng, ('£', '€', '$', '£', '€', '$', '¥', '₹', 'A$'))}{amount}{cents}"
    return f"{amount}{cents}{one(rng, ('€', ' €', ' EUR', ' CHF', ' PLN', ' kr', ' USD', ' GBP', ' SEK'))}"


_CODES = (
    *(
        "####",
        "####",
        "####",
        "####",
        "####",
        "######",
        "######",
        "#####",
        "###",
        "########",
        "###-###",
        "## ## ##",
        "#### ####",
    ),
    *(
        "@@####",
        "@###",
        "@@@###",
        "@@-####",
        "@@-####-@",
        "@###-##",
        "####@",
        "##@@##",
        "@@@@##",
        "@#@#@#",
        "@@@-###",
        "@@@ ###",
    ),
    *(
        "@-###",
        "@@##-@@##",
        "####-@@",
        "@@@@@@",
        "@@@@",
        "@#@-#@#",
        "##-###-@",
        "@@/####",
        "#@##",
        "@@@#@#",
        "@@##@@",
        "@@ ## ##",
    ),
    *(
        "####*",
        "*####",
        "#%#%#%",
        "####-####",
        "@@@#####",
        "@######",
        "%###-@",
        "@@.###",
        "@@#-@#",
        "#-####",
        "###.###.###",
    ),
)
_MIXED = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def code(rng: Random) -> str:
    """A PIN, an order or booking code: "4471", "QX-7719-B"."""
    how = rng.random()
    if how < 0.78:
        return digits(one(rng, _CODES), rng)
    if how < 0.9:
        return "".join(one(rng, _MIXED) for _ in range(whole(rng, 5, 8)))
    if how < 0.95:
        return one(rng, table("nouns")) + digits(one(rng, ("##", "####", "-##", "_%")), rng)
    return one(rng, ("INV", "ORD", "REF", "BK", "PNR", "TKT", "RMA", "ID", "CASE", "LOT")) + digits(
        one(rng, ("-####", "#####", " ####", "-##-##")), rng
    )


phone = figures(
    *(
        "07### ######",
        "07###-######",
        "07#########",
        "+44 7### ######",
        "0## #### ####",
        "0#### ######",
        "01## ### ####",
    ),
    *("+49 1## #######", "01## #######", "0## / ### ## ##", "030 #######", "0## ### ## ##", "+41 7# ### ## ##"),
    *(
        "06 ## ## ## ##",
        "+33 6 ## ## ## ##",
        "01 ## ## ## ##",
        "6## ### ###",
        "+34 6## ## ## ##",
        "9## ### ###",
        "3## ### ####",
    ),
    *(
        "+39 3## #######",
        "+48 ### ### ###",
        "### ### ###",
        "+420 ### ### ###",
        "07## ### ###",
        "+40 7## ### ###",
        "06-########",
    ),
    *(
        "+31 6 ########",
        "04## ## ## ##",
        "04## ### ###",
        "+61 4## ### ###",
        "070-### ## ##",
        "+46 70 ### ## ##",
        "### ## ###",
        "## ## ## ##",
    ),
    *(
        "+45 ## ## ## ##",
        "+47 ### ## ###",
        "(%##) ###-####",
        "%##-###-####",
        "%##.###.####",
        "+1 %## ### ####",
        "555-####",
        "###-####",
    ),
    *(
        "9#### #####",
        "+91 9#### #####",
        "080-####-####",
        "+81 90 #### ####",
        "010-####-####",
        "+82 10 #### ####",
        "138 #### ####",
    ),
    *(
        "(11) 9####-####",
        "+55 21 9####-####",
        "+254 7## ######",
        "0803 ### ####",
        "+27 8# ### ####",
        "+20 10 #### ####",
        "05## ### ## ##",
    ),
    *(
        "021 ### ####",
        "+64 21 ### ###",
        "+353 8# ### ####",
        "08# ### ####",
        "+351 9## ### ###",
        "69# ### ####",
        "+7 9## ###-##-##",
        "### ####",
    ),
)


def score(rng: Random) -> str:
    """ "3-1", "21-17", "6-4 7-5"."""
    how = rng.random()
    sign = one(rng, ("-", "-", "-", "-", ":", " to ", " all"))
    if how < 0.35:
        first = whole(rng, 0, 8)
        return f"{first}{sign}" if sign == " all" else f"{first}{sign}{whole(rng, 0, 8)}"
    sign = sign if sign != " all" else "-"
    if how < 0.55:
        return f"{whole(rng, 9, 35)}{sign}{whole(rng, 3, 40)}"
    if how < 0.72:
        return f"{whole(rng, 40, 130)}{sign}{whole(rng, 38, 130)}"
    if how < 0.88:
        sets = ("6-0", "6-1", "6-2", "6-3", "6-4", "7-5", "7-6", "4-6", "3-6", "5-7", "2-6", "1-6")
        return (
            ", ".join(one(rng, sets) for _ in range(whole(rng, 2, 3)))
            if how < 0.82
            else f"{one(rng, sets)} {one(rng, sets)}"
        )
    return (
        f"{whole(rng, 3, 99)} {one(rng, ('points', 'out of 100', 'per cent'))}"
        if how < 0.95
        else f"{whole(rng, 3, 20)} out of 20"
    )


distance = mixed(
    (50, forms("{n} (km|kilometres|miles|km|metres|m|yards)", n=mixed((3, number(2, 99)), (1, number(100, 990, 10))))),
    (25, forms("{n}.{d} (km|miles|kilometres)", n=number(1, 49), d=number(1, 9))),
    (15, forms("{n} (km|miles|metres|kilometres)", n=mixed((1, number(100, 950)), (1, number(1000, 9950, 50))))),
    (
        10,
        forms(
            "(two|three|four|five|six|seven|ten|twelve|twenty|half a|a hundred|fifteen) (stops|blocks|streets|bus"
            " stops|kilometres|miles)",
            "{n}(km|m)",
            n=number(2, 80),
        ),
    ),
)
weight = mixed(
    (40, forms("{n} (kilos|kg|kilos|pounds|lbs)", n=number(2, 140))),
    (25, forms("{n}.{d} (kilos|kg|tonnes)", n=number(1, 99), d=number(1, 9))),
    (15, forms("{n} (grams|g|grammes)", n=mixed((2, number(20, 950, 5)), (1, number(3, 99))))),
    (10, forms("{n} stone {d}", "{n} stone", n=number(7, 22), d=number(1, 13))),
    (
        10,
        forms(
            "{n} ounces",
            "{n} tonnes",
            "half a (kilo|pound|tonne)",
            "a (kilo|pound) and a half",
            "{n}kg",
            n=number(2, 60),
        ),
    ),
)
temperature = mixed(
    (40, forms("{n} degrees", "{n}°C", "{n} degrees Celsius", n=mixed((4, number(1, 42)), (1, number(-25, 0))))),
    (20, forms("{n}.{d} degrees", "{n}.{d}°C", "{n}.{d}", n=number(35, 40), d=number(0, 9))),
    (20, forms("minus {n}", "{n} below", "minus {n} degrees", n=number(1, 30))),
    (20, forms("{n} Fahrenheit", "{n}°F", n=number(10, 110))),
    (15, forms("{n} degrees", "{n}°C", n=number(50, 250, 5))),
)
