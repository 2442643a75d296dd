"""What hybrid conversations speak of, and which combinations of it each split may show.

A fixed hash puts every combination of values that a question needs into a split. Training spells nearly every single
value too, so the test is about remembering, working out and calling, not about spelling.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Literal, TypeVar

ValueSplit = Literal["train", "validation", "test"]
Value = TypeVar("Value")
TRIES = 2_000

_TEST_PERCENT = 15
_VALIDATION_PERCENT = 10


def words(text: str) -> tuple[str, ...]:
    """What spaces divide."""
    return tuple(text.split())


def phrases(text: str) -> tuple[str, ...]:
    """What commas divide."""
    return tuple(text.split(", "))


NAMES = words(
    "Ann Bob Ilse Tom Mia Leo Eva Max Zoe Ben Lena Paul Nora Omar Rosa Ivan Clara Hugo Alma Felix Greta Karl Lucy Jan "
    "Nina Otto Petra Ravi Sara Theo Uma Viktor Wanda Yusuf Agnes Boris Carmen Dora Emil Fatima Georg Hanna Igor Julia "
    "Kofi Linda Marta Niko Olga Pedro Rita Simon Tanja Ulla Vera Walter Xenia Yara Zeno Amir"
)
CITIES = words(
    "Graz Oslo Lyon Turin Porto Ghent Basel Riga Leeds Cork Malmo Bergen Krakow Split Varna Seville Dresden Bruges "
    "Tampere Utrecht Lucerne Padua Nantes Bilbao Tallinn Vilnius Salzburg Geneva Antwerp Cardiff Derry Exeter Verona "
    "Aarhus Kiel Ulm Linz Brno Pecs Lodz"
)
THINGS = words(
    "apples pears books stamps coins marbles shirts plates cups candles pencils buttons shells cards keys spoons "
    "records postcards tulips lemons eggs nails boxes chairs ribbons bottles jars hats socks masks stickers beads "
    "walnuts pumpkins onions carrots"
)
OBJECTS = words(
    "lamp chair kettle rug clock vase pillow mirror radio drill ladder suitcase blanket teapot backpack fan stool "
    "basket toaster helmet scarf tent drum flute"
)
ROLES = phrases(
    "dentist, boss, neighbour, landlord, coach, tutor, doctor, lawyer, plumber, barber, cousin, colleague, mechanic, "
    "accountant, piano teacher, tax adviser, flatmate, electrician, best friend, driving instructor"
)
JOBS = words(
    "baker pilot nurse judge farmer singer painter butcher tailor sailor waiter miner chemist gardener clown "
    "translator carpenter librarian"
)
DRINKS = words("tea coffee milk cocoa lemonade cider juice water wine beer soda kefir mate ayran")
EVENTS = words("holiday course festival cruise conference tournament exhibition retreat expedition workshop")
LANGUAGES = words("Finnish Polish Greek Dutch Welsh Turkish Danish Basque Czech Irish Latvian Maltese")
WORDS = words("bread river house window winter friend garden bridge letter mountain")
CURRENCIES = words("dollars pounds yen francs kroner zloty pesos rupees")
UNITS = words("miles feet yards inches furlongs leagues cubits fathoms")
HOTELS = words(
    "Aurora Bellevue Continental Miramar Regent Savoy Plaza Lindenhof Sonne Adler Ritz Astoria Majestic Carlton "
    "Excelsior Metropole Waldhof Seeblick Palace Central Krone Post Belmont Tivoli Windsor Bristol"
)
SHOPS = words(
    "Fennel Pixie Brass Copper Juniper Magpie Nettle Orchid Quill Rowan Saffron Thistle Acorn Barley Clover Ember "
    "Ginger Hazel Indigo Jasmine Kestrel Lantern Maple Nutmeg"
)
TEAMS = words(
    "Otters Falcons Badgers Comets Ravens Wolves Tigers Rockets Herons Bisons Sharks Lynxes Pirates Knights Lions "
    "Eagles Foxes Bears Panthers Giants Storks Vikings Hornets Dolphins"
)
TITLES = phrases(
    "The Salt Road, Blue Hours, Winter Maps, The Glass Bee, Low Tide, Nine Doors, Paper Moon, The Last Fig, "
    "Stone Song, Red Harbour, A Quiet Shore, The Clockmaker, Silver Rain, The Tenth Room, Cold Bread, Far Bells, "
    "The Green Stair, Old Snow, White Lies, The Long Field, Sea Glass, Two Rivers, Night Bus, The Empty Nest"
)
DISHES = words(
    "lasagne goulash paella ramen risotto moussaka borscht curry chili dumplings pancakes falafel ravioli sushi tacos "
    "pizza stew omelette gnocchi fondue kebab porridge quiche polenta"
)
SECRETS = phrases(
    "locker code, door code, bank pin, alarm code, phone pin, safe code, wifi code, gate code, bike code, card pin"
)
MESSAGES = phrases(
    "I am late, dinner is ready, the key is at the door, I need help, the bus is full, I am home, the shop is closed"
)


class NothingLeft(Exception):
    """Everything of a kind has been spoken of already."""


class Draw:
    """What one conversation speaks of: combinations of its split, and nothing twice."""

    def __init__(self, split: ValueSplit, rng: Random) -> None:
        self.split: ValueSplit = split
        self.rng = rng
        self._used: set[str] = set()

    def one(self, values: Sequence[Value]) -> Value:
        """Any of them."""
        return self.rng.choice(values)

    def new(self, values: Sequence[str], count: int) -> tuple[str, ...]:
        """Some that were not spoken of yet; they count as spoken of only by :meth:`use`.

        Raises:
            NothingLeft: there are not so many.
        """
        left = [value for value in values if value not in self._used]
        if len(left) < count:
            raise NothingLeft
        return tuple(self.rng.sample(left, count))

    def use(self, *values: str) -> None:
        """Speak of these, and of them no more in anything new."""
        self._used.update(values)

    def is_new(self, value: str) -> bool:
        """Whether it was not spoken of yet."""
        return value not in self._used

    def fitting(self, kind: str, draw: Callable[[], tuple[Value, ...]], tries: int = TRIES) -> tuple[Value, ...]:
        """A combination that belongs to the split.

        Raises:
            NothingLeft: none was found.
        """
        for _ in range(tries):
            values = draw()
            if split_of(kind, *values) == self.split:
                return values
        raise NothingLeft


def split_of(kind: str, *values: object) -> ValueSplit:
    """The split that owns a combination of values, in whatever order they come."""
    text = "\x1f".join([kind, *sorted(map(str, values))])
    percent = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % 100
    if percent < _TEST_PERCENT:
        return "test"
    return "validation" if percent < _TEST_PERCENT + _VALIDATION_PERCENT else "train"


def number_of(low: int, high: int, *about: object) -> int:
    """A number from ``low`` to ``high`` that is a function of what it is about."""
    text = "\x1f".join(map(str, about))
    return low + int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % (high - low + 1)
