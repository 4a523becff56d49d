"""The contract for operators' actions: every store derives them from the log, newest first, with exact totals."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gnomon.domain import events
from gnomon.domain.records import Action, ActionQuery, JobScope
from gnomon.domain.rollback import Rollback
from gnomon.ports import Store
from gnomon.testing.histories import (
    NOON,
    SECOND,
    act_refused,
    append,
    cancelled,
    extend,
    failed,
    job_added,
    kernel_history,
    kernel_led,
    missed,
    running,
    scheduled,
    succeeded,
)

LED: dict[str, Any] = {"pid": 8, "why": "reload", "deployment": 3, "digest": "77ab", "revision": "41"}
REFUSED: dict[str, Any] = {"actor": "bob", "action": "cancel", "message": "there is no such run"}


class ActionContract:
    """Part of StoreContract; its fixture `store` is an open store with an empty log."""

    async def test_actions_of_operators_are_listed_with_all_their_facts(self, store: Store) -> None:
        job = extend(job_added(), events.JobDescribed, actor="ann", display_name="Nightly", note="")
        by_hand = scheduled("by_hand", is_manual=True, actor="bob")
        refused = missed("refused", reason="guard", detail="closed", is_manual=True, actor="bob")
        gone = extend(failed("gone"), events.Hidden, after=timedelta(microseconds=1), actor="ann")
        await append(store, job, by_hand, refused, gone)

        page = await store.actions(ActionQuery())

        ran: dict[str, Any] = {"at": NOON, "action": "trigger", "actor": "bob"}
        described = "display name 'Nightly', no note"
        assert page.items == [
            Action(at=gone[3].at, job_id="gone", action="hide", actor="ann", execution_id=gone[0].stream),
            Action(job_id="refused", status="failed", error_message="closed", execution_id=refused[0].stream, **ran),
            Action(job_id="by_hand", execution_id=by_hand[0].stream, **ran),
            Action(at=NOON + SECOND, job_id="sync", action="describe", actor="ann", detail=described),
        ]
        assert page.total == 4

    async def test_a_scope_limits_the_list_to_its_jobs(self, store: Store) -> None:
        by_hand = [scheduled(name, is_manual=True, actor="bob") for name in ("reports.a", "reports.b", "sync", "x")]
        await append(store, *by_hand)

        for scope in (
            JobScope(("reports.*",)),
            JobScope(("*.[!a]",), frozenset({"x"})),
            JobScope(("s?nc",)),
            JobScope(),
        ):
            found = await store.actions(ActionQuery(scope=scope, limit=1))
            expected = [history[0].job_id for history in by_hand if scope.has(history[0].job_id)]
            assert found.total == len(expected)
            assert [action.job_id for action in found.items] == expected[-1:]

    async def test_each_action_is_listed_once_and_acts_of_the_kernel_are_not(self, store: Store) -> None:
        job = extend(
            extend(job_added(), events.JobPaused, actor="ann", reason="holidays"), events.JobResumed, actor="bob"
        )
        marked = extend(running("marked"), events.Failed, reason="marked", error_message="it hung", actor="bob")
        withdrawn = extend(scheduled("withdrawn"), events.Cancelled, actor="cid", reason="not today")
        retry = scheduled("marked", attempt=2, is_manual=True, actor="bob")
        by_kernel = extend(
            running("by_kernel"), events.CancelRequested, actor="kernel", by_kernel=True, reason="it was stopped"
        )
        histories = (job, marked, cancelled("stopped"), withdrawn, retry, by_kernel, succeeded("by_itself"))
        await append(store, *histories, extend(job_added("moved"), events.JobRemoved, actor="kernel", by_kernel=True))

        found = [(one.job_id, one.action, one.actor, one.detail) for one in (await store.actions(ActionQuery())).items]

        assert found == [
            ("withdrawn", "cancel", "cid", "not today"),
            ("stopped", "cancel", "ann", "not today"),
            ("marked", "mark_failed", "bob", "it hung"),
            ("sync", "resume", "bob", None),
            ("sync", "pause", "ann", "holidays"),
        ]

    async def test_an_accepted_rollback_is_an_action_that_concerns_no_job(self, store: Store) -> None:
        await append(store, kernel_history(accepted_rollback=Rollback(last=7, expected=9)), job_added())

        lost = "the log had lost events 8 to 9"
        assert (await store.actions(ActionQuery())).items == [
            Action(at=NOON, job_id="", action="accept_rollback", actor="ann", detail=lost)
        ]
        assert (await store.actions(ActionQuery(job_id="sync"))).total == 0

    async def test_other_definitions_that_come_into_force_are_an_action_of_who_deployed_them(
        self, store: Store
    ) -> None:
        (led,) = kernel_led()
        deployed = extend([led], events.KernelLed, **{**LED, "actor": "ann", "reason": "42 is broken"})
        await append(store, deployed)

        what = "deployment 3 of revision 41 by a reload: 42 is broken"
        assert (await store.actions(ActionQuery())).items == [
            Action(at=deployed[1].at, job_id="", action="deploy", actor="ann", detail=what)
        ]

    async def test_an_operator_named_kernel_is_not_taken_for_the_kernel(self, store: Store) -> None:
        paused = extend(job_added(), events.JobPaused, actor="kernel", reason="holidays")
        stopped = extend(running("by_hand"), events.CancelRequested, actor="kernel", reason="not today")
        await append(store, paused, stopped)

        found = {(one.job_id, one.action, one.actor) for one in (await store.actions(ActionQuery())).items}

        assert found == {("sync", "pause", "kernel"), ("by_hand", "cancel", "kernel")}

    async def test_acts_that_were_refused_at_once_are_failed_actions(self, store: Store) -> None:
        by_bob = extend(act_refused(), events.ActRefused, **{**REFUSED, "execution_id": "e" * 24}, left_out=7)
        await append(store, by_bob, job_added())

        page = await store.actions(ActionQuery(status="failed"))

        assert page.total == 2
        assert page.items == [
            Action(
                at=NOON + SECOND,
                job_id="",
                action="cancel",
                status="failed",
                actor="bob",
                error_message="there is no such run (7 more refused acts of bob before it were not recorded)",
                execution_id="e" * 24,
            ),
            Action(
                at=NOON,
                job_id="tok",
                action="trigger",
                status="failed",
                actor="ann",
                error_message="there is no job 'tok'",
            ),
        ]
        assert (await store.actions(ActionQuery(job_id="tok"))).total == 1

    async def test_actions_come_in_pages_and_by_job(self, store: Store) -> None:
        history = job_added("a")
        for n in range(6):
            history = extend(history, events.JobResumed if n % 2 else events.JobPaused, actor=f"nr {n}")
        await append(store, history, scheduled("b", is_manual=True, actor="ann"))

        pages = [await store.actions(ActionQuery(job_id="a", limit=4, offset=offset)) for offset in (0, 4, 8)]

        assert [page.total for page in pages] == [6, 6, 6]
        assert [one.actor for page in pages for one in page.items] == ["nr 5", "nr 4", "nr 3", "nr 2", "nr 1", "nr 0"]
        assert (await store.actions(ActionQuery(limit=1))).total == 7
        assert await store.actions(ActionQuery(job_id="nobody")) == type(pages[0])([], 0)

    async def test_filters_of_actions_combine_and_their_totals_are_exact(self, store: Store) -> None:
        """Times are compared to the microsecond; `until` is excluded."""
        tick = timedelta(microseconds=1)
        job = extend(job_added("a"), events.JobPaused, actor="ann", after=tick)
        job = extend(job, events.JobResumed, actor="bob", after=SECOND)
        refused = missed("a", reason="guard", detail="closed", is_manual=True, actor="bob")
        await append(store, job, refused, scheduled("b", is_manual=True, actor="ann"))
        paused, resumed = job[1].at, job[2].at

        async def found(**filters: Any) -> list[str]:
            page = await store.actions(ActionQuery(**filters, limit=2))
            assert page.total == len((await store.actions(ActionQuery(**filters))).items)
            return [f"{one.actor} {one.action} {one.job_id}" for one in page.items]

        assert await found(status="failed") == ["bob trigger a"]
        assert await found(status="success") == ["ann trigger b", "bob resume a"]
        assert await found(actor="ann") == ["ann trigger b", "ann pause a"]
        assert await found(actor="ann", job_id="a") == ["ann pause a"]
        assert await found(action="trigger", status="success") == ["ann trigger b"]
        assert await found(action="trigger", actor="nobody") == []
        assert await found(since=paused, action="pause") == ["ann pause a"]
        assert await found(since=paused + tick, action="pause") == []
        assert await found(until=paused, action="pause") == []
        assert await found(since=paused + tick, until=resumed + tick, job_id="a") == ["bob resume a"]

    async def test_actions_on_a_run_are_pruned_with_it_and_those_on_a_job_stay(self, store: Store) -> None:
        job = extend(job_added(), events.JobPaused, actor="ann")
        await append(store, job, scheduled("kept", is_manual=True, actor="ann"), succeeded(is_manual=True, actor="ann"))

        assert await store.prune(NOON + timedelta(hours=1)) == 1

        page = await store.actions(ActionQuery())
        assert [(one.job_id, one.action) for one in page.items] == [("kept", "trigger"), ("sync", "pause")]
        assert page.total == 2
