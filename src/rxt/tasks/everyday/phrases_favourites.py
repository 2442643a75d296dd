"""Facts about what somebody likes best. Favourites share most phrasings; each has some of its own."""

from __future__ import annotations

from rxt.tasks.everyday.phrase_types import Kind, Phrases
from rxt.tasks.everyday.values import (
    ANIMALS,
    COLOURS,
    DRINKS,
    FLOWERS,
    FOODS,
    FRUITS,
    SCHOOL_SUBJECTS,
    SPORTS,
)


def _favourite(
    name: str,
    noun: str,
    plural: str,
    values: tuple[str, ...],
    *,
    article: str = "",
    tell: tuple[str, ...] = (),
    ask: tuple[str, ...] = (),
    ack: tuple[str, ...] = (),
) -> Kind:
    value = article + "{v}"

    def fill(templates: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(t.replace("PLURAL", plural).replace("NOUN", noun).replace("{v}", value) for t in templates)

    mine = Phrases(
        topic=f"your favourite {noun}",
        tell=fill(
            (
                "My favourite NOUN is {v}.",
                "Of all PLURAL, I like {v} best.",
                "The NOUN I like most is {v}.",
                "I think {v} is the best NOUN.",
                "My favourite NOUN has always been {v}.",
                "I love {v}, it's my favourite NOUN.",
                "For me, {v} is the best NOUN.",
                "I'd say my favourite NOUN is {v}.",
                "The best NOUN for me is {v}.",
            )
        )
        + tell,
        ask=fill(
            (
                "What is my favourite NOUN?",
                "Which NOUN do I like best?",
                "Do you remember my favourite NOUN?",
                "Do you know my favourite NOUN?",
                "Tell me my favourite NOUN.",
                "What NOUN do I like most?",
                "Which NOUN is my favourite?",
                "Can you tell me my favourite NOUN?",
                "What did I say my favourite NOUN was?",
            )
        )
        + ask,
        answer=fill(
            (
                "Your favourite NOUN is {v}.",
                "You like {v} best.",
                "The NOUN you like most is {v}.",
                "You said your favourite NOUN is {v}.",
                "You told me it's {v}.",
                "I remember, it's {v}.",
                "It's {v}.",
                "Of all PLURAL, you like {v} best.",
            )
        ),
        ack=fill(
            (
                "I like {v} too!",
                "{v} is a great choice.",
                "Oh, {v} is wonderful.",
                "You have good taste!",
                "Why do you like {v}?",
            )
        )
        + ack,
        tell_held_out=fill(
            (
                "If I had to pick one NOUN, it would be {v}.",
                "No NOUN beats {v} for me.",
                "Among PLURAL my number one is {v}.",
            )
        ),
        ask_held_out=fill(
            ("Remind me which NOUN I love most.", "Which NOUN would I pick first?", "Any idea which NOUN I prefer?")
        ),
        change=fill(
            (
                "Actually, my favourite NOUN is {v} now.",
                "My favourite NOUN is {v} now.",
                "I changed my mind, my favourite NOUN is {v}.",
                "I have a new favourite NOUN, it's {v}.",
                "Now I like {v} best of all PLURAL.",
            )
        ),
        change_held_out=fill(("These days I'd pick {v} as my NOUN.", "My number one NOUN has changed to {v}.")),
    )
    theirs = Phrases(
        topic=f"your {{s}}'s favourite {noun}",
        tell=fill(
            (
                "My {s}'s favourite NOUN is {v}.",
                "Of all PLURAL, my {s} likes {v} best.",
                "The NOUN my {s} likes most is {v}.",
                "My {s} thinks {v} is the best NOUN.",
                "The favourite NOUN of my {s} is {v}.",
                "My {s} likes {v} more than any other NOUN.",
                "My {s} says that {v} is the best NOUN.",
                "I know that my {s}'s favourite NOUN is {v}.",
            )
        ),
        ask=fill(
            (
                "What is my {s}'s favourite NOUN?",
                "Which NOUN does my {s} like best?",
                "Do you remember my {s}'s favourite NOUN?",
                "Do you know my {s}'s favourite NOUN?",
                "Tell me my {s}'s favourite NOUN.",
                "What NOUN does my {s} like most?",
                "Can you tell me my {s}'s favourite NOUN?",
                "What is the favourite NOUN of my {s}?",
            )
        ),
        answer=fill(
            (
                "Your {s}'s favourite NOUN is {v}.",
                "Your {s} likes {v} best.",
                "The NOUN your {s} likes most is {v}.",
                "You said your {s}'s favourite NOUN is {v}.",
                "You told me it's {v}.",
                "I remember, it's {v}.",
                "The favourite NOUN of your {s} is {v}.",
                "Of all PLURAL, your {s} likes {v} best.",
            )
        ),
        ack=fill(("{v} is a great choice.", "Your {s} has good taste!", "Oh, {v} is wonderful.", "I like {v} too!")),
        tell_held_out=fill(("If my {s} had to pick one NOUN, it would be {v}.", "No NOUN beats {v} for my {s}.")),
        ask_held_out=fill(("Remind me which NOUN my {s} loves most.", "Which NOUN would my {s} pick first?")),
        change=fill(
            (
                "Actually, my {s}'s favourite NOUN is {v} now.",
                "My {s}'s favourite NOUN is {v} now.",
                "My {s} has a new favourite NOUN, it's {v}.",
                "Now my {s} likes {v} best of all PLURAL.",
            )
        ),
        change_held_out=fill(("These days my {s} would pick {v} as a NOUN.",)),
    )
    return Kind(name, values, mine, theirs)


FOOD = _favourite(
    "food",
    "food",
    "foods",
    FOODS,
    tell=("I could eat {v} every day, it's my favourite food.", "I like to eat {v} more than anything."),
    ask=("What do I like to eat most?",),
    ack=("Now I'm hungry for {v}!", "Enjoy your {v}!", "{v} is delicious."),
)
COLOUR = _favourite(
    "colour",
    "colour",
    "colours",
    COLOURS,
    tell=("I love the colour {v}.", "I like everything that is {v}, my favourite colour."),
    ask=("Which colour do I love?",),
    ack=("{v} is a pretty colour.", "{v} looks nice on everything.", "What a nice colour!"),
)
DRINK = _favourite(
    "drink",
    "drink",
    "drinks",
    DRINKS,
    tell=("I like to drink {v} most of all.", "I could drink {v} all day, it's my favourite drink."),
    ask=("What do I like to drink most?",),
    ack=("Cheers! Enjoy your {v}.", "A glass of {v} sounds good.", "Now I'm thirsty!"),
)
SPORT = _favourite(
    "sport",
    "sport",
    "sports",
    SPORTS,
    tell=("I'm a big fan of {v}, my favourite sport.", "I like to watch {v} more than any other sport."),
    ask=("Which sport am I a fan of?",),
    ack=("{v} is a lot of fun.", "{v} keeps you fit!", "Sport is good for you."),
)
ANIMAL = _favourite(
    "animal",
    "animal",
    "animals",
    ANIMALS,
    article="the ",
    tell=("I find the {v} the most beautiful animal.",),
    ask=("Which animal do I find most beautiful?",),
    ack=("The {v} is a fine animal.", "Animals are wonderful.", "The {v} is so interesting!"),
)
FRUIT = _favourite(
    "fruit",
    "fruit",
    "fruits",
    FRUITS,
    tell=("I like the taste of {v} more than any other fruit.",),
    ask=("What fruit do I like to eat most?",),
    ack=("Fruit is healthy!", "A sweet {v} is lovely.", "{v} tastes great in summer."),
)
FLOWER = _favourite(
    "flower",
    "flower",
    "flowers",
    FLOWERS,
    article="the ",
    tell=("I find the {v} the prettiest flower.",),
    ask=("Which flower do I find prettiest?",),
    ack=("The {v} is so pretty.", "The {v} smells nice.", "Flowers make me happy."),
)
SCHOOL_SUBJECT = _favourite(
    "school subject",
    "subject at school",
    "subjects at school",
    SCHOOL_SUBJECTS,
    tell=("I like {v} lessons best at school.",),
    ask=("Which lessons do I like best at school?",),
    ack=("{v} is really interesting.", "{v} is useful in life.", "School was fun, I guess."),
)

FAVOURITE_KINDS = (FOOD, COLOUR, DRINK, SPORT, ANIMAL, FRUIT, FLOWER, SCHOOL_SUBJECT)
