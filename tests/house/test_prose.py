"""Phrases that read as translated must not come back; each is listed with what to write instead.

All of them were once in the code or the documentation. The list cannot make prose good, but it keeps old habits out.
"""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    "kernel",
    "plugins",
    "tests",
    "bench",
    "docs",
    "config",
    "README.md",
    "CHANGELOG.md",
    "pyproject.toml",
    "tox.ini",
]
SUFFIXES = {".py", ".js", ".ts", ".html", ".css", ".md", ".toml", ".ini"}

WRITE_INSTEAD = {
    r"(?<![Tt]here\s)\b(is|are|was) no (?!longer|more|less|such|different|doubt|way|one)\b[a-z`{]*": "is not a valid …",
    r"\banew\b": "again",
    r"\bwhat is no\b": "what is not a …",
    r"\bnobody understands\b": "unreadable",
    r"\b(is|are) not ours\b": "lost ownership of …",
    r"\bwhat comes on top\b": "what Gnomon adds",
    r"\b(its|their) own affair\b": "is up to …",
    r"\bmakes? good\b(?! use)": "completes, repairs",
    r"\bDo nothing\b": "name the action: Keep running",
    r"\bfree place\b": "slot",
    r"\bgo(es)? on from there\b": "continues from there",
    r"\b[Ww]ho did what\b": "operators' actions, who changed it",
    r"\b([Ss]ome|[Aa]ny|[Ee]very)body\b": "an operator, another process, anyone",
    r"\b(a|an) \w+ of (its|their|your|our) own\b": "its own …",
    r"\b[Ww]hoever\b": "any caller, anyone who",
    r"\bprocessor time\b": "CPU time",
    r"\b99 of 100\b": "p99",
    r"\b[Ll]et(s|ting)? go\b": "releases, drops, closes",
    r"\bthat (is|are|was|were) going\b(?! to)": "active, running",
    r"\b(is|are|was|were|be|been|being) told\b": "receives, is asked to",
    r"\b[Ww]hat (became|becomes) of\b": "the outcome of, the result",
    r"\bin the order of the log\b": "in log order",
    r"\bfor (it|they) (is|are|has|have|cannot|may|knows?|can)\b": "because it …",
    r"\bShould (it|a|an|something|the|two|both|one) \w+": "If …",
    r"\b[Ss]ome \d": "about …",
    r"\b(unwell|kernel well)\b": "unhealthy, healthy",
    r"\bsteer(s|ed|ing)?\b": "control",
    r"\ball the same\b": "anyway, still, nevertheless",
    r"[«»]": "quotes",
}
"""A regular expression that must match nowhere, and what to write."""

OPENING_WORDS = {"Tell", "Say", "Let", "Take", "Learn", "Give", "Ask", "Look", "Make good", "Know"}
"""A docstring opens with what the function does: Return, Raise, Write, Schedule, Start, Stop, Parse, Yield."""


@functools.cache
def texts() -> list[tuple[Path, str]]:
    roots = [ROOT / source for source in SOURCES]
    paths = [path for root in roots for path in (sorted(root.rglob("*")) if root.is_dir() else [root])]
    read = [path for path in paths if path.suffix in SUFFIXES and path != Path(__file__)]
    return [(path, path.read_text(encoding="utf-8")) for path in read]


@pytest.mark.parametrize("phrase", WRITE_INSTEAD)
def test_a_phrase_that_reads_as_translated_has_not_come_back(phrase: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for path, text in texts()
        for match in re.finditer(phrase.replace(" ", r"\s+(?:# )?"), text)
    ]

    assert not found, f"write: {WRITE_INSTEAD[phrase]}"


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            docstring = ast.get_docstring(node)
            if docstring:
                yield getattr(node, "lineno", 1), docstring


def test_docstrings_open_with_what_the_function_does() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {docstring.partition(chr(10))[0]}"
        for path, text in texts()
        if path.suffix == ".py"
        for line, docstring in docstrings(ast.parse(text))
        if docstring.split(maxsplit=1)[0] in OPENING_WORDS
    ]

    assert not found


def test_messages_and_comments_are_found_by_their_phrases() -> None:
    (first, *_) = WRITE_INSTEAD

    assert re.search(first, "this is no TOML")
    assert not re.search(first, "there is no job of that name")
    assert not re.search(first, "it is no longer running")
