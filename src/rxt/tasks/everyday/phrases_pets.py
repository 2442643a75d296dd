"""Facts about pets. Dog and cat share their phrasings."""

from __future__ import annotations

from rxt.tasks.everyday.phrase_types import Kind, Phrases
from rxt.tasks.everyday.values import CAT_NAMES, DOG_NAMES


def _for(pet: str, templates: tuple[str, ...]) -> tuple[str, ...]:
    """Put ``pet`` for ``PET`` in every template."""
    return tuple(template.replace("PET", pet) for template in templates)


def _pet(pet: str, values: tuple[str, ...], extra_acks: tuple[str, ...]) -> Kind:
    mine = Phrases(
        topic=f"your {pet}'s name",
        tell=_for(
            pet,
            (
                "My PET is called {v}.",
                "I have a PET named {v}.",
                "My PET's name is {v}.",
                "I have a PET called {v}.",
                "We have a PET and its name is {v}.",
                "The name of my PET is {v}.",
                "I own a PET, it's called {v}.",
                "My PET is named {v}.",
                "I call my PET {v}.",
                "I've got a PET called {v}.",
                "We named our PET {v}.",
            ),
        ),
        ask=_for(
            pet,
            (
                "What is my PET called?",
                "What is my PET's name?",
                "Do you remember my PET's name?",
                "Do you know my PET's name?",
                "What is the name of my PET?",
                "Tell me my PET's name.",
                "Can you tell me the name of my PET?",
                "What did I say my PET is called?",
                "What did I name my PET?",
                "How is my PET called?",
            ),
        ),
        answer=_for(
            pet,
            (
                "Your PET is called {v}.",
                "Your PET's name is {v}.",
                "The name of your PET is {v}.",
                "You told me your PET is called {v}.",
                "You said your PET's name is {v}.",
                "Your PET is named {v}.",
                "I remember, your PET is called {v}.",
                "You have a PET called {v}.",
            ),
        ),
        ack=_for(
            pet,
            (
                "{v} is a lovely name for a PET!",
                "{v} sounds like a great PET.",
                "Give {v} a hug from me!",
                "{v}, what a cute name!",
                "I'm sure {v} is adorable.",
                "How old is {v}?",
                "I hope {v} is a happy PET.",
            ),
        )
        + extra_acks,
        tell_held_out=_for(
            pet,
            ("The PET that lives with me is {v}.", "My PET listens to the name {v}.", "At home I have {v}, my PET."),
        ),
        ask_held_out=_for(
            pet, ("Remind me what my PET is called.", "Which name does my PET have?", "What do I call my PET?")
        ),
        change=_for(
            pet,
            (
                "Actually, my PET's name is {v}.",
                "We gave our PET a new name, it's {v} now.",
                "I have a new PET now, called {v}.",
                "Sorry, I meant that my PET is called {v}.",
                "My PET has a new name, it's {v}.",
            ),
        ),
        change_held_out=_for(pet, ("We renamed our PET, now it's {v}.", "From today on my PET listens to {v}.")),
    )
    theirs = Phrases(
        topic=f"the name of your {{s}}'s {pet}",
        tell=_for(
            pet,
            (
                "My {s}'s PET is called {v}.",
                "My {s} has a PET named {v}.",
                "My {s} has a PET called {v}.",
                "The name of my {s}'s PET is {v}.",
                "My {s}'s PET is named {v}.",
                "I like my {s}'s PET, it's called {v}.",
                "My {s} owns a PET called {v}.",
                "My {s} named the PET {v}.",
            ),
        ),
        ask=_for(
            pet,
            (
                "What is my {s}'s PET called?",
                "What is the name of my {s}'s PET?",
                "Do you remember the name of my {s}'s PET?",
                "Do you know the name of my {s}'s PET?",
                "What did my {s} name the PET?",
                "Tell me the name of my {s}'s PET.",
                "Can you tell me what my {s}'s PET is called?",
                "What did I say my {s}'s PET is called?",
            ),
        ),
        answer=_for(
            pet,
            (
                "Your {s}'s PET is called {v}.",
                "The name of your {s}'s PET is {v}.",
                "You told me your {s}'s PET is called {v}.",
                "Your {s} has a PET called {v}.",
                "Your {s}'s PET is named {v}.",
                "You said your {s}'s PET is called {v}.",
                "I remember, your {s}'s PET is called {v}.",
                "Your {s} has a PET named {v}.",
            ),
        ),
        ack=_for(
            pet,
            (
                "{v} is a lovely name for a PET!",
                "{v} sounds like a great PET.",
                "{v}, what a cute name!",
                "I'm sure {v} is adorable.",
            ),
        ),
        tell_held_out=_for(pet, ("The PET that lives with my {s} is {v}.", "My {s}'s PET listens to the name {v}.")),
        ask_held_out=_for(pet, ("Remind me what my {s}'s PET is called.", "Which name does my {s}'s PET have?")),
    )
    return Kind(pet, values, mine, theirs)


DOG = _pet("dog", DOG_NAMES, ("Take {v} for a nice walk!", "Dogs are great, and {v} is a good name."))
CAT = _pet("cat", CAT_NAMES, ("Does {v} like to sleep a lot?", "Cats are great, and {v} is a good name."))


PET_KINDS = (DOG, CAT)
