"""Scenes as they are written, one file of ``texts/`` a topic::

    : flat found
    > we finally found a flat! it's on {street}, {price} a month, and the landlord is called {person}
    > Flat news: {street}. The landlord, a certain {person}, wants {price} a month for it
    < {street}, (lovely|how nice)! / Congratulations on the flat.
    ? what street is the new flat on / where did we find a flat
    ^ and what street
    = *{street}*. / It's on *{street}*.
    ? who's (our|the) landlord / who do we rent from
    = *{person}*. / Your landlord is *{person}*.
    ! is {person} our landlord / we rent from {person}, don't we
    - how many bathrooms does the flat have / what's the code of our garage
    ^ when do we move in
    + the landlord just told us it's {price2} a month now
    ^ ah no, {price2}
    < So it's {price2} now.
    ~ {price} {price2}
    & our new flat has {count} rooms
    ^ it's got {count} rooms btw
    < {count} rooms, how nice.
    ? how many rooms does the flat have
    ^ and how many rooms
    = *{count}*. / The flat has *{count}* rooms.

``>`` ways of telling it, all of which tell everything that is asked for; ``<`` what the model answers; ``?`` ways of
asking for one part, ``=`` the right answers, with the part between stars, and ``!`` ways of asking whether it is so,
each with one of the part's values, for which another may stand; ``-`` what could be asked and was not told; ``+`` ways
of telling that something changed, its answers, and ``~`` which value is now another; ``&`` ways of telling more of the
same, which may come later or never, its answers, and what is asked for then: until it is told, that was not told
either. ``^`` gives ways of asking, changing or adding that only make sense in the turn after one that spoke of the
scene. `` / `` stands between alternatives, ``(a|b|)`` is a choice as in ``rxt.tasks.open.grammar`` (so round brackets
leave no trace), ``{price2}`` another value of the kind ``price`` (``rxt.tasks.open.values.kinds``).
Lines that begin with ``#`` are comments.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import groupby

from rxt.tasks.open.values import Kind, ValueSplit
from rxt.tasks.open.values.kinds import KINDS

PLACE = re.compile(r"\{([a-z_]+)(\d*)\}")
"""Where a value stands: its kind, and a number where there are several."""
PART = re.compile(r"\*([^*]+)\*")
"""What is asked for, in a right answer."""


@dataclass(frozen=True, eq=False)
class Ask:
    """One part of a scene: ways of asking for it, and right answers."""

    ways: tuple[str, ...]
    follow_ups: tuple[str, ...]
    """Ways that only make sense right after the scene was spoken of; here as in the classes below."""
    answers: tuple[str, ...]
    checks: tuple[str, ...]
    """Ways of asking whether it is so."""

    @property
    def part(self) -> str:
        """What a right answer names, with its places for values."""
        found = PART.search(self.answers[0])
        assert found is not None, "answers are checked where they are read"
        return found[1]


@dataclass(frozen=True, eq=False)
class Change:
    """Ways of telling that one value of a scene is another now."""

    ways: tuple[str, ...]
    follow_ups: tuple[str, ...]
    replies: tuple[str, ...]
    old: str
    new: str


@dataclass(frozen=True, eq=False)
class Addition:
    """Ways of telling more of a scene, and what is asked for then."""

    ways: tuple[str, ...]
    follow_ups: tuple[str, ...]
    replies: tuple[str, ...]
    ask: Ask

    @property
    def places(self) -> tuple[str, ...]:
        """The names of the values that stand in every way of telling it, sorted."""
        told = (set(places_of(way)) for way in (*self.ways, *self.follow_ups))
        return tuple(sorted(set.intersection(*told)))


@dataclass(frozen=True, eq=False)
class Scene:
    """Something that a person may tell."""

    title: str
    topic: str
    tell: tuple[str, ...]
    replies: tuple[str, ...]
    asks: tuple[Ask, ...]
    missing: tuple[str, ...]
    """Questions about what was not told."""
    missing_follow_ups: tuple[str, ...]
    changes: tuple[Change, ...]
    additions: tuple[Addition, ...]

    @property
    def places(self) -> tuple[str, ...]:
        """The names of the values that it is told with, such as ``price2``, sorted."""
        told = " ".join(self.tell)
        return tuple(sorted({kind + number for kind, number in PLACE.findall(told)}))


def kind_of(place: str) -> Kind:
    """The kind of the values that stand there: ``price2`` is a price."""
    return KINDS[place.rstrip("0123456789")]


@cache
def scenes(split: ValueSplit) -> tuple[Scene, ...]:
    """The scenes of a split: of 20, 17 are for training, 1 for validation and 2 for the test."""
    files = sorted((resources.files(__package__ or "") / "texts").iterdir(), key=lambda file: file.name)
    found = [scene for file in files for scene in read(file.read_text("utf-8"), file.name.removesuffix(".txt"))]
    return tuple(scene for scene in found if _split_of(scene) == split)


def read(text: str, topic: str) -> list[Scene]:
    """The scenes of a file.

    Raises:
        ValueError: a scene is not written as the module says.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if not line.startswith("#")]
    blocks = [list(block) for filled, block in groupby(lines, key=lambda line: bool(line[1])) if filled]
    return [_scene(block, topic) for block in blocks]


def _scene(lines: list[tuple[int, str]], topic: str) -> Scene:
    marks = "".join(line[0] for _, line in lines)
    where = f"{topic}.txt line {lines[0][0]}"
    if not re.fullmatch(r":>+<+(\?\^*=+!*)+-+\^*(\++\^*<+~)*(&+\^*<+\?\^*=+!*)*", marks):
        raise ValueError(f"{where}: a scene is : > < ? = - and perhaps + < ~, & < ? =, in this order; found {marks}")
    texts = [line[1:].strip() for _, line in lines]
    at, end = 0, len(marks)

    def take(mark: str) -> tuple[str, ...]:
        """All alternatives of the lines with this mark that come next; of ways of telling, a line is one."""
        nonlocal at
        taken: list[str] = []
        while at < end and marks[at] == mark:
            taken += [texts[at]] if mark == ":" else texts[at].split(" / ")
            at += 1
        return tuple(text.strip() for text in taken)

    title, tell, replies = take(":")[0], take(">"), take("<")
    asks, changes, additions = [], [], []
    while at < end and marks[at] == "?":
        asks.append(Ask(take("?"), take("^"), take("="), take("!")))
    missing, missing_follow_ups = take("-"), take("^")
    while at < end and marks[at] == "+":
        ways, follow_ups, answers, (names,) = take("+"), take("^"), take("<"), take("~")
        places = PLACE.findall(names)
        if len(places) != 2:
            raise ValueError(f"{where}: ~ names the value that changed and the new one, found {names!r}")
        changes.append(Change(ways, follow_ups, answers, *(kind + number for kind, number in places)))
    while at < end:
        ways, follow_ups, answers = take("&"), take("^"), take("<")
        additions.append(Addition(ways, follow_ups, answers, Ask(take("?"), take("^"), take("="), take("!"))))
    scene = Scene(
        title, topic, tell, replies, tuple(asks), missing, missing_follow_ups, tuple(changes), tuple(additions)
    )
    if problem := _problem(scene):
        raise ValueError(f"{where}: {title}: {problem}")
    return scene


def _problem(scene: Scene) -> str | None:
    """What is wrong with a scene, if anything is."""
    places = set(scene.places)
    asked = (text for ask in scene.asks for text in (*ask.ways, *ask.follow_ups, *ask.answers, *ask.checks))
    texts = (*scene.replies, *scene.missing, *scene.missing_follow_ups, *asked)
    needed = {*(place for text in texts for place in places_of(text)), *(change.old for change in scene.changes)}
    for tell in scene.tell:
        if missing := sorted((needed & places) - set(places_of(tell))):
            return f"a way of telling leaves out {', '.join(missing)}: {tell}"
    for ask in (*scene.asks, *(addition.ask for addition in scene.additions)):
        parts = {found[1].casefold() for answer in ask.answers if (found := PART.search(answer))}
        if len(parts) != 1 or not all(PART.search(answer) for answer in ask.answers):
            return f"every right answer has the same part between stars: {' / '.join(ask.answers)}"
        for check in ask.checks:
            if sum(place in places_of(ask.part) for place in places_of(check)) != 1:
                return f"exactly one of the values between stars is to be in: {check}"
    known = [(text, places) for text in (*scene.tell, *texts)]
    told = {*places}
    for change in scene.changes:
        if change.old not in told:
            return f"{change.old} changes, which was not told"
        told.add(change.new)
        if leaves_out := [way for way in (*change.ways, *change.follow_ups) if change.new not in places_of(way)]:
            return f"a way of changing leaves out {change.new}: {leaves_out[0]}"
    known += [(text, told) for change in scene.changes for text in (*change.ways, *change.follow_ups, *change.replies)]
    for addition in scene.additions:
        ask, now = addition.ask, {*places, *addition.places}
        told_now = (*addition.ways, *addition.follow_ups, *addition.replies, *ask.answers, *ask.checks)
        known += [(text, places) for text in (*ask.ways, *ask.follow_ups)]
        known += [(text, now) for text in told_now]
    for text, allowed in known:
        if unknown := sorted(set(places_of(text)) - allowed):
            return f"{', '.join(unknown)} was not told: {text}"
        if unknown := sorted(place for place in places_of(text) if place.rstrip("0123456789") not in KINDS):
            return f"there is no kind of value {', '.join(unknown)}"
        if text.count("(") != text.count(")") or re.search(r"[\[\]]", text) or not text:
            return f"brackets do not fit: {text}"
    return None


def places_of(text: str) -> list[str]:
    """The names of the values that stand there."""
    return [kind + number for kind, number in PLACE.findall(text)]


def _split_of(scene: Scene) -> ValueSplit:
    digest = hashlib.blake2b(f"{scene.topic} {scene.title}".encode(), digest_size=8).digest()
    at = int.from_bytes(digest, "big") % 20
    return "train" if at < 17 else "validation" if at == 17 else "test"
