"""Alerts over HTTP: lists, single ones, acts on one or on many, and who may do what."""

from __future__ import annotations

import asyncio
from typing import Any

from gnomon import Job
from gnomon.client import Client
from gnomon.conversion import Secret
from gnomon.testing import make_job
from gnomon.wire.alerts import AlertSelection
from gnomon_alerts import AlertsPlugin
from gnomon_web.auth.tokens import Token

ALERTS = "/scheduler/alerts"


async def broken() -> None:
    raise ValueError("no such table")


def jobs() -> tuple[Job, Job]:
    return make_job(broken, id="etl.load"), make_job(broken, id="other")


async def two_alerts(ask: Any, plugin: AlertsPlugin) -> dict[str, str]:
    """Run both jobs, which fail, and return the ids of their alerts."""
    for job in jobs():
        await ask.kernel.wait((await ask.kernel.trigger(job.id)).execution.id)
    async with asyncio.timeout(60):
        while len(plugin.alerts()) < 2:  # noqa: ASYNC110 - it is another thread
            await asyncio.sleep(0.005)
    return {alert.job_id: alert.id for alert in plugin.alerts()}


async def test_viewers_read_alerts_and_operators_act_on_them(serve: Any) -> None:
    plugin = AlertsPlugin()
    async with serve(*jobs(), plugins=[plugin], guarded=True) as ask:
        ids = await two_alerts(ask, plugin)
        one = f"{ALERTS}/{ids['other']}"
        refused = await ask("POST", f"{one}/ack", as_="viewer")
        acked = await ask("POST", f"{one}/ack?reason=on+it", as_="operator")
        listed = await ask("GET", f"{ALERTS}?limit=1", as_="viewer")
        wrong = await ask("POST", f"{one}/snooze", as_="operator", json={"for": "soon"})
        past = await ask("POST", f"{one}/snooze", as_="operator", json={"until": "2001-01-01T00:00:00Z"})
        selection: dict[str, Any] = {"alerts": {"kind": "failed"}, "for": "2h", "reason": "deploy"}
        snoozed = await ask("POST", f"{ALERTS}/snooze", as_="operator", json=selection)
        nothing = await ask("POST", f"{ALERTS}/ack", as_="operator", json={"alerts": {}})
        resolved = await ask("POST", f"{one}/resolve", as_="operator", json={"reason": "fixed"})
        again = await ask("POST", f"{one}/resolve", as_="operator")
        metrics = await ask("GET", "/metrics", as_="viewer")
        shown = await ask("GET", one, as_="viewer")
        unknown_past = [
            await ask("GET", path, as_="viewer")
            for path in (f"{ALERTS}?at=2001-01-01T00:00:00Z", f"{ALERTS}?at=%2B1d", f"{one}?at=%2B1d")
        ]
        severe = [
            await ask("GET", f"{ALERTS}?state=all&severity={least}", as_="viewer") for least in ("info", "critical")
        ]
        misspelt = await ask("GET", f"{ALERTS}?kind=fialed", as_="viewer")
        endless = await ask("POST", f"{ALERTS}/{ids['etl.load']}/snooze", as_="operator", json={"for": "999999999d"})
        empty = await ask("POST", f"{ALERTS}/{ids['etl.load']}/snooze", as_="operator", json={"for": "0s"})
        unknown = await ask("GET", f"{ALERTS}/{'0' * 24}", as_="viewer")

    assert refused.status == 403
    assert (acked.status, acked.json["state"]) == (200, "acknowledged")
    assert acked.json["acknowledgement"]["by"] == "operator"
    assert acked.json["acknowledgement"]["note"] == "on it"
    page = listed.json
    assert [alert["job_id"] for alert in page["alerts"]] == ["etl.load"]
    assert (page["total"], page["counts"]["firing"], page["counts"]["acknowledged"]) == (2, 1, 1)
    assert (wrong.status, past.status, nothing.status, again.status) == (422, 422, 422, 422)
    assert [(one["id"], one["changed"]) for one in sorted(snoozed.json, key=lambda one: one["id"])] == [
        (alert_id, True) for alert_id in sorted(ids.values())
    ]
    assert (resolved.json["state"], resolved.json["resolved_by"], resolved.json["note"]) == (
        "resolved",
        "operator",
        "fixed",
    )
    assert [change["what"] for change in shown.json["changes"]] == ["opened", "acknowledged", "snoozed", "resolved"]
    assert {(page.status, page.json["type"].rpartition("#")[2]) for page in unknown_past} == {(404, "unknown-past")}
    assert [page.json["total"] for page in severe] == [2, 0]  # the severity is the least one
    assert (misspelt.status, misspelt.culprits) == (400, [("query", "kind")])
    assert (endless.status, empty.status) == (422, 422)
    assert b'gnomon_alerts{rule="failed",severity="error",state="snoozed"} 1.0' in metrics.body
    assert (unknown.status, unknown.json["type"].rpartition("#")[2]) == (404, "unknown-alert")


async def test_a_limited_token_sees_and_changes_the_alerts_of_its_jobs_alone(serve: Any) -> None:
    plugin = AlertsPlugin()
    token = Token(name="etl", role="operator", token=Secret("Zq8v-3rWk-X5tL-of-etl"), jobs=["etl.*"])
    headers = {"Authorization": "Bearer Zq8v-3rWk-X5tL-of-etl"}
    async with serve(*jobs(), plugins=[plugin], tokens=[token]) as ask:
        ids = await two_alerts(ask, plugin)
        listed = await ask("GET", ALERTS, headers=headers)
        hidden = await ask("POST", f"{ALERTS}/{ids['other']}/ack", headers=headers)
        both = {"alerts": {"ids": sorted(ids.values())}}
        done = await ask("POST", f"{ALERTS}/resolve", headers=headers, json=both)

    assert [alert["id"] for alert in listed.json["alerts"]] == [ids["etl.load"]]
    assert hidden.status == 404
    assert {one["id"]: one["changed"] for one in done.json} == {ids["etl.load"]: True, ids["other"]: False}
    assert [alert.job_id for alert in plugin.alerts() if alert.state == "firing"] == ["other"]


async def test_the_client_lists_alerts_and_acts_on_them(serve: Any) -> None:
    plugin = AlertsPlugin()
    async with serve(*jobs(), plugins=[plugin]) as ask, Client(ask.web.url) as client:
        ids = await two_alerts(ask, plugin)
        acked = await client.acknowledge_alert(ids["other"], until_next=True, reason="mine")
        outcomes = await client.act_on_alerts("resolve", AlertSelection(job_id="etl.load"), reason="fixed")
        page = await client.alerts()

    assert acked.acknowledgement is not None
    assert acked.acknowledgement.until_next
    assert [outcome.changed for outcome in outcomes] == [True]
    assert [alert.job_id for alert in page.alerts] == ["other"]
