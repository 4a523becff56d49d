"""What is installed beside Gnomon: the locks hold it by its hash, and its licences are permissive, or named here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PERMISSIVE = re.compile(
    r"(0BSD|Apache(-| License,? (Version )?| Software License ?)?(2\.0)?|BSD([- ][23]-Clause| License)?|CC0-1\.0|ISC"
    r"|MIT(-0| License)?|PSF(-2\.0|L)?|Python Software Foundation License|Zlib)"
)

OTHERS = {
    "certifi": re.compile(r"MPL-2\.0|Mozilla Public License 2\.0 \(MPL 2\.0\)"),
    "psycopg": re.compile(r"LGPL-3\.0-only"),
    "psycopg-binary": re.compile(r"LGPL-3\.0-only"),
}
"""Other licences: Mozilla's list of certificates, which `requests` reads for apprise, and a library that is installed
unchanged, imported, and may be replaced, as the LGPL asks for: the driver of PostgreSQL."""


class Pin:
    """One line of a lock, with its hashes."""

    def __init__(self, text: str) -> None:
        self.requirement = Requirement(text.partition("\\")[0])
        self.name = canonicalize_name(self.requirement.name)
        (specifier,) = self.requirement.specifier
        self.is_exact, self.version = specifier.operator == "==", specifier.version
        self.hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}", text)


def lock(name: str) -> list[Pin]:
    lines = [line for line in (ROOT / "locks" / name).read_text().splitlines() if not line.lstrip().startswith("#")]
    return [Pin(text) for text in re.split(r"\n(?=\S)", "\n".join(lines))]


def group(name: str) -> Iterator[Requirement]:
    for entry in PROJECT["dependency-groups"][name]:
        if isinstance(entry, dict):
            yield from group(entry["include-group"])
        else:
            yield Requirement(entry)


def required(name: str) -> Iterator[Requirement]:
    yield from map(Requirement, PROJECT["project"]["dependencies"])
    for extra, entries in PROJECT["project"]["optional-dependencies"].items():
        yield from map(Requirement, () if extra == "all" else entries)
    yield from group("test") if name == "test.txt" else ()


@pytest.mark.parametrize("name", ["runtime.txt", "test.txt"])
def test_a_lock_has_every_requirement_with_its_hashes(name: str) -> None:
    pins = lock(name)
    versions: dict[str, list[str]] = {}
    for pin in pins:
        versions.setdefault(pin.name, []).append(pin.version)
    wrong = [
        str(requirement)
        for requirement in required(name)
        if not any(requirement.specifier.contains(one, prereleases=True) for one in versions.get(_key(requirement), []))
    ]

    assert [pin.name for pin in pins if not pin.hashes or not pin.is_exact] == []
    assert wrong == [], "run `tox -e lock`"


def _key(requirement: Requirement) -> str:
    return canonicalize_name(requirement.name)


def licences(name: str) -> list[str]:
    """Return the licences of an installed distribution: its SPDX expression, else its classifiers, else its text."""
    facts = metadata(name)
    if expressions := facts.get_all("License-Expression"):
        return re.split(r" (?:AND|OR) ", expressions[0].replace("(", "").replace(")", ""))
    classified = [
        line.rpartition(" :: ")[2] for line in facts.get_all("Classifier") or [] if line.startswith("License")
    ]
    return classified or [" ".join((facts.get_all("License") or ["unknown"])[0].split())[:40]]


def test_what_is_installed_with_gnomon_has_a_permissive_or_named_licence() -> None:
    found = {}
    for pin in lock("runtime.txt"):
        try:
            found[pin.name] = licences(pin.name)
        except PackageNotFoundError:
            assert pin.requirement.marker is not None, f"{pin.name} is not installed"
    print(*(f"{name}: {', '.join(each)}" for name, each in found.items()), sep="\n")  # shown by `pytest -s`

    accepted = {name: OTHERS.get(name, PERMISSIVE) for name in found}
    assert {name: each for name, each in found.items() if not all(map(accepted[name].fullmatch, each))} == {}
