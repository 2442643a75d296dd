"""Every relative link of the documentation leads to a file, and every heading it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(text: str) -> str:
    """The text of a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken(page: Path, text: str) -> list[str]:
    """The relative links of a page that lead nowhere."""
    wrong = []
    for link in LINK.findall(prose(text)):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        found = target.exists()
        if found and anchor:
            found = anchor in anchors(text if target == page else target.read_text(encoding="utf-8"))
        if not found:
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    assert not broken(page, page.read_text(encoding="utf-8"))


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading: two\n")
    page = tmp_path / "page.md"
    text = "[a](there.md) [b](there.md#a-heading-two) [c](gone.md) [d](there.md#gone) [e](https://x.org/y.md)\n"
    assert broken(page, text) == ["gone.md", "there.md#gone"]


def test_every_page_is_in_the_index() -> None:
    """The index has one line for each page of docs/."""
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")} - {"index.md"}
    assert pages == {link for link in LINK.findall(text) if not link.startswith("../")}


def test_the_map_of_folders_is_that_of_the_disk() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "src" / "rxt").glob("*/*") if path.parent.name != "__pycache__"}
    assert set(re.findall(r"^- `(\w+)/`: .", text, re.MULTILINE)) == folders
