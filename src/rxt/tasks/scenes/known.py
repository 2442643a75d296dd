"""What a person has told of a scene so far."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from rxt.tasks.open.scoring import names
from rxt.tasks.open.values import Kind
from rxt.tasks.scenes.scene import Addition, Ask, Change, Scene, kind_of, places_of
from rxt.tasks.scenes.words import filled


@dataclass(frozen=True, eq=False)
class Known:
    """A scene that was told, with its values as they are now."""

    scene: Scene
    values: Mapping[str, str]
    turn: int
    changed: Mapping[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    """By place: the turn that told the newest value, and the value before."""
    added: Mapping[Ask, int] = field(default_factory=dict[Ask, int])
    """What may be asked since more was told, and the turn that told it."""

    @property
    def asks(self) -> tuple[Ask, ...]:
        """What was told."""
        return (*self.scene.asks, *self.added)

    @property
    def more(self) -> list[Addition]:
        """What was not added yet."""
        return [addition for addition in self.scene.additions if addition.ask not in self.added]

    @property
    def open(self) -> list[Change]:
        """What can change: what has not changed yet."""
        return [change for change in self.scene.changes if change.old not in self.changed]

    def missing(self, follows: bool) -> list[str]:
        """Questions about what was not told; ``follows``: those that only make sense right after."""
        right_after = [*self.scene.missing_follow_ups, *(way for each in self.more for way in each.ask.follow_ups)]
        if follows and right_after:
            return right_after
        return [*self.scene.missing, *(way for each in self.more for way in each.ask.ways)]

    def told(self, ask: Ask) -> int:
        """The turn that told the newest of what is asked for."""
        newest = (self.changed[place][0] for place in places_of(ask.part) if place in self.changed)
        return max(newest, default=self.added.get(ask, self.turn))

    def before(self, ask: Ask) -> list[str]:
        """What the part was before it changed."""
        return [old for place in places_of(ask.part) if place in self.changed for old in (self.changed[place][1],)]

    def alike(self, kinds: Collection[Kind]) -> list[str]:
        """The values of some kinds."""
        return [value for place, value in self.values.items() if kind_of(place) in kinds]

    def others(self, ask: Ask) -> list[str]:
        """The values of the same kinds that other parts of the scene have, and that no right answer names."""
        said = " ".join(filled(text, self.values) for text in (*ask.answers, *ask.ways))
        kinds = [kind_of(place) for place in places_of(ask.part)]
        return [value for value in self.alike(kinds) if not names(said, value)]

    def unlike(self, ask: Ask, place: str, told: Iterable[Known]) -> list[str]:
        """Values to stand for that of ``place``, with which the part would not be so: those of its kind that were
        ``told`` in any scene, and what it was before, as often as all of them together."""
        right, alike = filled(ask.part, self.values), [value for each in told for value in each.alike([kind_of(place)])]
        before = [self.changed[place][1]] * len(alike) if place in self.changed else []
        return [value for value in (*before, *alike) if not names(right, value) and not names(value, right)]
