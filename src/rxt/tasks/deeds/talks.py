"""Plans a conversation: which deeds are told, changed and asked for in which turn. The words come from ``words``.

A conversation is a pure function of (split, turns, seed, index, config). The values of the splits are disjoint.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from rxt.data.records import Conversation, Interaction
from rxt.errors import UserError
from rxt.tasks.base import Split
from rxt.tasks.deeds.config import DeedsConfig
from rxt.tasks.deeds.deed import OBJECTS, PLACES, Deed, Part, Tense, article_for
from rxt.tasks.deeds.verbs import VERBS, Role
from rxt.tasks.deeds.words import Words
from rxt.tasks.open.grammar import ME, Pronoun, Subject
from rxt.tasks.open.scoring import names
from rxt.tasks.open.talks import NEXT, RELATIVES, YOU, Question
from rxt.tasks.open.typists import CAREFUL, some_typist
from rxt.tasks.open.values import ValueSplit, core, draw
from rxt.tasks.seeds import seeded

USUAL = DeedsConfig()
MOST_BEFORE = 3
"""Turns before the deed that a probe asks for, at most."""
_PRONOUNS: tuple[Pronoun, ...] = ("she", "he", "they")
_TRIES = 50
_TENSES: tuple[Tense, ...] = ("past", "past", "past", "present", "now", "future", "future")
_WHERE = (("in {where}", "place"), ("at {where}", "venue"), ("in the {where}", "room_of_house"))
_WHEN: dict[Tense, tuple[tuple[str, str], ...]] = {
    "past": (
        *(("{when}", "day"), ("on {when}", "date"), ("in {when}", "month"), ("at {when}", "time")),
        *(("{when}", "when"), ("in {when}", "year")),
    ),
    "present": (("{when}", "frequency"), ("{when}", "day"), ("at {when}", "time")),
    "now": (("since {when}", "time"), ("until {when}", "time")),
    "future": (
        ("{when}", "day"),
        ("on {when}", "date"),
        ("in {when}", "month"),
        ("at {when}", "time"),
        ("{when}", "when"),
    ),
}
_DEFINING: tuple[Role, ...] = ("when", "where", "with")
"""Parts that say which of several deeds is meant."""


@dataclass(frozen=True)
class DeedsConversation:
    """A conversation and what it asks."""

    conversation: Conversation
    questions: tuple[Question, ...]


class Writer:
    """Writes one conversation turn by turn."""

    def __init__(self, split: Split, purpose: str, turns: int, seed: int, index: int, config: DeedsConfig) -> None:
        """``turns`` is how many the conversation will have."""
        self.rng = seeded("deeds", purpose, split, seed, index, turns)
        self.split: ValueSplit = "test" if split == "test-unseen-phrasings" else split
        self.config, self.turns = config, turns
        self.words = Words(self.rng, some_typist(self.rng) if config.surface else CAREFUL)
        self.taken: set[str] = set()
        self.people: list[Subject] = []
        self.deeds: list[Deed] = []
        """As they are now."""
        self.reserved: Deed | None = None
        """Neither changed nor asked for by the way."""
        self.asked: Counter[tuple[str, Role]] = Counter()
        self.spoken_of: Deed | None = None
        """The one deed that the last turn spoke of."""
        self.interactions: list[Interaction] = []
        self.questions: list[Question] = []

    @property
    def turn(self) -> int:
        return len(self.interactions)

    def finish(self) -> DeedsConversation:
        return DeedsConversation(Conversation(tuple(self.interactions)), tuple(self.questions))

    def move(self, at: float | None = None) -> None:
        """Write one turn: asks, is small talk or tells, as ``at`` (drawn when not given) falls among the rates."""
        at, config = self.rng.random() if at is None else at, self.config
        if at < config.question_rate and self._ask_any():
            return
        if config.question_rate <= at < config.question_rate + config.small_talk_rate:
            self._say(self.words.small_talk(), None)
        elif self.rng.random() >= config.change_rate or not self._change_any():
            self.tell()

    def tell(self, most: int = 3) -> Deed:
        """Tell a new deed, or up to ``most`` of them; the first one."""
        count = min(most, 1 if self.rng.random() >= self.config.several_rate else self.rng.choice((2, 2, 3)))
        deeds = [self._new(None)]
        while len(deeds) < count:
            deeds.append(self._new(deeds[-1]))
        self.deeds += deeds
        self._say(self.words.tell(deeds, greeting=self.turn == 0), deeds[0] if count == 1 else None)
        return deeds[0]

    def ask(self, deed: Deed, role: Role) -> None:
        """Ask for a part that was told."""
        also = self._defining(deed, role)
        again = deed is self.spoken_of and also is None and self.rng.random() < self.config.again_rate
        self.asked[deed.object, role] += 1
        right, told = deed.value(role), deed.told(role)
        others = [each.value(role) for each in self.deeds if each is not deed and role in self._roles(each)]
        wrong = () if right == YOU else tuple({each for each in others if each != YOU and not names(right, each)})
        if role in ("who", "with"):
            wrong = tuple(each for each in wrong if not names(deed.object, each))
        self.questions.append(Question(self.turn, deed.verb.base, right, told, told != deed.turn, wrong))
        self._say(self.words.ask(deed, role, known=True, again=again, also=also), deed)

    def one_of(self, deed: Deed) -> Role:
        """A part of a deed to ask for, rather one not asked for yet."""
        roles: list[Role] = [role for role in self._roles(deed) if role != "object" or self._can_tell_apart(deed)]
        weights = [(1 + self.asked[deed.object, role]) ** -3.0 for role in roles]
        return self.rng.choices(roles, weights)[0]

    def can_ask(self, deed: Deed) -> bool:
        """There is something of it that a question can be clear about."""
        return self._can_tell_apart(deed) or len(self._roles(deed)) > 1

    def _ask_any(self) -> bool:
        if self.rng.random() < self.config.never_told_rate:
            return self._ask_never_told()
        known = [deed for deed in self.deeds if deed is not self.reserved and self.can_ask(deed)]
        if not known:
            return False
        weights = [max(self.turns - (self.turn - deed.turn), 1) ** -2.0 for deed in known]
        deed = self.rng.choices(known, weights)[0]
        self.ask(deed, self.one_of(deed))
        return True

    def _ask_never_told(self) -> bool:
        known = [deed for deed in self.deeds if deed is not self.reserved and _missing(deed)]
        deed = self.rng.choice(known) if known and self.rng.random() < 0.6 else self._new(None)
        missing = _missing(deed)
        if not missing:
            return False
        role = self.rng.choice(missing)
        wrong = tuple({each.parts[role].value for each in self.deeds if role in each.parts})
        self.questions.append(Question(self.turn, deed.verb.base, None, None, wrong=wrong))
        again = deed is self.spoken_of and self.rng.random() < self.config.again_rate
        self._say(self.words.ask(deed, role, known=False, again=again), deed if deed in self.deeds else None)
        return True

    def _change_any(self) -> bool:
        known = [deed for deed in self.deeds if deed is not self.reserved and deed.parts and deed.turn < self.turn]
        if not known:
            return False
        deed = self.spoken_of if self.spoken_of in known and self.rng.random() < 0.5 else self.rng.choice(known)
        assert deed is not None
        role = self.rng.choice(list(deed.parts))
        part = self._part(role, deed.tense)
        if part is None:
            return False
        new = replace(deed, parts={**deed.parts, role: replace(part, changed=self.turn)})
        self.deeds[self.deeds.index(deed)] = new
        self._say(self.words.change(new, role, deed is self.spoken_of), new)
        return True

    def _new(self, like: Deed | None) -> Deed:
        """A deed that was not told; ``like``: one told in the same message, whose doer or verb it may have."""
        rng, same = self.rng, None
        if like is not None and rng.random() < 0.6:
            same = like
        elif self.deeds and rng.random() < self.config.alike_rate:
            same = rng.choice(self.deeds)
        for trial in range(_TRIES):
            subject = self._subject()
            verb, tense = rng.choice(VERBS), rng.choice(_TENSES)
            if trial < 2 and same is not None and same.subject != subject:
                verb, tense = same.verb, same.tense
            elif like is not None:
                subject, tense = like.subject, like.tense
            kind = rng.choice(verb.objects)
            word = self._value(kind)
            if word is None:
                continue
            parts: dict[Role, Part] = {}
            if kind == "many" or (kind == "collectable" and rng.random() < 0.3):
                parts["count"] = Part("{count}", self._value("count") or "six")
            roles: list[Role] = [role for role in verb.roles if _fits(kind, role)]
            for role in rng.sample(roles, min(len(roles), rng.choice((0, 1, 1, 1, 2, 2, 3)))):
                part = self._part(role, tense)
                if part is not None and (role != "price" or tense in ("past", "future")):
                    parts[role] = part
            article = "" if "count" in parts else article_for(kind, word, subject, rng)
            return Deed(subject, verb, tense, kind, word, article, parts, self.turn)
        raise UserError("deeds: no new deed was found; ask for shorter conversations")

    def _part(self, role: Role, tense: Tense) -> Part | None:
        match role:
            case "where":
                text, kind = self.rng.choice(_WHERE)
            case "when":
                text, kind = self.rng.choice(_WHEN[tense])
            case "with" if self.rng.random() < 0.4:
                relative = self.rng.choice(RELATIVES)[0]
                if relative in self.taken:
                    return None
                self.taken.add(relative)
                return Part("with {my} {with}", relative)
            case "with" | "from" | "to":
                text, kind = f"{role} {{{role}}}", "person"
            case "why":
                text, kind = "because {why}", "reason"
            case "price":
                text, kind = "for {price}", "price"
            case "count":
                text, kind = "{count}", "count"
            case _:
                return None
        value = self._value(kind)
        if value is None:
            return None
        bare = core(value) if role == "when" and text != "{when}" else value
        return Part(text, bare)

    def _roles(self, deed: Deed) -> list[Role]:
        """What of it can be asked for."""
        who: list[Role] = [] if deed.subject.me else ["who"]
        return ["object", *who, *deed.parts]

    def _can_tell_apart(self, deed: Deed) -> bool:
        return not self._alike(deed) or any(role in deed.parts for role in _DEFINING)

    def _alike(self, deed: Deed) -> bool:
        """Somebody does the same to something else too."""
        return any(
            each.verb.base == deed.verb.base and each.subject == deed.subject for each in self.deeds if each is not deed
        )

    def _defining(self, deed: Deed, role: Role) -> Role | None:
        """The part that a question for the object has to name."""
        roles: list[Role] = [each for each in _DEFINING if each in deed.parts and each != role]
        if role != "object" or not roles or (not self._alike(deed) and self.rng.random() < 0.7):
            return None
        return self.rng.choice(roles)

    def _say(self, interaction: Interaction, spoken_of: Deed | None) -> None:
        self.interactions.append(interaction)
        self.spoken_of = spoken_of

    def _subject(self) -> Subject:
        if self.rng.random() >= self.config.other_people_rate:
            return ME
        if self.people and self.rng.random() < 0.5:
            return self.rng.choice(self.people)
        name = self._value("person") if self.rng.random() < 0.6 else None
        noun, pronouns = self.rng.choice(RELATIVES)
        both = self.rng.random() < self.config.relative_rate and all(each.relative != noun for each in self.people)
        if name is None and any(each.relative == noun and each.name for each in self.people):
            return ME
        if name is None or both:
            person = Subject(noun, name, self.rng.choice(pronouns))
        else:
            person = Subject(name=name, pronoun=self.rng.choice(_PRONOUNS))
        self.people.append(person)
        return person

    def _value(self, kind: str) -> str | None:
        value = draw(OBJECTS[kind], self.split, self.rng, self.taken)
        if value is not None:
            self.taken.add(core(value).casefold())
        return value


def _missing(deed: Deed) -> list[Role]:
    """What could have been said of it."""
    return [role for role in deed.verb.roles if role not in deed.parts and _fits(deed.kind, role)]


def _fits(kind: str, role: Role) -> bool:
    """Whether the part says more: a journey to a place is to nowhere else."""
    return not (role == "where" and kind in PLACES) and not (role == "with" and kind == "person")


def generate(split: Split, turns: int, seed: int, index: int, config: DeedsConfig = USUAL) -> DeedsConversation:
    """Conversation number ``index`` of ``split``, with ``turns`` interactions; the last asks for what was told.

    Raises:
        UserError: fewer than two turns.
    """
    if turns < 2:
        raise UserError(f"deeds: turns must be at least 2 (one to tell, one to ask), found {turns}")
    writer = Writer(split, "conversation", turns, seed, index, config)
    for turn in range(turns - 1):
        tells = not writer.deeds and (turn == turns - 2 or writer.rng.random() < 0.8)
        writer.move(1.0 if tells else None)
    known = [deed for deed in writer.deeds if writer.can_ask(deed)]
    if not known:
        return generate(split, turns, seed, index + NEXT, config)
    deed = writer.rng.choice(known)
    writer.ask(deed, writer.one_of(deed))
    return writer.finish()


def told(split: Split, distance: int, seed: int, index: int, config: DeedsConfig = USUAL) -> DeedsConversation:
    """The last turn asks for a part of a deed told ``distance`` turns earlier, and not spoken of since."""
    if distance < 1:
        raise UserError(f"deeds: distance must be at least 1, found {distance}")
    writer = Writer(split, "retention", distance + MOST_BEFORE + 1, seed, index, config)
    for _ in range(writer.rng.randint(0, MOST_BEFORE)):
        writer.move()
    target = writer.tell(most=1)
    writer.reserved = target
    while writer.turn < target.turn + distance:
        writer.move()
    if not writer.can_ask(target):
        return told(split, distance, seed, index + NEXT, config)
    writer.ask(target, writer.one_of(target))
    return writer.finish()
