"""Interactions that are longer than a model has room for."""

from __future__ import annotations

from rxt.data.markup import Encoded
from rxt.data.template import Template


def fitted(encoded: Encoded, template: Template, is_system: bool = False) -> Encoded:
    """A whole interaction or system prompt as the template has room for it, or cut as the template does it.

    A system prompt is cut at its end; of an interaction that is nothing to learn from, nothing is learned.
    """
    markup, size = template.markup, template.max_length
    if len(encoded.ids) <= size:
        return encoded
    if is_system:
        assert markup.system is not None
        end = len(markup.system.end)
        kept = [*encoded.ids[: size - end], *encoded.ids[len(encoded.ids) - end :]]
        return Encoded(kept, [False] * len(kept), True)
    cut = markup.whole(markup.parts_of(encoded), size)
    return cut if any(encoded.loss) else Encoded(cut.ids, [False] * len(cut.ids), True)
