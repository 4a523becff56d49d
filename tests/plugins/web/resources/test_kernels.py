"""The list of the processes on the log over HTTP."""

from __future__ import annotations

import os
from typing import Any

import pytest

from gnomon import KernelMember
from gnomon.client import Client, ClientError
from gnomon.conversion import Secret
from gnomon_web.auth.tokens import Token

VIEWER, LIMITED = "viewer-Xk29fLq8Zt41vR7mQw", "limited-Pm83dHs6Yc05bN2kUj"


async def test_the_processes_on_the_log_are_listed(serve: Any) -> None:
    async with serve() as ask:
        now = ask.kernel.clock.now()
        follower = KernelMember(
            id="f" * 24,
            node="other",
            pid=7,
            role="follower",
            since=now,
            seen=now,
            position=ask.kernel.health().position,
        )
        await ask.kernel.report_member(follower)

        answer = await ask("GET", "/scheduler/kernels")

        async with Client(ask.web.url) as client:
            assert [(one.node, one.lag) for one in await client.kernels()] == [(ask.kernel.node, 0), ("other", 0)]

    assert answer.status == 200
    leader, other = answer.json
    assert (leader["pid"], leader["role"], leader["lag"], leader["state"]) == (os.getpid(), "leader", 0, "healthy")
    assert (other["pid"], other["role"], other["id"]) == (7, "follower", "f" * 24)


async def test_a_token_that_is_limited_to_some_jobs_cannot_list_them(serve: Any) -> None:
    tokens = [
        Token(name="viewer", token=Secret(VIEWER), role="viewer"),
        Token(name="limited", token=Secret(LIMITED), role="viewer", jobs=["reports.*"]),
    ]
    async with serve(tokens=tokens) as ask:
        allowed = await ask("GET", "/scheduler/kernels", headers={"Authorization": f"Bearer {VIEWER}"})
        refused = await ask("GET", "/scheduler/kernels", headers={"Authorization": f"Bearer {LIMITED}"})

    assert (allowed.status, refused.status) == (200, 403)


async def test_only_an_admin_lets_the_leader_step_down_and_a_refusal_says_why(serve: Any) -> None:
    tokens = [
        Token(name="viewer", token=Secret(VIEWER), role="operator"),
        Token(name="admin", token=Secret(LIMITED), role="admin"),
    ]
    async with serve(tokens=tokens) as ask:
        refused = await ask("POST", "/scheduler/step-down", headers={"Authorization": f"Bearer {VIEWER}"})
        alone = await ask("POST", "/scheduler/step-down", headers={"Authorization": f"Bearer {LIMITED}"})
        async with Client(ask.web.url, token=LIMITED) as client:
            with pytest.raises(ClientError, match="does not step down: no other process can open the log"):
                await client.step_down(reason="a new machine")

    assert (refused.status, alone.status) == (403, 409)
    assert alone.json["type"].endswith("#cannot-step-down")
