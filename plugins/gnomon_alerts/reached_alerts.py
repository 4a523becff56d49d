"""The alerts of the kernel that a command line means: read from the log here, or asked of a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import click

from gnomon import GnomonError
from gnomon.cli.access.empty_lists import expect_known
from gnomon.cli.access.local import LocalKernel
from gnomon.cli.access.remote import RemoteKernel
from gnomon.client.alerts import Verb
from gnomon.domain.bulk_acts import ActOutcome
from gnomon.wire.alerts import Alert, AlertPage, AlertSelection, UnknownAlertError
from gnomon_alerts.acts import Act, selected
from gnomon_alerts.book import shown, urgency
from gnomon_alerts.reading import read_book
from gnomon_alerts.resources import AlertFilters, count
from gnomon_alerts.rules import KINDS

PAGE = 200
MOST_SEARCHED = 5_000


async def list_alerts(kernel: LocalKernel | RemoteKernel, filters: dict[str, Any], limit: int) -> AlertPage:
    """Return the alerts that match, at most `limit`; UnknownJobError and UsageError for what can match none.

    A check with a name that is not right would be passed for ever.
    """
    async with kernel:
        if isinstance(kernel, RemoteKernel):
            page = await _ask(kernel, filters, limit)
            if not page.alerts and filters["job_id"] is not None:
                await expect_known(kernel, filters["job_id"])
            return page
        book = await read_book(await kernel.log())
        _expect_rule(kernel, filters["rule"], [alert.rule for alert in book.alerts.values()])
        if filters["job_id"] not in {None, *(alert.job_id for alert in book.alerts.values())}:
            await expect_known(kernel, filters["job_id"])
    now = datetime.now(UTC)
    alerts = sorted((shown(alert, now) for alert in book.alerts.values()), key=urgency)
    wanted = AlertFilters(**filters)
    found = [alert for alert in alerts if wanted.has(alert)]
    return AlertPage(
        alerts=found[:limit], total=len(found), limit=limit, offset=0, counts=count(alerts), position=book.position
    )


async def act_on(
    kernel: LocalKernel | RemoteKernel,
    verb: Verb,
    act: Act,
    wanted: list[str],
    *,
    job_id: str | None,
    rule: str | None,
) -> list[ActOutcome]:
    """Act on the alerts with these ids or their beginnings, or on all open ones of a job or a rule."""
    async with kernel:
        if isinstance(kernel, RemoteKernel):
            known = (await _ask(kernel, {"state": "all"}, MOST_SEARCHED)).alerts if wanted else []
        else:
            book, now = await read_book(await kernel.log()), datetime.now(UTC)
            known = [shown(alert, now) for alert in book.alerts.values()]
        ids = [_match(one, known).id for one in wanted] if wanted else None
        selection = AlertSelection(ids=ids, job_id=job_id, rule=rule)
        if isinstance(kernel, RemoteKernel):
            how = {name: value for name, value in act.facts.items() if name not in {"actor", "why", "withdrawn"}}
            undo = {"undo": True} if act.facts.get("withdrawn") else {}
            return await kernel.act_on_alerts(verb, selection, **how, **undo)
        alerts = selected((alert for alert in known if alert.state != "resolved"), selection)
        done = [_local(kernel, act, alert) for alert in alerts]
        over = set(ids or ()) - {alert.id for alert in alerts}
        ended = [ActOutcome(id=one, changed=False, error=f"alert {one} has ended") for one in sorted(over)]
        return [*(await asyncio.gather(*done)), *ended]


async def _local(kernel: LocalKernel, act: Act, alert: Alert) -> ActOutcome:
    facts = {name: value for name, value in act.on(alert).items() if name != "actor"}
    try:
        await kernel.record_fact(act.fact, **facts)
    except GnomonError as exc:
        return ActOutcome(id=alert.id, changed=False, error=str(exc))
    return ActOutcome(id=alert.id, changed=True)


async def _ask(kernel: RemoteKernel, filters: dict[str, Any], limit: int) -> AlertPage:
    page = await kernel.alerts(**filters, limit=min(limit, PAGE))
    while len(page.alerts) < min(limit, page.total):
        more = await kernel.alerts(**filters, limit=min(limit - len(page.alerts), PAGE), offset=len(page.alerts))
        if not more.alerts:
            break
        page.alerts += more.alerts
    return page


def _expect_rule(kernel: LocalKernel, rule: str | None, fired: Iterable[str]) -> None:
    rules = kernel.config.sections.get("alerts", {}).get("rules", [])
    named = (one["name"] for one in rules if isinstance(one, dict) and one.get("name"))
    known = {*KINDS, *fired, *named}
    if rule is not None and rule not in known:
        raise click.UsageError(f"there is no rule {rule!r}; the rules are {', '.join(sorted(known))}")


def _match(wanted: str, alerts: list[Alert]) -> Alert:
    """Return the alert with that id, or the one whose id begins so."""
    found = [alert for alert in alerts if wanted and alert.id.startswith(wanted)]
    if len(found) > 1:
        lines = "\n".join(f"  {one.id}  {one.rule}  {one.job_id or one.subject}" for one in found[:10])
        raise click.UsageError(f"{wanted!r} matches {len(found)} ids; give more characters:\n{lines}")
    if not found:
        raise UnknownAlertError(wanted)
    return found[0]
