"""What the pages are made of: how it is served, how large it is, and what its linters, type checker and tests say."""

from __future__ import annotations

import graphlib
import gzip
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gnomon_web.dashboard import PAGES, files
from gnomon_web.dashboard.files import build
from gnomon_web.dashboard.joining import join

STATIC = Path(files.__file__).parent / "static"
LONGEST_MODULE = 300
FIRST_VISIT = 55_500
"""Compressed bytes that somebody loads to see the overview for the first time, in English."""
ALL = 60_500
"""Compressed bytes of everything that anybody may load to use the page."""
LEAST_COVERAGE = 0.9
ALLOWED = [f"--allow={rule}" for rule in ("no-unused-expressions", "no-control-regex")]
"""To read a signal is to depend on it; and control characters are what is looked for."""
FORBIDDEN = re.compile(
    r"\.(inner|outer)HTML\b|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\('style'|\bstyle=|createContextualFragment"
)


def tool(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if (
        found is None
        and (name != "deno" or platform.machine() == "x86_64")
        and "chromium" in os.environ.get("GNOMON_REQUIRE", "").split(",")
    ):
        pytest.fail(f"GNOMON_REQUIRE wants the tests of the dashboard, but there is no {name}: pip install {name}")
    return found or pytest.skip(f"there is no {name}: pip install {name}")


def sources() -> dict[str, str]:
    return {path: file.body.decode() for path, file in build().files.items() if not path.endswith(".map")}


# --- how it is served ---


async def test_files_are_kept_for_ever_under_a_name_that_changes_with_them(day: str) -> None:
    async with aiohttp.ClientSession(auto_decompress=False) as client:
        page = await client.get(day)
        text = await page.text()
        assert page.headers["Cache-Control"] == "no-cache"
        again = await client.get(day, headers={"If-None-Match": page.headers["ETag"]})
        assert again.status == 304
        for path, file in build().files.items():
            assert (f'"/ui/{build().name}/{path}"' in text) is (path in {"app.js", "app.css", "icon.svg"})
            answer = await client.get(f"{day}/ui/{build().name}/{path}", headers={"Accept-Encoding": "gzip"})
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert answer.headers["Vary"] == "Accept-Encoding"
            assert gzip.decompress(await answer.read()) == file.body
        plain = await client.get(f"{day}/ui/{build().name}/app.js", headers={"Accept-Encoding": "identity"})
        assert await plain.read() == build().files["app.js"].body
        for wrong in ("/ui/another/app.js", f"/ui/{build().name}/js/nothing.js", f"/ui/{build().name}/types.d.ts"):
            assert (await client.get(day + wrong)).status == 404


async def test_every_address_of_the_page_is_the_page_under_a_strict_policy(day: str) -> None:
    async with aiohttp.ClientSession() as client:
        for path in PAGES:
            answer = await client.get(day + re.sub(r"\{\w+\}", "some_id", path))
            assert answer.content_type == "text/html"
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy
            assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
            assert "unsafe" not in policy


def test_the_page_asks_for_nothing_of_anybody_else() -> None:
    page = build().page("")
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\bstyle=", page)
    for path, text in sources().items():
        assert not re.search(r"""(?:import|from|fetch\(|url\()\s*["']?(?:https?:)?//""", text), path


def test_no_text_ever_becomes_elements_or_code() -> None:
    for path, text in sources().items():
        if path.endswith(".js"):
            assert not FORBIDDEN.search(text), path


# --- how it is joined ---


def test_every_module_and_sheet_of_the_tree_is_in_the_whole_once() -> None:
    joined = build().joined
    tree = {str(path.relative_to(STATIC)): path.read_text() for path in STATIC.rglob("*.js")}
    assert sorted(tree) == sorted([module.path for module in joined.modules] + list(joined.later))
    for module in joined.modules:
        assert tree[module.path].endswith("\n")
        assert module.code.count("\n") == tree[module.path].count("\n"), "lines keep their numbers"
    assert not re.findall(r"^import .*", joined.text(), re.MULTILINE)
    assert not any("import" in text for text in joined.later.values()), "what comes later stands alone"
    sheet = build().files["app.css"].body.decode()
    for path in (STATIC / "css").iterdir():
        assert path.read_text().splitlines()[-2] in sheet


async def test_a_name_at_the_top_of_a_module_has_one_meaning(lab: Any) -> None:
    written = "".join(module.source for module in build().joined.modules)
    declared = re.findall(r"^(?:export )?(?:async )?(?:const|let|class|function) (\w+)", written, re.MULTILINE)
    assert {name for name, count in Counter(declared).items() if count > 1} == set()
    everywhere = await lab.page.evaluate("Object.getOwnPropertyNames(globalThis)")
    assert set(declared) & set(everywhere) == set(), "a module that means the browser's would get another module's"


def test_indents_go_and_those_in_a_text_stay() -> None:
    written = "const a = [\n  `x\n  y`,\n  // why\n    'z',\n];\n"
    assert join({"a.js": written}).text() == "const a = [\n`x\n  y`,\n\n'z',\n];\n"


def test_modules_in_a_circle_are_refused() -> None:
    with pytest.raises(graphlib.CycleError, match=r"a\.js"):
        join({"a.js": "import { b } from './b.js';\n", "b.js": "import { a } from './a.js';\n"})


async def test_an_error_is_shown_where_it_was_written(lab: Any) -> None:
    """The browser's line in the joined module leads by the source map to the line in the module that was written."""
    stack = await lab.inside("await m.get('//[').catch((error) => error.stack)")
    lines = [int(line) - 1 for line in re.findall(r"/app\.js:(\d+):", stack)]
    sections = json.loads(build().files["app.js.map"].body)["sections"]
    section = max((one for one in sections if one["offset"]["line"] <= lines[0]), key=lambda one: one["offset"]["line"])
    mapping = section["map"]["mappings"].split(";")
    line = lines[0] - section["offset"]["line"]
    assert mapping[: line + 1] == ["AAAA", *["AACA"] * line], "each line is one further on in the source too"
    assert section["map"]["sources"] == ["js/model/api.js"]
    assert "new Problem(0" in section["map"]["sourcesContent"][0].splitlines()[line]


# --- how large it is ---


def test_modules_stay_short() -> None:
    lines = {str(path): path.read_text().count("\n") for path in STATIC.rglob("*.js")}
    assert {path: count for path, count in lines.items() if count > LONGEST_MODULE} == {}


async def test_the_whole_stays_small(open_page: Any, day: str) -> None:
    sizes = {path: len(file.compressed) for path, file in build().files.items() if path != "app.js.map"}
    window = await open_page(day, "/")
    await window.loaded()
    loaded = await window.page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")
    first = {path for path in sizes if f"{day}/ui/{build().name}/{path}" in loaded}
    assert {"app.js", "app.css"} <= first <= {"app.js", "app.css", "icon.svg"}
    page = len(gzip.compress(build().page("").encode()))
    print(f"first visit {page + sum(sizes[path] for path in first)}, all {page + sum(sizes.values())}, {sizes}")
    assert page + sum(sizes[path] for path in first) <= FIRST_VISIT
    assert page + sum(sizes.values()) <= ALL


# --- what others say of it ---


def test_the_linter_finds_nothing() -> None:
    tree = Path(__file__).parents[3] / "plugins/gnomon_web/dashboard/static/js"  # oxlint skips what git ignores
    command = [tool("oxlint"), "--deny-warnings", *ALLOWED, str(tree)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_the_type_checker_finds_nothing() -> None:
    command = [
        tool("deno"),
        "check",
        "--no-remote",
        "--config",
        str(Path(__file__).parent / "deno.json"),
        str(STATIC / "js" / "app.js"),
    ]
    environment = {**os.environ, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
    checked = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert checked.returncode == 0, checked.stderr


async def test_the_tests_reach_nine_tenths_of_every_module(
    request: pytest.FixtureRequest, coverage: Any, labs: Any, unseen: list[str]
) -> None:
    own = {item.path.name for item in request.session.items if item.path.parent == Path(__file__).parent}
    if own != {path.name for path in Path(__file__).parent.glob("test_*.py")} or request.config.getoption("keyword"):
        pytest.skip("only a part of the dashboard's tests is run")
    if unseen:
        pytest.skip(f"tests failed or were skipped, which may have reached the rest: {', '.join(unseen)}")
    await labs.count()
    shares, missed = {}, {}
    for path, text, run in coverage.modules():
        if code := [index for index, character in enumerate(text) if not character.isspace()]:
            shares[path] = sum(run[index] for index in code) / len(code)
            missed[path] = sorted({text.count("\n", 0, index) + 1 for index in code if not run[index]})
    for path, share in sorted(shares.items(), key=lambda item: item[1])[:5]:
        print(f"{share:.1%} of {path}, all but the lines {missed[path]}")
    assert {path: missed[path] for path, share in shares.items() if share < LEAST_COVERAGE} == {}
