"""What the log records about access: logins, logouts, and refused requests, as facts of the kernel.

A flood of refused requests does not grow the log without limit. The first refusal for a reason, an actor and an address
is recorded at once. Its repetitions are counted, and recorded as one event when a minute is over. Beyond
`EVENTS_PER_HOUR` in an hour, the refusals for a reason become one event an hour, whatever their actors and addresses.

Facts that cannot be recorded now, because no kernel leads or its store is away, are kept in this process in their
order, and recorded later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from gnomon import (
    AccessDenied,
    GnomonError,
    KernelApi,
    LoggedIn,
    LoggedOut,
    NoLeaderError,
    OrderLostError,
    StoreError,
)
from gnomon.logs import get_logger
from gnomon.wire.problems import (
    EXPIRED_TOKEN,
    FOREIGN_ORIGIN,
    FORWARDED_REQUEST,
    INSUFFICIENT_ROLE,
    INVALID_TOKEN,
    NO_ROLE_GRANTED,
    OUTSIDE_OF_SCOPE,
    SIGN_IN_FAILED,
    TOO_MANY_FAILED_LOGINS,
)
from gnomon_web.auth.networks import bucket_of
from gnomon_web.auth.sessions import Session

log = get_logger("gnomon.web")

PERIOD = timedelta(minutes=1)
LONG_PERIOD = timedelta(hours=1)
EVENTS_PER_HOUR = 60
MAX_KEYS = 1_000
"""Refusals that are counted apart; more than that within a minute are counted as those of all others."""
MAX_QUEUE = 1_000
"""Facts that are kept; a further one replaces the oldest."""
RETRY_S = 0.5
"""Seconds until facts that could not be recorded are passed on again."""
FINISH_LIMIT_S = 1.0
"""Seconds in which a server that stops records what it has noted."""
PAGE = 1_000
OTHERS = "others"
"""The address of refusals that are not counted apart."""


class Fact(NamedTuple):
    """What is to be recorded."""

    event_type: type[Any]
    facts: dict[str, Any]


class Refusals(msgspec.Struct):
    """The refusals of one kind that have not been recorded yet."""

    first: datetime
    until: datetime
    count: int = 0
    detail: str = ""


REASONS = frozenset(
    kind.name
    for kind in (
        EXPIRED_TOKEN,
        FOREIGN_ORIGIN,
        FORWARDED_REQUEST,
        INSUFFICIENT_ROLE,
        INVALID_TOKEN,
        NO_ROLE_GRANTED,
        OUTSIDE_OF_SCOPE,
        SIGN_IN_FAILED,
        TOO_MANY_FAILED_LOGINS,
    )
)
"""The kinds of problems that are refusals. A request without any credentials is not one: every first visit is that.
What the kernel itself refuses, such as an argument that a job does not accept, it records as a refused act."""


class AccessLog:
    """Collects what happened, on the loop of the server; `run` records it."""

    def __init__(self, kernel: KernelApi) -> None:
        self._kernel = kernel
        self._queue: deque[Fact] = deque()
        self._wake = asyncio.Event()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._dropped = 0
        self._refusals: dict[tuple[str, str, str], Refusals] = {}
        self._recorded: deque[datetime] = deque(maxlen=EVENTS_PER_HOUR)

    def logged_in(self, session: Session) -> None:
        """Note a login."""
        self._add(
            LoggedIn,
            actor=session.creator or session.name,
            via="link" if session.link else session.via,
            address=session.address,
            session=session.id,
            expires=session.expires,
        )

    def logged_out(self, session: Session, actor: str, reason: str) -> None:
        """Note the end of a login that was ended before its time."""
        self._add(LoggedOut, actor=actor, name=session.name, session=session.id, reason=reason)

    def refused(self, reason: str, actor: str, address: str, detail: str) -> None:
        """Note a request that was refused; `detail` says what was requested."""
        now = self._kernel.clock.now()
        key = (reason, actor, bucket_of(address))
        if key not in self._refusals and (len(self._refusals) >= MAX_KEYS or self._is_flooded(now)):
            key = (reason, "", OTHERS)
        known = self._refusals.get(key)
        if known is not None:
            known.count += 1
            known.detail = detail
            return
        period = LONG_PERIOD if key[2] == OTHERS else PERIOD
        self._refusals[key] = Refusals(now, now + period, detail=detail)
        self._add_refusals(key, 1, now, detail)

    async def run(self) -> None:
        """Record what is noted, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                fact = self._queue[0]
                await self._record(fact)
                if self._queue and self._queue[0] is fact:  # else it was replaced meanwhile
                    self._queue.popleft()
            self._is_empty.set()

    async def finish(self) -> None:
        """Wait a moment until what is noted is recorded: this process ends, and forgets the rest."""
        self.count_up(is_last=True)
        try:
            async with asyncio.timeout(FINISH_LIMIT_S):
                await self._is_empty.wait()
        except TimeoutError:
            log.warning(
                "facts about access are lost: they could not be recorded before the end", facts=len(self._queue)
            )

    async def _record(self, fact: Fact) -> None:
        """Record a fact, as soon as that is possible."""
        is_logged = False
        while True:
            before = self._kernel.health().position
            try:
                await self._kernel.record_fact(fact.event_type, **fact.facts)
            except (StoreError, NoLeaderError, OrderLostError) as exc:
                if not is_logged:
                    is_logged = True
                    log.warning("access is not recorded yet", fact=fact.event_type.__name__, problem=str(exc))
                if isinstance(exc, OrderLostError) and await self._is_recorded(fact, before):
                    return
                await asyncio.sleep(RETRY_S)  # in real time: the kernel that leads may have another clock
            except GnomonError as exc:  # it will not be recorded later either
                log.warning("access was not recorded", fact=fact.event_type.__name__, problem=str(exc))
                return
            else:
                return

    async def _is_recorded(self, fact: Fact, after: int) -> bool:
        """Whether a fact is in the log although the kernel that leads ended before it answered."""
        try:
            while events := await self._kernel.events(after, PAGE):
                for event in events:
                    if type(event) is fact.event_type and all(
                        getattr(event, name) == value for name, value in fact.facts.items()
                    ):
                        return True
                after = events[-1].position
        except GnomonError:
            return False
        return False

    def count_up(self, *, is_last: bool = False) -> None:
        """Record the repetitions whose period is over, or all at the end; called every few seconds."""
        now = self._kernel.clock.now()
        for key, refusals in list(self._refusals.items()):
            if refusals.until > now and not is_last:
                continue
            del self._refusals[key]
            if refusals.count:
                self._add_refusals(key, refusals.count, refusals.first, refusals.detail)

    def _is_flooded(self, now: datetime) -> bool:
        return len(self._recorded) == EVENTS_PER_HOUR and now - self._recorded[0] < LONG_PERIOD

    def _add_refusals(self, key: tuple[str, str, str], count: int, first: datetime, detail: str) -> None:
        reason, actor, address = key
        self._recorded.append(self._kernel.clock.now())
        self._add(
            AccessDenied,
            actor=actor or "nobody",
            reason=reason,
            address=address,
            detail=detail,
            count=count,
            first=first,
        )

    def _add(self, event_type: type[Any], **facts: Any) -> None:
        if len(self._queue) >= MAX_QUEUE:
            self._queue.popleft()
            self._dropped += 1
            if self._dropped == 1:
                log.warning("facts about access are lost: too many could not be recorded", kept=MAX_QUEUE)
        self._queue.append(Fact(event_type, facts))
        self._is_empty.clear()
        self._wake.set()
