"""The pages hang together: links lead somewhere, and nothing is left alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gnomon.deployment.assembly import assemble
from gnomon.deployment.config import load_config

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?P<target>[^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
RUN_COMMAND = "python -m pip install . && gnomon run config/quickstart.toml"


def prose(page: Path) -> str:
    return CODE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Name the headings of a page as GitHub does."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    return [found["target"] for found in LINK.finditer(prose(page)) if "://" not in found["target"]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_to_a_file_and_to_a_heading_in_it(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert not broken


def test_every_page_is_listed_in_the_index() -> None:
    listed = {(ROOT / "docs" / link).resolve() for link in links(ROOT / "docs/README.md")}

    assert listed == set(PAGES) - {ROOT / "README.md", ROOT / "docs/README.md"}


def test_the_readme_has_the_command_that_runs_the_product() -> None:
    assert RUN_COMMAND in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()


def test_the_config_that_the_readme_runs_is_one_and_is_the_built_in_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    path = Path(RUN_COMMAND.rsplit(maxsplit=1)[-1])

    deployment = assemble(load_config(path, {}))

    assert [job.id for job in deployment.jobs]
    packaged = ROOT / "kernel/gnomon/deployment/quickstart.toml"
    assert path.read_text(encoding="utf-8") == packaged.read_text(encoding="utf-8")
