"""Plans a conversation: which scenes are told, changed, added to and asked about when. The words come from ``words``.

A conversation is a pure function of (split, turns, seed, index, config). Scenes and values of the splits are disjoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from rxt.data.records import Conversation, Interaction
from rxt.errors import UserError
from rxt.tasks.base import Split
from rxt.tasks.open.scoring import names
from rxt.tasks.open.talks import NEXT, Question
from rxt.tasks.open.typists import CAREFUL, some_typist
from rxt.tasks.open.values import ValueSplit, core, draw
from rxt.tasks.scenes.config import ScenesConfig
from rxt.tasks.scenes.known import Known
from rxt.tasks.scenes.scene import Addition, Ask, Change, Scene, kind_of, places_of, scenes
from rxt.tasks.scenes.words import Words, filled
from rxt.tasks.seeds import seeded

T = TypeVar("T")
USUAL = ScenesConfig()
MOST_BEFORE = 3
"""Turns before the scene that a probe asks about, at most."""
_CHANGED = 4
"""So much rather what changed is asked for: it is a small part of what was told."""
_TRIES = 12


@dataclass(frozen=True)
class ScenesConversation:
    """A conversation and what it asks."""

    conversation: Conversation
    questions: tuple[Question, ...]


class Writer:
    """Writes one conversation turn by turn."""

    def __init__(self, split: Split, purpose: str, turns: int, seed: int, index: int, config: ScenesConfig) -> None:
        """``turns`` is how many the conversation will have."""
        self.rng = seeded("scenes", purpose, split, seed, index, turns)
        self.split: ValueSplit = "test" if split == "test-unseen-phrasings" else split
        self.config, self.turns = config, turns
        self.words = Words(self.rng, some_typist(self.rng) if config.surface else CAREFUL)
        self.taken: set[str] = set()
        self.known: dict[Scene, Known] = {}
        self.reserved: Scene | None = None
        """Neither changed, added to nor asked about by the way."""
        self.spoken: tuple[int, Scene | None] = (-1, None)
        """The newest turn that spoke of a scene, and which."""
        self.asked: Counter[Ask] = Counter()
        self.interactions: list[Interaction] = []
        self.questions: list[Question] = []

    @property
    def turn(self) -> int:
        return len(self.interactions)

    def finish(self) -> ScenesConversation:
        return ScenesConversation(Conversation(tuple(self.interactions)), tuple(self.questions))

    def move(self, at: float | None = None) -> None:
        """Write one turn: asks, is small talk or tells, as ``at`` (drawn when not given) falls among the rates."""
        at, config = self.rng.random() if at is None else at, self.config
        if at < config.question_rate and self._ask_any():
            return
        small = config.question_rate <= at < config.question_rate + config.small_talk_rate
        if small or not self._tell_any():
            self.interactions.append(self.words.small_talk())

    def tell(self, changeable: bool = False) -> Known | None:
        """Tell a scene that was not told; None where none was found that fits."""
        for _ in range(_TRIES):
            scene = self._another(changeable)
            values = None if scene is None else self._drawn(scene.places, {})
            if scene is None or values is None:
                continue
            message = self.words.tell(scene.tell, values, greeting=self.turn == 0)
            said = Interaction(message, self.words.answer(scene.replies, values))
            if len(said.query) + len(said.answer) <= self.config.longest:
                self.known[scene] = Known(scene, values, self.turn)
                self._say(said, scene)
                return self.known[scene]
        return None

    def change(self, known: Known, change: Change, follows: bool = False) -> bool:
        """Tell that something of a scene is different now; whether a new value was found.

        Args:
            follows: here and below: in words that only make sense right after, where there are such.
        """
        values = self._drawn((change.new,), known.values)
        if values is None:
            return False
        message = self.words.tell(_ways(change, follows), values, greeting=False)
        self._say(Interaction(message, self.words.answer(change.replies, values)), known.scene)
        changed = {**known.changed, change.old: (self.turn - 1, known.values[change.old])}
        now = {**known.values, change.old: values[change.new]}
        self.known[known.scene] = replace(known, values=now, changed=changed)
        for ask in known.asks:
            if change.old in places_of(ask.part):
                self.asked[ask] = 0
        return True

    def add(self, known: Known, addition: Addition, follows: bool = False) -> bool:
        """Tell more of a scene; whether values were found."""
        new = tuple(place for place in addition.places if place not in known.values)
        values = self._drawn(new, known.values)
        if values is None:
            return False
        message = self.words.tell(_ways(addition, follows), values, greeting=False)
        added = {**known.added, addition.ask: self.turn}
        self._say(Interaction(message, self.words.answer(addition.replies, values)), known.scene)
        self.known[known.scene] = replace(known, values=values, added=added)
        return True

    def ask(self, known: Known, ask: Ask, follows: bool = False) -> None:
        """Ask for a part that was told."""
        right = filled(ask.part, known.values)
        wrong = [value for value in (*known.before(ask), *known.others(ask)) if not names(right, value)]
        bare = follows and bool(ask.follow_ups)
        asked = self.words.ask(_ways(ask, follows), known.values, bare=bare)
        answer = self.words.answer(ask.answers, known.values)
        self._say_asked(known, ask, Interaction(asked, answer), right, tuple(dict.fromkeys(wrong)))

    def check(self, known: Known, ask: Ask) -> bool:
        """Ask whether a part is so, with its value or with another one; False where none was found."""
        way = self.rng.choice(ask.checks)
        (place,) = (each for each in places_of(way) if each in places_of(ask.part))
        so, asked = self.rng.random() < 0.5, known.values
        if not so:
            told = known.unlike(ask, place, self.known.values())
            drawn = {place: self.rng.choice(told)} if told and self.rng.random() < 0.7 else self._drawn((place,), {})
            if drawn is None:
                return False
            asked = {**known.values, **drawn}
        right, wrong = ("yes", "no") if so else ("no", "yes")
        answer = self.words.judged(so, ask.answers, known.values)
        self._say_asked(known, ask, Interaction(self.words.ask((way,), asked, bare=True), answer), right, (wrong,))
        return True

    def ask_never_told(self, of: Known | None = None) -> bool:
        """Ask for what was not told, of a scene that was told or of another one; False where nothing was found.

        Args:
            of: what the turn before spoke of, if it is to be asked about.
        """
        told = [known for known in self.known.values() if known.scene is not self.reserved]
        scene: Scene | None
        if of is not None or (told and self.rng.random() < 0.6):
            known = of or self.rng.choice(told)
            scene, ways, values = known.scene, known.missing(of is not None), known.values
        else:
            scene = self._another()
            ask = None if scene is None else self.rng.choice(scene.asks)
            values = None if scene is None else self._drawn(scene.places, {})
            if ask is None or values is None:
                return False
            ways = ask.ways
        wrong = tuple(value for known in told for value in known.values.values())
        self.questions.append(Question(self.turn, "never told", None, None, wrong=wrong))
        asked = self.words.ask(ways, values, bare=of is not None)
        self._say(Interaction(asked, self.words.unknown()), scene)
        return True

    def one_of(self, known: Known) -> Ask:
        """A part of a scene to ask for, rather one not asked for yet."""
        weights = [(1 + self.asked[ask]) ** -self.config.novelty for ask in known.asks]
        return self.rng.choices(known.asks, weights)[0]

    def _say_asked(self, known: Known, ask: Ask, said: Interaction, right: str, wrong: tuple[str, ...]) -> None:
        self.asked[ask] += 1
        changed = bool(known.before(ask))
        self.questions.append(Question(self.turn, known.scene.title, right, known.told(ask), changed, wrong))
        self._say(said, known.scene)

    def _say(self, said: Interaction, of: Scene | None) -> None:
        self.spoken = (self.turn, of)
        self.interactions.append(said)

    def _followed(self) -> Known | None:
        """What the turn before spoke of, where the next is about it again."""
        turn, scene = self.spoken
        if turn != self.turn - 1 or scene is self.reserved or scene not in self.known:
            return None
        return self.known[scene] if self.rng.random() < self.config.follow_rate else None

    def _ask_any(self) -> bool:
        followed = self._followed()
        if self.rng.random() < self.config.never_told_rate:
            return self.ask_never_told(followed)
        about = self.known.values() if followed is None else [followed]
        askable = [(known, ask) for known in about if known.scene is not self.reserved for ask in known.asks]
        if not askable:
            return False
        weights = [
            max(self.turns - (self.turn - known.told(ask)), 1) ** -self.config.distance_evenness
            * (1 + self.asked[ask]) ** -self.config.novelty * (_CHANGED if known.before(ask) else 1)
            for known, ask in askable
        ]  # fmt: skip
        known, ask = self.rng.choices(askable, weights)[0]
        if not (ask.checks and self.rng.random() < self.config.check_rate and self.check(known, ask)):
            self.ask(known, ask, follows=followed is not None)
        return True

    def _tell_any(self) -> bool:
        at, config = self.rng.random(), self.config
        if at < config.change_rate and self._go_on(lambda known: known.open, self.change):
            return True
        added = config.change_rate <= at < config.change_rate + config.addition_rate
        if added and self._go_on(lambda known: known.more, self.add):
            return True
        return self.tell() is not None

    def _go_on(self, left: Callable[[Known], Sequence[T]], say: Callable[[Known, T, bool], bool]) -> bool:
        """``say`` something of what is ``left`` to say of a scene, rather of the one that the turn before spoke of."""
        followed = self._followed()
        known = self._one_told(followed, lambda each: bool(left(each)))
        return known is not None and say(known, self.rng.choice(left(known)), known is followed)

    def _one_told(self, followed: Known | None, fit: Callable[[Known], bool]) -> Known | None:
        """What the turn before spoke of, or else something that was told, which ``fit``."""
        if followed is not None and fit(followed):
            return followed
        told = [each for each in self.known.values() if each.scene is not self.reserved and fit(each)]
        return self.rng.choice(told) if told else None

    def _another(self, changeable: bool = False) -> Scene | None:
        """A scene that was not told, of a topic that was not, where there are such."""
        topics = {scene.topic for scene in self.known}
        for trial in range(_TRIES):
            scene = self.rng.choice(scenes(self.split))
            fits = scene not in self.known and (bool(scene.changes) or not changeable)
            if fits and (scene.topic not in topics or trial >= _TRIES // 2):
                return scene
        return None

    def _drawn(self, places: tuple[str, ...], values: Mapping[str, str]) -> dict[str, str] | None:
        """``values`` and new ones for ``places``; None where none was found."""
        found = dict(values)
        for place in places:
            value = draw(kind_of(place), self.split, self.rng, self.taken)
            if value is None:
                return None
            self.taken.add(core(value).casefold())
            found[place] = value
        return found


def _ways(of: Ask | Change | Addition, follows: bool) -> tuple[str, ...]:
    """Those that only make sense right after, where it ``follows`` and there are such; else those of any time."""
    return (follows and of.follow_ups) or of.ways


def generate(split: Split, turns: int, seed: int, index: int, config: ScenesConfig = USUAL) -> ScenesConversation:
    """Conversation number ``index`` of ``split``, with ``turns`` interactions; the last asks for what was told.

    Raises:
        UserError: fewer than two turns.
    """
    if turns < 2:
        raise UserError(f"scenes: turns must be at least 2 (one to tell, one to ask), found {turns}")
    writer = Writer(split, "conversation", turns, seed, index, config)
    for turn in range(turns - 1):
        tells = not writer.known and (turn == turns - 2 or writer.rng.random() < 0.8)
        writer.move(1.0 if tells else None)
    if not writer.known:
        return generate(split, turns, seed, index + NEXT, config)
    known = writer.rng.choice(list(writer.known.values()))
    writer.ask(known, writer.one_of(known))
    return writer.finish()


def told(split: Split, distance: int, seed: int, index: int, config: ScenesConfig = USUAL) -> ScenesConversation:
    """The last turn asks for a part of a scene told ``distance`` turns earlier, and not spoken of since."""
    writer = _begun(split, "retention", distance, seed, index, config)
    target = writer.tell()
    if target is None:
        return told(split, distance, seed, index + NEXT, config)
    return _asked(writer, target, target.turn + distance)


def changed(split: Split, distance: int, seed: int, index: int, config: ScenesConfig = USUAL) -> ScenesConversation:
    """As :func:`told`, for a part that changed ``distance`` turns earlier; the right answer is the newest."""
    writer = _begun(split, "changed", distance, seed, index, config)
    target = writer.tell(changeable=True)
    if target is None or not _asked_for(target):
        return changed(split, distance, seed, index + NEXT, config)
    writer.reserved = target.scene
    writer.move()
    change = writer.rng.choice(_asked_for(target))
    if not writer.change(target, change):
        return changed(split, distance, seed, index + NEXT, config)
    target = writer.known[target.scene]
    return _asked(writer, target, writer.turn - 1 + distance, change.old)


def never_told(split: Split, turns: int, seed: int, index: int, config: ScenesConfig = USUAL) -> ScenesConversation:
    """``turns`` ordinary turns, and then a question about something that was not told."""
    writer = _begun(split, "never told", turns, seed, index, config, before=0)
    writer.move(1.0)
    while writer.turn < turns:
        writer.move()
    if not writer.ask_never_told():
        return never_told(split, turns, seed, index + NEXT, config)
    return writer.finish()


def _begun(
    split: Split, purpose: str, distance: int, seed: int, index: int, config: ScenesConfig, before: int = MOST_BEFORE
) -> Writer:
    if distance < 1:
        raise UserError(f"scenes: distance must be at least 1, found {distance}")
    writer = Writer(split, purpose, distance + before + 2, seed, index, config)
    for _ in range(writer.rng.randint(0, before)):
        writer.move()
    return writer


def _asked(writer: Writer, target: Known, turn: int, place: str | None = None) -> ScenesConversation:
    """Ordinary turns until ``turn``, which asks for a part of the scene: one with the value of ``place``."""
    writer.reserved = target.scene
    while writer.turn < turn:
        writer.move()
    asks = [ask for ask in target.scene.asks if place is None or place in places_of(ask.part)]
    writer.ask(target, writer.rng.choice(asks))
    return writer.finish()


def _asked_for(known: Known) -> list[Change]:
    """The changes of what a question asks for."""
    asked = {place for ask in known.scene.asks for place in places_of(ask.part)}
    return [change for change in known.scene.changes if change.old in asked]
