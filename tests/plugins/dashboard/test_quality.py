"""The quality of the page: how it is served and bundled, its size, its linter, type checker and coverage."""

from __future__ import annotations

import graphlib
import gzip
import json
import os
import platform
import posixpath
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gnomon_web.dashboard import PAGES, assets
from gnomon_web.dashboard.assets import build
from gnomon_web.dashboard.bundle import SHARED
from gnomon_web.dashboard.bundle import bundle as bundle_modules

STATIC = Path(assets.__file__).parent / "static"
MAX_LINES = 300
FIRST_VISIT = 60_000
"""Compressed bytes loaded for the first view of the overview, in English."""
TOTAL = 155_000
"""Compressed bytes of everything that the page may load, in all languages together."""
MIN_COVERAGE = 0.9
ALLOWED = [f"--allow={rule}" for rule in ("no-unused-expressions", "no-control-regex")]
"""Reading a signal subscribes to it, and one pattern matches control characters on purpose."""
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
        pytest.fail(
            f"GNOMON_REQUIRE requires the tests of the dashboard, but {name} is not installed: pip install {name}"
        )
    return found or pytest.skip(f"{name} is not installed: pip install {name}")


def sources() -> dict[str, str]:
    return {path: file.body.decode() for path, file in build().files.items() if not path.endswith(".map")}


# --- how it is served ---


async def test_files_are_immutable_under_a_name_that_changes_with_them(day: str) -> None:
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


async def test_every_url_of_the_page_serves_it_under_a_strict_policy(day: str) -> None:
    async with aiohttp.ClientSession() as client:
        for path in PAGES:
            answer = await client.get(day + re.sub(r"\{\w+\}", "some_id", path))
            assert answer.content_type == "text/html"
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy
            assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
            assert "unsafe" not in policy


def test_the_page_loads_nothing_from_other_hosts() -> None:
    page = build().page("")
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\bstyle=", page)
    for path, text in sources().items():
        assert not re.search(r"""(?:import|from|fetch\(|url\()\s*["']?(?:https?:)?//""", text), path


def test_no_text_is_ever_parsed_as_html_or_code() -> None:
    for path, text in sources().items():
        if path.endswith(".js"):
            assert not FORBIDDEN.search(text), path


# --- how it is bundled ---


def test_every_module_and_style_sheet_is_in_the_bundle_once() -> None:
    bundle = build().bundle
    tree = {str(path.relative_to(STATIC)): path.read_text() for path in STATIC.rglob("*.js")}
    every = [*bundle.modules, *(module for chunk in bundle.chunks.values() for module in chunk)]
    assert sorted(tree) == sorted(module.path for module in every)
    for module in every:
        assert tree[module.path].endswith("\n")
        assert module.code.count("\n") == tree[module.path].count("\n"), "line numbers must not change"
    assert not re.findall(r"^import .*", bundle.text(), re.MULTILINE)
    for name, text in bundle.lazy().items():
        found = re.findall(r"^import \{[^}]*\} from '([^']+)';", text, re.MULTILINE)
        used = [posixpath.normpath(posixpath.join(posixpath.dirname(name), one)) for one in found]
        assert used in ([], ["app.js"], ["app.js", SHARED])
    sheet = build().files["app.css"].body.decode()
    for path in (STATIC / "css").iterdir():
        assert path.read_text().splitlines()[-2] in sheet


async def test_every_top_level_name_of_a_file_is_unique(lab: Any) -> None:
    bundle = build().bundle
    everywhere = await lab.page.evaluate("Object.getOwnPropertyNames(globalThis)")
    for path, modules in {"app.js": bundle.modules, **bundle.chunks}.items():
        written = "".join(module.source for module in modules)
        declared = re.findall(r"^(?:export )?(?:async )?(?:const|let|class|function) (\w+)", written, re.MULTILINE)
        for imported in re.findall(r"import \{([^}]*)\} from", modules[0].code.partition("\n")[0]):
            declared += re.findall(r"\w+", imported)
        assert {name for name, count in Counter(declared).items() if count > 1} == set(), path
        taken = set(declared) & set(everywhere)
        assert taken == set(), f"{path}: a module using a browser global would get another module's name"


def test_indents_are_removed_except_in_template_literals() -> None:
    written = "const a = [\n  `x\n  y`,\n  // why\n    'z',\n];\n"
    assert bundle_modules({"a.js": written}).text() == "const a = [\n`x\n  y`,\n\n'z',\n];\n"


def test_a_lazy_import_begins_a_chunk_with_what_only_it_needs() -> None:
    found = bundle_modules({
        "js/app.js": "import { a } from './a.js';\nexport const view = () => import('./views/b.js');\n",
        "js/a.js": "export const a = 1;\n",
        "js/views/b.js": "import { a } from '../a.js';\nimport * as c from '../c.js';\nexport const b = a + c.x;\n",
        "js/c.js": "import { a } from './a.js';\nexport const x = a;\n",
    })  # fmt: skip
    assert found.text() == "export const a = 1;\n\nexport const view = () => import('./js/views/b.js');\n"
    assert found.lazy() == {
        "js/views/b.js": "import { a } from '../../app.js';\nexport const x = a; export const c = { x };\n"
        "\n\nexport const b = a + c.x;\n"
    }


def test_what_several_chunks_need_is_a_chunk_of_its_own() -> None:
    written = {
        "js/app.js": "import { a } from './a.js';\nimport('./b.js'); import('./d.js');\n",
        "js/a.js": "export const a = 1;\n",
        **dict.fromkeys(("js/b.js", "js/d.js"), "import { x } from './c.js';\nexport const y = x;\n"),
        "js/c.js": "import { z } from './e.js';\nexport const x = z;\n",
        "js/e.js": "import { a } from './a.js';\nexport const z = a;\n",
    }
    of_b = "import { x } from './shared.js';\nexport const y = x;\n"
    assert bundle_modules(written).lazy() == {
        "js/b.js": of_b,
        "js/d.js": of_b,
        SHARED: "import { a } from '../app.js';\nexport const z = a;\n\nexport const x = z;\n",
    }
    with pytest.raises(ValueError, match=r"js/b\.js is imported lazily, and by another chunk as well"):
        bundle_modules({**written, "js/d.js": "import { y } from './b.js';\n"})


def test_circular_imports_are_rejected() -> None:
    with pytest.raises(graphlib.CycleError, match=r"a\.js"):
        bundle_modules({"a.js": "import { b } from './b.js';\n", "b.js": "import { a } from './a.js';\n"})


async def test_the_source_map_leads_to_the_line_in_the_source(lab: Any) -> None:
    stack = await lab.inside("await m.get('//[').catch((error) => error.stack)")
    lines = [int(line) - 1 for line in re.findall(r"/app\.js:(\d+):", stack)]
    sections = json.loads(build().files["app.js.map"].body)["sections"]
    section = max((one for one in sections if one["offset"]["line"] <= lines[0]), key=lambda one: one["offset"]["line"])
    mapping = section["map"]["mappings"].split(";")
    line = lines[0] - section["offset"]["line"]
    assert mapping[: line + 1] == ["AAAA", *["AACA"] * line], "each bundled line maps to the next source line"
    assert section["map"]["sources"] == ["js/model/api.js"]
    assert "new Problem(0" in section["map"]["sourcesContent"][0].splitlines()[line]


# --- how large it is ---


def test_modules_stay_short() -> None:
    lines = {str(path): path.read_text().count("\n") for path in STATIC.rglob("*.js")}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}


async def test_the_page_stays_small(open_page: Any, day: str) -> None:
    sizes = {path: len(file.compressed) for path, file in build().files.items() if path != "app.js.map"}
    window = await open_page(day, "/")
    await window.loaded()
    loaded = await window.page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")
    first = {path for path in sizes if f"{day}/ui/{build().name}/{path}" in loaded}
    assert {"app.js", "app.css"} <= first <= {"app.js", "app.css", "icon.svg"}
    page = len(gzip.compress(build().page("").encode()))
    print(f"first visit {page + sum(sizes[path] for path in first)}, all {page + sum(sizes.values())}, {sizes}")
    assert page + sum(sizes[path] for path in first) <= FIRST_VISIT
    assert page + sum(sizes.values()) <= TOTAL


# --- what its tools report ---


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


async def test_the_tests_cover_nine_tenths_of_every_module(
    request: pytest.FixtureRequest, coverage: Any, labs: Any, unseen: list[str]
) -> None:
    own = {item.path.name for item in request.session.items if item.path.parent == Path(__file__).parent}
    if own != {path.name for path in Path(__file__).parent.glob("test_*.py")} or request.config.getoption("keyword"):
        pytest.skip("only a part of the dashboard's tests was selected")
    if unseen:
        pytest.skip(f"failed or skipped tests may cover the rest: {', '.join(unseen)}")
    await labs.count()
    shares, missed = {}, {}
    for path, text, run in coverage.modules():
        if code := [index for index, character in enumerate(text) if not character.isspace()]:
            shares[path] = sum(run[index] for index in code) / len(code)
            missed[path] = sorted({text.count("\n", 0, index) + 1 for index in code if not run[index]})
    for path, share in sorted(shares.items(), key=lambda item: item[1])[:5]:
        print(f"{share:.1%} of {path}, all but the lines {missed[path]}")
    assert {path: missed[path] for path, share in shares.items() if share < MIN_COVERAGE} == {}
