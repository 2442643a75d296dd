"""The markers of a template as token ids: single special tokens, or a pre-trained model's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rxt.config import Marker, Markers, SpecialTokens, TemplateName

PARTS = ("internal", "query", "tool_use", "think", "answer", "tool_call")
OF_ALPHA = ("query", "answer")
SAID = ("think", "answer", "tool_call")
"""The parts that a model says."""
CUT_FIRST = ("query", "tool_use", "internal", "think", "tool_call", "answer")


@dataclass(frozen=True)
class Encoded:
    """A sequence and what of it is learned: ``ids`` and ``loss`` are (T,)."""

    ids: list[int]
    loss: list[bool]
    """True where the model must produce this very token; a trainer scores the prediction made one position earlier."""
    cut: bool = False
    """Something did not fit and was left out."""
    aside: tuple[int, int] = (0, 0)
    """From where to where a part stands that is told anew when it is needed, and so is not memorized."""

    @property
    def memorized(self) -> list[int]:
        """What of ``ids`` goes into the memory."""
        start, stop = self.aside
        return [*self.ids[:start], *self.ids[stop:]]


@dataclass(frozen=True)
class Part:
    """One part of an interaction: which, its text's ids, and which of marker and text the model must produce."""

    name: str
    ids: list[int] = field(default_factory=list)
    learn_marker: bool = False
    learn_text: bool = False


@dataclass(frozen=True)
class System:
    """How a system prompt is written: ``before.ids``, title, text, ``end``."""

    before: Marker
    end: tuple[int, ...]
    titled: bool
    """A title opens it."""


@dataclass(frozen=True)
class Markup:
    """What stands around the texts of an interaction: ``begin``, every part after its marker, ``end``."""

    begin: tuple[int, ...]
    parts: Mapping[str, Marker]
    """By part; a part that is not here the template has not."""
    end: tuple[int, ...]
    """Its last token is [EOS]."""
    system: System | None
    told: bool
    """The answer's marker belongs to the prompt; otherwise the model sets it, or another one."""
    trimmed: bool = False
    """Texts lose the white space at their ends."""
    after: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """What closes a part, by part; those that are not here end where the next one begins."""
    internal_memorized: bool = True
    """Otherwise the internal part is only read, in the turn that it is of."""

    @classmethod
    def of_tokens(cls, tokens: SpecialTokens, name: TemplateName) -> Markup:
        """Every marker one token."""
        ids = {part: getattr(tokens, part) for part in (OF_ALPHA if name == "alpha" else PARTS)}
        parts = {part: Marker((token,)) for part, token in ids.items() if token is not None}
        begin = () if tokens.bos is None else (tokens.bos,)
        system = None
        if tokens.internal is not None and name == "beta":
            system = System(Marker((*begin, tokens.internal)), (tokens.eos,), titled=True)
        return cls(begin, parts, (tokens.eos,), system, told=name == "alpha")

    @classmethod
    def of_base(cls, markers: Markers, tokens: SpecialTokens, name: TemplateName) -> Markup:
        """Those of a pre-trained model's chat template.

        Beta: the internal part is a system message; what the base writes between a message and its answer closes the
        message, and thinking, answer and call each begin with a token that the base has no use for. A tool's result is
        a message that begins with such a token.
        """
        system = None if markers.system is None else System(markers.system, markers.system_end, titled=False)
        if name == "alpha":
            parts = {"query": markers.query, "answer": markers.answer}
            return cls(markers.begin, parts, markers.end, system, told=True, trimmed=True)
        assert markers.system is not None
        assert tokens.tool_use is not None
        parts = {
            "internal": Marker(markers.system.ids[len(markers.begin) :], markers.system.space),
            "query": markers.query,
            "tool_use": Marker((*markers.query.ids, tokens.tool_use)),
            **{part: Marker((getattr(tokens, part),)) for part in SAID},
        }
        after = {"internal": markers.system_end, "query": markers.answer.ids, "tool_use": markers.answer.ids}
        return cls(
            markers.begin,
            parts,
            markers.end,
            system,
            told=False,
            trimmed=True,
            after=after,
            internal_memorized=False,
        )

    @property
    def size(self) -> int:
        """Tokens of the markers around a query and its answer."""
        around = sum(len(self.parts[part].ids) + len(self.closing(part)) for part in OF_ALPHA)
        return len(self.begin) + len(self.end) + around

    def closing(self, part: str) -> tuple[int, ...]:
        """What closes a part."""
        return self.after.get(part, ())

    def opened(self, part: str) -> list[int]:
        """An interaction up to where the text of its first part begins."""
        return [*self.begin, *self.parts[part].ids]

    @property
    def after_query(self) -> tuple[int, ...]:
        """What stands between the text of a query and the first that the model says."""
        return self.closing("query") or self.parts["answer"].ids

    def without_end(self, ids: list[int]) -> list[int]:
        """What was said before ``end``, of what was said before [EOS]."""
        rest = list(self.end[:-1])
        return ids[: -len(rest)] if rest and ids[-len(rest) :] == rest else ids

    def begun(self, parts: Sequence[Part]) -> list[int]:
        """An interaction up to the end of these parts."""
        ids = [*self.begin]
        for part in parts:
            ids += [*self.parts[part.name].ids, *part.ids, *self.closing(part.name)]
        return ids

    def whole(self, parts: Sequence[Part], max_length: int) -> Encoded:
        """An interaction; texts are cut in the order of ``CUT_FIRST``, each down to nothing before the next one."""
        excess = len(self.begun(parts)) + len(self.end) - max_length
        kept = {part.name: len(part.ids) for part in parts}
        for name in CUT_FIRST:
            if excess > 0 and name in kept:
                taken = min(excess, kept[name])
                kept[name] -= taken
                excess -= taken
        ids, loss = [*self.begin], [False] * len(self.begin)
        for part in parts:
            marker, text, closing = self.parts[part.name].ids, part.ids[: kept[part.name]], self.closing(part.name)
            ids += [*marker, *text, *closing]
            loss += [part.learn_marker] * len(marker) + [part.learn_text] * len(text) + [False] * len(closing)
        cut = any(kept[part.name] < len(part.ids) for part in parts)
        return self.noted(Encoded([*ids, *self.end], [*loss, *(True for _ in self.end)], cut))

    def aside(self, ids: Sequence[int]) -> tuple[int, int]:
        """From where to where the internal part of an interaction stands, if it is not memorized."""
        begin = len(self.begin)
        if self.internal_memorized or not _stands_at(self.parts["internal"].ids, ids, begin):
            return 0, 0
        query = self.parts["query"].ids
        found = (at for at in range(begin, len(ids)) if _stands_at(query, ids, at))
        stop = next(found, None)  # a system prompt stands alone
        return (0, 0) if stop is None else (begin, stop)

    def noted(self, encoded: Encoded) -> Encoded:
        """The same, with its ``aside``."""
        return replace(encoded, aside=self.aside(encoded.ids))

    def parts_of(self, encoded: Encoded) -> list[Part]:
        """The parts that ``whole`` has put together, when nothing was cut.

        They are found by their markers, or by where learning begins: a marker without a special token might stand in a
        text too.
        """
        ids, end = encoded.ids, len(encoded.ids) - len(self.end)
        if self.told and any(encoded.loss):
            query = len(self.begin) + len(self.parts["query"].ids)
            answer = encoded.loss.index(True)
            asked = ids[query : answer - len(self.parts["answer"].ids)]
            return [Part("query", asked), Part("answer", ids[answer:end], False, True)]
        longest = sorted(self.parts.items(), key=lambda item: -len(item[1].ids))  # one may begin as another
        found: list[tuple[str, int, int]] = []  # part, where its marker and its text begin
        position = len(self.begin)
        while position < end:
            name = next((name for name, marker in longest if _stands_at(marker.ids, ids, position)), None)
            if name is None:
                position += 1
                continue
            found.append((name, position, position + len(self.parts[name].ids)))
            position = found[-1][2]
        stops = [*(before for _, before, _ in found[1:]), end]
        texts = [
            (name, start, stop - len(self.closing(name))) for (name, _, start), stop in zip(found, stops, strict=True)
        ]
        return [
            Part(name, ids[start:stop], encoded.loss[start - 1], stop > start and encoded.loss[start])
            for name, start, stop in texts
        ]


def _stands_at(marker: tuple[int, ...], ids: Sequence[int], position: int) -> bool:
    return bool(marker) and tuple(ids[position : position + len(marker)]) == marker
