"""Parts of a page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, whose cells are texts."""
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="table"><table>{title}<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'


def folded(summary: str, content: str) -> str:
    """What is shown on demand: ``content``, which is HTML."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def command(text: str) -> str:
    """A line to be typed."""
    return f"<pre>{escape(text)}</pre>"
