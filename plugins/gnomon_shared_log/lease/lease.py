"""Who leads: the terms of the one kernel that writes the log.

    ┌───────────┐ campaign: the row is free,      ┌─────────┐ the window passes without a    ┌────────┐
    │ no term   │ or silent for a whole lease     │ leading │ confirmed renewal              │ lapsed │
    │           ├────────────────────────────────►│         ├───────────────────────────────►│        │
    └─────▲─────┘ a new epoch, set in the fence   └──┬───▲──┘                                └─┬────┬─┘
          │                                          │   │ nobody led since: the same owner    │    │
          │ release, or                              │   └──── wins the next epoch ────────────┘    │
          │ the row names another owner or epoch,    │                                              │
          └─ or is gone: deposed, for good ──────────┴──────────────────────────────────────────────┘

A **term** is an owner and an epoch. The owner is drawn when a process begins to campaign: never in a constructor, and
never inherited, so a forked child holds nothing. The epoch rises with every win. Both stand in the **row** of the
leader, which is renewed, and in the **fence**, which appends are checked against (lease_row.py). On MongoDB these are
two documents; on PostgreSQL the row is the fence.

**The trust window.** A term is trusted for its seconds from the moment *before* its last confirmed renewal was
sent, counted on a clock of this process that goes on while the machine sleeps. A renewal whose answer comes after the
window does not count. Nothing has to run for the window to end: each question reads the clock. Clocks of other machines
are not compared, and may be wrong by any amount. A candidate takes a row that it has seen unchanged for the whole lease
of its holder on its own clock, so the holder's window, which began earlier, is over by then. What it saw while it
followed counts (lease_watch.py): a follower leads within the lease, and does not wait for a second one.

**Only confirmed renewals keep others waiting.** A renewal whose answer is lost has changed the row nevertheless. So a
change of the row is sent again, as it was, until it is confirmed: candidates count from its first arrival, and the
window of the holder from before it was first sent. A lapsed holder reads the row before it writes to it: without
answers it does not begin the count of the candidates again. The window is a little shorter than the `lease` of the
configuration (term_of), so a holder that gets no answers is replaced within the lease, too.

**Operations by term.** Renewing and releasing match the owner and the epoch of the row. An append has a condition on
the owner and the epoch of the fence, in the same step of the server. Who owns the row is decided by reading it back,
never by the number of rows that a driver reports. Nothing is bound to a connection.

**Correctness does not rest on the lease.** If a deposed kernel's append still passes the fence, because the server
was executing it while the fence changed, the unique position lets one of two events through, and an append matches the
event before it. The lease keeps two kernels from doing the same work.

What happens on each failure:

* *The server is down, or the connection is cut.* The window passes and the term lapses. `cut_off` decides what the
  kernel does meanwhile (spooling_writer.py). When the server is back and the row still has the term, nobody led: the
  same owner wins the next epoch. If not, the kernel is deposed.
* *A renewal hangs.* The window passes nevertheless. Appends do not wait for it.
* *Answers are lost or late, and requests arrive.* The row changes once more at most, and another kernel leads.
* *The row is gone*, such as after a restore or a `gnomon takeover`: the kernel is deposed. A row is inserted only in a
  campaign.
* *The process is stopped, or the machine sleeps, for longer than the lease.* Another kernel may lead. The first thing
  that the process does on waking, whatever it is, finds the window closed or the fence changed.
* *The event loop is blocked.* The renewals run on the loop that dispatches fires, so a kernel whose loop does nothing
  does not keep its lease.
* *The holder dies.* On its own machine the next kernel sees that and leads at once; elsewhere after the lease.
* *The process forks.* The child has another PID, holds no term, and writes nothing.
* *The holder runs with `cut_off = "run"`.* It may go on without the server, so silence says nothing about it: its row
  is taken only where its process is known to be dead, or by `gnomon takeover`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from gnomon.errors import DeposedError, StoreError, StoreInUseError, StoreUnavailableError
from gnomon.logs import get_logger
from gnomon_shared_log.errors import Refusal
from gnomon_shared_log.lease.lease_clock import lease_clock
from gnomon_shared_log.lease.lease_holder import OWNERS_HERE, describe_process, is_dead, name_of, silence_here
from gnomon_shared_log.lease.lease_watch import LOOK_S, LeaseWatch
from gnomon_shared_log.ports.lease_row import CutOff, LeaseRow, LeaseTable, Term

log = get_logger("gnomon.shared_log")

RENEWALS = 5
"""How often, in the duration of a term, its holder renews it."""


def term_of(lease_s: float) -> float:
    """Return how long a term lasts without a confirmed renewal, so that another kernel leads within the lease.

    The first renewal without an answer may have changed the row, a part of the term after the last confirmed one.
    """
    return lease_s * RENEWALS / (RENEWALS + 1)


class Change(NamedTuple):
    """One change of the row, as it is then; `began` is when it was first sent."""

    row: LeaseRow
    began: float


class Lease:
    """The terms of one process; `seconds` is how long a term lasts without renewal, on the clock `now`."""

    def __init__(
        self, table: LeaseTable, seconds: float, cut_off: CutOff = "hold", now: Callable[[], float] = lease_clock
    ) -> None:
        self.seconds = seconds
        self.cut_off: CutOff = cut_off
        self.watch = LeaseWatch(seconds, now)
        self._table = table
        self._now = now
        self._term: Term | None = None
        self._pid = 0
        self._trusted_until = float("-inf")
        self._row = LeaseRow()  # as it was sent last
        self._unconfirmed: Change | None = None
        self._turn = asyncio.Lock()

    @property
    def is_trusted(self) -> bool:
        """Whether the term is confirmed, so that nobody else can lead now."""
        return self._term is not None and self._pid == os.getpid() and self._now() < self._trusted_until

    @property
    def trusted_for(self) -> float:
        """The seconds until the term lapses; not positive where it has."""
        return self._trusted_until - self._now()

    def term(self) -> Term:
        """Return the term, for an append; raise DeposedError without one, such as in a forked child."""
        if self._term is None or self._pid != os.getpid():
            raise DeposedError(
                f"process {os.getpid()} does not lead {self._table.log_name}: a term is not inherited by a "
                "forked process; open the store in the process that uses it"
            )
        return self._term

    # --- campaigning ---

    async def acquire(self) -> None:
        """Win a term, or raise StoreInUseError, which names the holder."""
        self._turn = asyncio.Lock()
        self._term, self._pid, self._trusted_until = None, os.getpid(), float("-inf")
        owner = secrets.token_hex(8)
        holder = await self._seen()
        if holder is not None:
            holder = await self._watch(holder)
        await self._win(owner, holder)

    async def _watch(self, holder: LeaseRow) -> LeaseRow | None:
        """Return the row of a holder that may be replaced, None if it is released; StoreInUseError as soon as it lives.

        A living process of this machine is recognized without waiting, by the time of its last renewal.
        """
        if is_dead(holder):
            return holder
        if holder.cut_off == "run":
            raise StoreInUseError(self._refusal(holder))
        lasts = self.watch.lasts(holder)
        silence = silence_here(holder)
        if silence is not None and silence < lasts:
            raise StoreInUseError(self._refusal(holder))
        if silence is not None:
            log.warning("the holder of the lease runs, but does not renew it", holder=name_of(holder), silent_s=silence)
            return holder
        if self.watch.unchanged_for(holder) < lasts:
            log.info("waiting for the lease of another kernel to expire", holder=holder.node, seconds=lasts)
        while (left := lasts - self.watch.unchanged_for(holder)) > 0:
            await asyncio.sleep(min(lasts / RENEWALS / 2, LOOK_S, left))
            seen = await self._seen()
            if seen is None:
                return None
            if seen.mark != holder.mark:
                raise StoreInUseError(self._refusal(seen))
        return holder

    async def _win(self, owner: str, holder: LeaseRow | None) -> None:
        """Replace the row of this holder, unless it has changed, or put one where there is none; then set the fence."""
        epoch = max(await self._table.newest_epoch(), holder.epoch if holder is not None else 0) + 1
        term, began = Term(owner, epoch), self._now()
        row = self._renewed(LeaseRow(**describe_process()._asdict(), since=_now()), term)
        OWNERS_HERE.add(owner)
        try:
            found = await self._table.put(row, holder) or await self._seen() or LeaseRow()
            if found.term != term:
                raise StoreInUseError(self._refusal(found))
            await self._table.open_to(term)
        except BaseException:
            OWNERS_HERE.discard(owner)
            raise
        self._term, self._trusted_until = term, began + self.seconds
        self._row, self._unconfirmed = row, None

    # --- leading ---

    async def hold(self) -> None:
        """Make sure that the term is trusted, before a write; raise DeposedError if it is over."""
        self.term()
        if not self.is_trusted:
            await self.renew()

    async def renew(self) -> None:
        """Renew the term, or win the next one if it has lapsed and nobody led since; DeposedError if it is over."""
        async with self._turn:
            is_new = False
            while not is_new:  # the window of a change that was sent before is partly over when it is confirmed
                term = self.term()
                is_new = await (self._renew(term) if self.is_trusted else self._win_again(term))

    async def _renew(self, term: Term) -> bool:
        """Renew the term; return whether no attempt was made before. The window may be over at the end."""
        change, is_new = self._change(term)
        if not await self._confirm(term, change):
            raise self._deposed(await self._seen())
        self._unconfirmed = None
        if not self.is_trusted:
            return False
        self._trusted_until = change.began + self.seconds
        return is_new

    async def _win_again(self, term: Term) -> bool:
        """Win the next epoch, of the row that still has the lapsed one: then nobody led in between."""
        following = Term(term.owner, term.epoch + 1)
        seen = await self._seen()  # without an answer nothing is written
        if seen is None or seen.term not in {term, following}:
            raise self._deposed(seen)
        change, is_new = self._change(following)
        # The reply to an earlier attempt may have been lost.
        if not await self._confirm(term, change) and not await self._confirm(following, change):
            raise self._deposed(await self._seen())
        await self._table.open_to(following)
        self._term, self._trusted_until, self._unconfirmed = following, change.began + self.seconds, None
        log.warning("the lease had run out; no other kernel led meanwhile", epoch=following.epoch)
        return is_new

    def _change(self, term: Term) -> tuple[Change, bool]:
        """Return the change that puts the row into this term: the one that is not confirmed, or else a new one."""
        if (unconfirmed := self._unconfirmed) is not None and unconfirmed.row.term == term:
            return unconfirmed, False
        self._row = self._renewed(self._row, term)
        self._unconfirmed = Change(self._row, self._now())
        return self._unconfirmed, True

    async def _confirm(self, term: Term, change: Change) -> bool:
        return await self._table.change(term, change.row)

    async def keep(self, on_renewal: Callable[[], Awaitable[None]]) -> None:
        """Renew the term until cancelled, and call `on_renewal` each time; raise DeposedError if it is over."""
        while True:
            await asyncio.sleep(self.seconds / RENEWALS)
            try:
                await self.renew()
            except (StoreUnavailableError, Refusal) as exc:  # a right that was revoked may be granted again
                log.debug("the lease could not be renewed", problem=str(exc))
            await on_renewal()

    async def watch_lapses(self, on_lapse: Callable[[], None]) -> None:
        """Call `on_lapse` whenever the term lapses, until cancelled: also while a renewal hangs."""
        was_trusted = True
        while True:
            left = self.trusted_for
            if was_trusted and left <= 0:
                on_lapse()
            was_trusted = left > 0
            await asyncio.sleep(left if was_trusted else self.seconds / RENEWALS)

    async def release(self) -> None:
        """Release the term, durably; the next kernel leads without waiting. Does nothing in a forked child."""
        term, self._term = self._term, None
        self._trusted_until = float("-inf")
        if term is None or self._pid != os.getpid():
            return
        OWNERS_HERE.discard(term.owner)
        await self._table.delete(term)

    # --- what is in the row ---

    async def _seen(self) -> LeaseRow | None:
        return await self.watch.look(self._table)

    def _renewed(self, row: LeaseRow, term: Term) -> LeaseRow:
        """Return the row after one more change, with its time for people and on a clock that only this machine has."""
        return msgspec.structs.replace(
            row,
            owner=term.owner,
            epoch=term.epoch,
            renewals=row.renewals + 1,
            seconds=self.seconds,
            cut_off=self.cut_off,
            renewed=_now(),
            expires=_now() + timedelta(seconds=self.seconds),
            renewed_here=lease_clock(),
        )

    def _deposed(self, holder: LeaseRow | None) -> StoreError:
        if holder is None:
            return DeposedError(
                f"this kernel leads {self._table.log_name} no longer: its lease is gone from {self._table.where}, "
                "as after `gnomon takeover` or the restore of a backup; start a kernel again"
            )
        return DeposedError(
            f"this kernel leads {self._table.log_name} no longer: {name_of(holder)} took the lease, which "
            "was not renewed in time"
        )

    def _refusal(self, holder: LeaseRow) -> str:
        in_use = f"{self._table.log_name} is in use by {name_of(holder)}"
        if holder.cut_off == "run":
            return (
                f"{in_use}, whose `cut_off` is 'run': it may run jobs even if it is cut off from the server. Stop it "
                "first; if that is impossible, see to it that it does not run, and use `gnomon takeover`"
            )
        return f"{in_use}: stop it first, or use another database; opening read-only works beside it"


def _now() -> datetime:
    return datetime.now(UTC)
