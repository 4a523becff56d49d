from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADING = re.compile(r"^(#+) (.*)$")
ROW = re.compile(r"^\| (.*) \|$")


def sections_of(page: Path) -> dict[str, str]:
    """Cut a page at its headings; what looks like one in a code block is none."""
    sections: dict[str, list[str]] = {}
    title, fenced = "", False
    for line in page.read_text(encoding="utf-8").splitlines():
        fenced ^= line.startswith("```")
        heading = HEADING.match(line)
        if heading and not fenced:
            title = heading[2]
            assert title not in sections, f"{page.name} has two sections {title!r}"
        sections.setdefault(title, []).append(line)
    return {name: "\n".join(lines) for name, lines in sections.items()}


def rows_of(section: str) -> list[list[str]]:
    """Read the cells of the tables of a section, without their headings."""
    rows = [re.split(r" ?\| ?", found[1]) for line in section.splitlines() if (found := ROW.match(line))]
    return [row for row in rows if row[0].startswith("`")]


@pytest.fixture(scope="session")
def reference() -> Callable[[str], dict[str, str]]:
    """Read a page of the reference: its sections by title."""
    return lambda name: sections_of(ROOT / "docs/reference" / name)


@pytest.fixture(scope="session")
def table() -> Callable[[str], dict[str, list[str]]]:
    """Read the tables of a section: the other cells by the first one, without its code marks."""

    def read(section: str) -> dict[str, list[str]]:
        rows = [(row[0].partition(" (")[0].strip("`"), row[1:]) for row in rows_of(section)]
        assert len(dict(rows)) == len(rows), f"two rows of one name: {[name for name, _ in rows]}"
        return dict(rows)

    return read
