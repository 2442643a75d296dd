"""The kinds of values by name. A value is written as in the middle of a careful sentence.

==============  ====================  ==============  ====================  ==============  ====================
kind            such as               kind            such as               kind            such as
==============  ====================  ==============  ====================  ==============  ====================
person          Ilse                  food            lentil soup           duration        three weeks
full_name       Ilse Marković         drink           iced tea              frequency       twice a day
nickname        Bobo                  title           The Salt Road         count           seventeen
pet             Biscuit               artist          The Paper Kites       age             34
animal          border collie         thing           blue umbrella         price           38 euros
plant           peace lily            object          a wooden puzzle       code            QX-7719-B
place           Tarvisio              spot            under the sofa        phone           07700 900 123
country         Norway                vehicle         grey Skoda            email           ilse@mail.org
street          Lindenweg             brand           Velorn                username        otter_88
address         14 Maple Row          colour          pale green            room            desk B12
venue           Café Orlando          material        oak                   number          4215
employer        Marsh & Sons          size            size 43               score           3-1
school          St Anne's             event           choir rehearsal       distance        12 km
job             beekeeper             day             on Thursday           weight          71 kilos
hobby           collecting stamps     date            14 March              temperature     38.2 degrees
sport           badminton             time            half past nine        errand          buy stamps
instrument      cello                 when            on Friday at 14:30    goal            learn to sail
language        Welsh                 month           March                 reason          the roof leaks
subject         marine biology        year            1987                  trait           stubborn
genre           bluegrass             ailment         migraines             medicine        ibuprofen
team            the Otters            phrase          the smell of hay      word            plimsoll
appliance       dishwasher            room_of_house   kitchen               account         library account
task            essay on bees         dish            lasagne               trip            trip to Norway
project         shed
==============  ====================  ==============  ====================  ==============  ====================
"""

from __future__ import annotations

from rxt.tasks.open.values import Draw, Kind, life, numbers, people, places, plans, things, times, words

_OPEN: dict[str, Draw] = {
    **{"person": people.person, "full_name": people.full_name, "nickname": people.nickname, "pet": people.pet},
    **{"artist": people.artist, "email": people.email, "username": people.username, "trait": people.trait},
    **{"ailment": people.ailment, "medicine": people.medicine},
    **{"place": places.place, "country": places.country, "street": places.street, "address": places.address},
    **{"venue": places.venue, "employer": places.employer, "school": places.school, "spot": places.spot},
    **{"room": places.room, "trip": places.trip},
    **{"job": life.job, "hobby": life.hobby, "sport": life.sport, "instrument": life.instrument},
    **{"language": life.language, "subject": life.subject, "genre": life.genre, "team": life.team, "food": life.food},
    **{"dish": life.dish, "drink": life.drink, "title": life.title, "event": plans.event, "task": plans.task},
    **{
        "project": plans.project,
        "animal": life.animal,
        "plant": life.plant,
    },
    **{"thing": things.thing, "object": things.object_, "vehicle": things.vehicle, "brand": things.brand},
    **{"colour": things.colour, "material": things.material, "appliance": things.appliance, "account": things.account},
    **{"date": times.date, "time": times.time, "when": times.when, "duration": times.duration},
    **{"price": numbers.price, "code": numbers.code, "phone": numbers.phone, "number": numbers.any_number},
    **{"score": numbers.score, "distance": numbers.distance, "weight": numbers.weight},
    **{"temperature": numbers.temperature, "size": things.size},
    **{"phrase": words.phrase, "word": words.word},
}
_CLOSED: dict[str, Draw] = {
    **{"day": times.day, "month": times.month, "year": times.year, "frequency": times.frequency},
    **{"count": numbers.count, "age": numbers.age, "room_of_house": places.room_of_house},
}

_CLAUSES: dict[str, Draw] = {"errand": plans.errand, "goal": plans.goal, "reason": plans.reason}

KINDS: dict[str, Kind] = {
    **{name: Kind(draw) for name, draw in _OPEN.items()},
    **{name: Kind(draw, noun=False) for name, draw in _CLAUSES.items()},
    **{name: Kind(draw, closed=True) for name, draw in _CLOSED.items()},
}
"""Every kind of value there is, those that relations are about among them."""
