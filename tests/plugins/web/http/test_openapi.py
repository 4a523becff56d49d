"""The OpenAPI document describes what the router serves, and its page works under the strict policy."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from gnomon import Context, Job
from gnomon_alerts import AlertsPlugin
from gnomon_stats import StatsPlugin
from servers import find_chromium, missing

METHODS = {"get", "post", "put", "patch", "delete"}


async def tick(x: int = 1) -> int:
    return x


async def works(ctx: Context) -> dict[str, int]:
    ctx.step("fetch")
    ctx.progress(50, "half")
    return {"rows": 2}


async def breaks() -> None:
    raise ValueError("no")


def routes_of(ask: Any) -> set[tuple[str, str]]:
    from gnomon_web.server import build_routes

    table = [route for route, _ in build_routes(ask.kernel) if route.kind != "asset"]
    return {(route.method.lower(), re.sub(r"\{(\w+)[^{}]*\}", r"{\1}", route.path)) for route in table}


async def test_the_router_and_the_document_are_equal(serve: Any) -> None:
    async with serve(tick) as ask:
        document = (await ask("GET", "/openapi.json")).json
        served = routes_of(ask)

    described = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert described == served
    assert document["openapi"] == "3.1.0"


async def test_the_reference_has_every_call_with_its_role(serve: Any) -> None:
    page = (Path(__file__).parents[4] / "docs/reference/http.md").read_text(encoding="utf-8")
    async with serve(tick, plugins=[AlertsPlugin(), StatsPlugin()]) as ask:
        document = (await ask("GET", "/openapi.json")).json

    told = set(re.findall(r"^\| `(\w+) (/\S+)` \| (\w+) \|", page, re.MULTILINE))
    served = {
        (method.upper(), path, operation["x-role"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if not path.startswith("/ws/")  # which have their own page
    }
    assert told == served


async def test_every_call_has_a_name_of_its_own_a_summary_and_its_role(serve: Any) -> None:
    async with serve(tick, guarded=True) as ask:
        document = (await ask("GET", "/openapi.json")).json

    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(operation["summary"][0].isupper() for operation in operations)
    assert {operation["x-role"] for operation in operations} == {"public", "viewer", "operator", "admin"}
    assert all(bool(operation["security"]) == (operation["x-role"] != "public") for operation in operations)


async def test_without_tokens_the_document_asks_for_none(serve: Any) -> None:
    async with serve(tick) as ask:
        document = (await ask("GET", "/openapi.json")).json

    assert not [one for methods in document["paths"].values() for one in methods.values() if "security" in one]


async def test_every_reference_in_the_document_resolves(serve: Any) -> None:
    async with serve(tick) as ask:
        answer = await ask("GET", "/openapi.json")

    found = set(re.findall(r'"\$ref": ?"#/components/(\w+)/([^"]+)"', answer.body.decode()))
    assert found
    assert not [name for kind, name in found if name not in answer.json["components"][kind]]


PARAMETERS = {
    "/scheduler/jobs/{job_id}/backfill": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T06:00:00Z"},
    "/scheduler/query-suggestions": {"list": "runs"},
}
"""Parameters of the calls that need some."""


async def test_answers_are_as_they_are_described(serve: Any) -> None:
    """Whole answers, key by key: the fuzzer sees mostly empty lists."""
    import jsonschema_rs as jsonschema  # comes with schemathesis

    async with serve(tick, Job(id="works", func=works, cron="0 0 1 1 *"), breaks) as ask:
        document = (await ask("GET", "/openapi.json")).json
        for job in ("tick", "works", "breaks"):
            last = await ask.kernel.wait((await ask.kernel.trigger(job)).execution.id)
        paths = [path for path, methods in document["paths"].items() if "get" in methods]
        answers = {
            path: await ask("GET", path.format(job_id="works", execution_id=last.id), params=PARAMETERS.get(path))
            for path in paths
            if not path.startswith(("/ws/", "/metrics", "/openapi"))
        }

    for path, answer in answers.items():
        described = document["paths"][path]["get"]["responses"][str(answer.status)]
        schema = described["content"]["application/json"]["schema"]
        validator = jsonschema.validator_for({**schema, "components": document["components"]})
        assert [str(error) for error in validator.iter_errors(answer.json)] == [], path
    assert len(answers) >= 15


# --- the page ---


@pytest.fixture
def chromium() -> str:
    """Return Playwright and a Chromium."""
    if importlib.util.find_spec("playwright") is None:
        missing("chromium", "there is no Playwright: pip install playwright")
    return find_chromium()


@pytest.mark.parametrize("base_path", ["", "/api"])
async def test_the_page_shows_every_call_under_its_strict_policy(serve: Any, chromium: str, base_path: str) -> None:
    from playwright.async_api import async_playwright, expect

    problems: list[str] = []
    requests: list[str] = []

    def said(message: Any) -> None:
        if message.type == "error" and not message.location["url"].endswith("/favicon.ico"):
            problems.append(message.text)

    async with serve(tick, base_path=base_path) as ask, async_playwright() as playwright:
        patience: Any = {"timeout": 90_000}
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], **patience)
        page = await browser.new_page()
        page.set_default_timeout(patience["timeout"])
        page.on("console", said)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        await page.goto(f"{ask.web.url}/docs")
        await expect(page.locator("details")).to_have_count(len(routes_of(ask)), **patience)
        await page.locator("summary", has_text="/scheduler/trigger").click()
        body = await page.locator("details[open]").inner_text()
        assert "TriggeredRecord" in body
        assert "Unprocessable" in body
        await browser.close()
        origin = ask.web.url.removesuffix(base_path)

    assert problems == []
    assert "job_id" in body
    assert all(url.startswith(origin) for url in requests)
