from __future__ import annotations

from typing import Any

from gnomon import hookimpl


async def tick() -> None:
    """A job."""


async def test_jobs_are_listed(serve: Any) -> None:
    async with serve(tick) as ask:
        answer = await ask("GET", "/scheduler/jobs")

    assert answer.status == 200
    assert [job["id"] for job in answer.json] == ["tick"]


async def test_the_address_is_known_while_it_serves(serve: Any) -> None:
    async with serve(tick) as ask:
        assert ask.web.address is not None
        assert ask.web.url == f"http://127.0.0.1:{ask.web.address[1]}"

    assert ask.web.address is None


async def test_an_error_in_a_contributed_route_names_its_plugin(serve: Any) -> None:
    class Reports:
        @hookimpl(optionalhook=True)
        def register_routes(self, register: Any) -> None:
            register("GET", "/reports/{name}", self.report, role="viewer")

        async def report(self, request: Any, name: str) -> dict[str, str]:
            return {"answer": {"good": "yes"}[name]}

    async with serve(tick, plugins=[Reports()]) as ask:
        good, bad = await ask("GET", "/reports/good"), await ask("GET", "/reports/bad")
        after = await ask("GET", "/scheduler/jobs")

    assert good.json == {"answer": "yes"}
    assert (bad.status, bad.content_type) == (500, "application/problem+json")
    assert "the plugin 'Reports' failed" in bad.json["detail"]
    assert after.status == 200
