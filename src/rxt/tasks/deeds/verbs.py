"""What people do: verbs, the kinds of things that they are done to, and what more can be said of them.

A line is the verb's forms (to fix: he fixes, she fixed, fixing), its preposition, the kinds of its object, and the
roles that it has beside the usual ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["object", "who", "where", "when", "with", "why", "count", "price", "from", "to"]
USUAL: tuple[Role, ...] = ("where", "when", "with", "why")


@dataclass(frozen=True)
class Verb:
    """One that people do. ``preposition`` stands before the object: "go **to** Graz"."""

    base: str
    third: str
    past: str
    ing: str
    preposition: str
    objects: tuple[str, ...]
    """Kinds of values; ``many``: a number of things."""
    roles: tuple[Role, ...]


_LINES = """
fix fixes fixed fixing | appliance thing vehicle repairable | price
repair repairs repaired repairing | appliance vehicle repairable many |
mend mends mended mending | repairable thing |
clean cleans cleaned cleaning | appliance vehicle room_of_house tidyable |
paint paints painted painting | project room_of_house repairable |
wash washes washed washing | washable vehicle |
buy buys bought buying | thing object gift vehicle appliance many grocery | price from
order orders ordered ordering | thing object food appliance gift many | price from
sell sells sold selling | thing vehicle appliance many | price to
borrow borrows borrowed borrowing | thing title vehicle gift | from
lend lends lent lending | thing title vehicle gift | to
give gives gave giving | object gift plant many | to
send sends sent sending | object gift many | to
lose loses lost losing | thing many |
find finds found finding | thing object gift many |
break breaks broke breaking | thing appliance repairable |
hide hides hid hiding | thing gift object |
keep keeps kept keeping | thing many |
carry carries carried carrying | thing object many |
wear wears wore wearing | washable |
pack packs packed packing | thing gift washable many |
steal steals stole stealing | thing vehicle many | from
collect collects collected collecting | collectable many |
pick picks picked picking up | fetchable gift grocery |
count counts counted counting | many |
own owns owned owning | many vehicle |
cook cooks cooked cooking | dish food | to
bake bakes baked baking | dish |
make makes made making | dish makeable many | to
eat eats ate eating | dish food grocery |
try tries tried trying | dish food drink sport |
drink drinks drank drinking | drink |
like likes liked liking | dish food drink sport genre artist subject |
love loves loved loving | dish drink title artist place sport |
hate hates hated hating | dish food drink genre sport subject |
read reads read reading | title |
finish finishes finished finishing | title task project |
start starts started starting | title project task |
watch watches watched watching | title sport |
hear hears heard hearing | artist genre |
write writes wrote writing | task title |
study studies studied studying | subject language |
learn learns learned learning | language instrument subject |
teach teaches taught teaching | language subject sport instrument |
speak speaks spoke speaking | language |
play plays played playing | instrument sport |
practise practises practised practising | instrument sport language |
visit visits visited visiting | person place venue school |
call calls called calling | person caller |
meet meets met meeting | person |
see sees saw seeing | person animal title caller |
help helps helped helping | person |
marry marries married marrying | person |
invite invites invited inviting | person |
miss misses missed missing | person event |
move moves moved moving to | place street |
go goes went going to | place country event venue |
fly flies flew flying to | place country |
drive drives drove driving to | place venue |
travel travels travelled travelling to | place country |
cycle cycles cycled cycling to | place venue |
live lives lived living in | place country |
stay stays stayed staying in | place |
work works worked working at | employer venue school |
apply applies applied applying to | employer school |
wait waits waited waiting for | person caller |
look looks looked looking for | thing pet |
talk talks talked talking about | topic title trip |
dream dreams dreamed dreaming of | place animal |
plant plants planted planting | plant growable many |
grow grows grew growing | growable plant many |
water waters watered watering | plant growable |
adopt adopts adopted adopting | animal | from
feed feeds fed feeding | animal pet |
walk walks walked walking | animal pet |
train trains trained training | animal pet |
photograph photographs photographed photographing | animal person venue |
draw draws drew drawing | animal plant |
plan plans planned planning | trip event project |
book books booked booking | trip venue | price
organise organises organised organising | event trip |
cancel cancels cancelled cancelling | event trip |
prepare prepares prepared preparing | event task dish |
join joins joined joining | team |
support supports supported supporting | team |
leave leaves left leaving | employer place |
rent rents rented renting | vehicle appliance | price from
recommend recommends recommended recommending | title venue dish | to
bring brings brought bringing | gift dish grocery many | to
"""


def _verb(line: str) -> Verb:
    forms, objects, roles = (part.split() for part in line.split("|"))
    base, third, past, ing, *preposition = forms
    more: list[Role] = [role for role in ("price", "from", "to") if role in roles]
    return Verb(base, third, past, ing, " ".join(preposition), tuple(objects), (*USUAL, *more))


VERBS = tuple(_verb(line) for line in _LINES.strip().splitlines())
