"""Status badges: what they say, to whom, and that a name cannot break out of them."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from gnomon import Job
from gnomon.conversion import Secret
from gnomon.testing import VirtualClock
from gnomon_web.auth.tokens import Token
from gnomon_web.resources.badges import draw


async def works(fails: bool = False) -> None:
    if fails:
        raise ValueError("no")


def words(answer: Any) -> list[str | None]:
    assert (answer.status, answer.content_type) == (200, "image/svg+xml"), answer.body
    image = ET.fromstring(answer.body)  # noqa: S314 - our own
    return [text.text for text in image.iter("{http://www.w3.org/2000/svg}text")]


async def test_a_badge_shows_the_state_of_a_job(serve: Any, gnomon_clock: VirtualClock) -> None:
    async with serve(Job(id="works", func=works, name="<b>Night & day</b>\x1b")) as ask:
        name, shown = "<b>Night & day</b>\\x1b", []
        for fails in (None, False, True):
            if fails is not None:
                await ask.kernel.wait((await ask.kernel.trigger("works", kwargs={"fails": fails})).execution.id)
                await gnomon_clock.advance(1)
            shown.append(words(await ask("GET", "/badge/works.svg")))
        await ask.kernel.pause("works")
        paused = await ask("GET", "/badge/works.svg")
        unknown = await ask("GET", "/badge/nobody.svg")

    assert shown == [[name, "never ran"], [name, "succeeded"], [name, "failed"]]
    assert words(paused) == [name, "paused"]
    assert paused.headers["Cache-Control"] == "private, max-age=30"
    assert paused.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert unknown.culprits == [("path", "job_id")]


async def test_badges_are_for_viewers_unless_the_config_makes_them_public(serve: Any) -> None:
    async with serve(Job(id="works", func=works), guarded=True) as ask:
        assert (await ask("GET", "/badge/works.svg")).status == 401
        assert words(await ask("GET", "/badge/works.svg", as_="viewer")) == ["works", "never ran"]
    async with serve(Job(id="works", func=works), guarded=True, public_badges=True) as ask:
        answer = await ask("GET", "/badge/works.svg")
        assert words(answer) == ["works", "never ran"]
        assert answer.headers["Cache-Control"] == "public, max-age=30"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


async def test_a_limited_token_sees_the_badges_of_its_jobs(serve: Any) -> None:
    token = Token(name="one", role="viewer", token=Secret("Zq8v-3rWk-X5tL-of-one"), jobs=["works"])
    headers = {"Authorization": "Bearer Zq8v-3rWk-X5tL-of-one"}
    async with serve(Job(id="works", func=works), Job(id="other", func=works), tokens=[token]) as ask:
        assert words(await ask("GET", "/badge/works.svg", headers=headers)) == ["works", "never ran"]
        other = await ask("GET", "/badge/other.svg", headers=headers)

    assert (other.status, other.json["detail"]) == (404, "there is no job 'other'")
    assert other.culprits == [("path", "job_id")]


@pytest.mark.parametrize("name", ["x" * 500, "每日行情", "]]>&\"'", ""])
def test_any_name_makes_a_valid_image(name: str) -> None:
    image = ET.fromstring(draw(name, "succeeded"))  # noqa: S314 - our own
    assert float(image.attrib["width"]) < 500
    assert image.attrib["aria-label"].endswith(": succeeded")
